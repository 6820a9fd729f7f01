"""What each generated compression function offers (`host_tools.machine_code.modules`)."""

CONSTANTS: bytes  # 704 octets: the 80 round constants and the initial state, 64-bit words, low octets first

def hash_blocks(
    out: bytearray, data: bytearray, blocks: int, constants: bytes | bytearray, work: bytearray
) -> object: ...
