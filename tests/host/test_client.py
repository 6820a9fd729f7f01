"""`devices.client`: what it sends, whatever the link."""

import pytest

from host_tools.devices.client import DeviceClient
from protocol import apdu as apdus
from protocol.framing import encode_frame

CONSOLE_BYTES = 259  # what MicroPython keeps of a chip's console: a ring of 260 that is never quite full


class _Recording:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def transceive(self, apdu: bytes) -> bytes:
        self.sent.append(apdu)
        return apdus.respond(apdus.hello(0, 0, 0, None)) if len(self.sent) == 1 else apdus.respond()

    def close(self) -> None: ...


@pytest.mark.parametrize("byte", [b"\x00", b"\x01", b"\xff"])
@pytest.mark.parametrize("size", [*range(230, 260), 480, 509, 510, apdus.MAX_CHAIN_BYTES])
def test_each_command_fits_into_what_a_chip_keeps_of_its_console(size: int, byte: bytes) -> None:
    """Nothing holds the host back there, and a device that is busy reads late."""
    link = _Recording()
    DeviceClient(link).put(byte * size)
    commands = [apdus.decode_command(raw) for raw in link.sent[1:]]
    assert b"".join(command.data for command in commands) == byte * size
    assert all(len(encode_frame(255, raw)) <= CONSOLE_BYTES for raw in link.sent)
