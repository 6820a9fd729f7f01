"""How long the settings' flash lasts, by changing them on MicroPython's own littlefs: the figures of docs/storage.md.

`python -m tests.persistence.settings_figures` prints them.
"""

from tests import micropython
from tests.persistence.storage_figures import ERASES_OF_FLASH, STARTS_A_DAY

PARTITION_KB = 128
PIN_CHECKS_A_DAY = 20
CHANGES_OF_A_CHECK = 2  # counted before it is compared, and its verdict after
_STARTS = 3_000

# A device with all it may have: seven operators met, a PIN, four full lists.
# Prints the erases of all blocks, and of the one that has most.
_SCRIPT = """
import sys
import vfs
from array import array
from storage.settings import VALUE_MAX_BYTES, Settings

BLOCK_BYTES = 4096
ERASE, COUNT, SIZE = 6, 4, 5  # of vfs.AbstractBlockDev.ioctl
ACCESS = {"readsize": 32, "progsize": 32, "lookahead": 32}  # as on ESP32


class Flash:
    def __init__(self, blocks):
        self.cells = bytearray(blocks * BLOCK_BYTES)
        self.erases = array("I", [0] * blocks)

    def readblocks(self, block, buffer, offset=0):
        at = block * BLOCK_BYTES + offset
        buffer[:] = self.cells[at : at + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        at = block * BLOCK_BYTES + offset
        self.cells[at : at + len(buffer)] = buffer

    def ioctl(self, what, block):
        if what == ERASE:
            self.erases[block] += 1
        return {COUNT: len(self.erases), SIZE: BLOCK_BYTES}.get(what, 0)


flash = Flash(int(sys.argv[1]))
vfs.VfsLfs2.mkfs(flash, **ACCESS)
for start in range(int(sys.argv[2])):
    vfs.mount(vfs.VfsLfs2(flash, **ACCESS), "/settings")
    settings = Settings("/settings/settings")
    if not start:
        lengths = {"public": 32, "root": 32, "vault": 81, "operator": 111, "operators": 777, "pin": 70}
        settings.update({name: bytes(length) for name, length in lengths.items()})
        for issuer in range(4):
            settings.update({"revoked %d" % issuer: bytes(VALUE_MAX_BYTES)})
    settings.update({"requests": start.to_bytes(4, "big")})
    vfs.umount("/settings")
print([sum(flash.erases), max(flash.erases)])
"""


def erases() -> tuple[float, float]:
    """(in all, of the block with most) of one change of the settings, as a start makes it."""
    arguments = (str(PARTITION_KB // 4), str(_STARTS))
    total, most = micropython.run_json(_SCRIPT, arguments=arguments, heap_size="8M", timeout_s=300)
    return total / _STARTS, most / _STARTS


def changes_until_worn(erases_of_one: float) -> int:
    return int(ERASES_OF_FLASH / erases_of_one)


if __name__ == "__main__":
    total, most = erases()
    changes = changes_until_worn(most)
    checks = PIN_CHECKS_A_DAY * CHANGES_OF_A_CHECK
    print(f"{total:.1f} erases for a change, {changes:,} changes: {changes // (365 * STARTS_A_DAY)} years of starts;")
    print(f"{changes // (365 * (STARTS_A_DAY + checks))} years with {PIN_CHECKS_A_DAY} PINs a day")
