"""The table by which chip and MicroPython find their partitions: a board's own as bytes, and those of others read.

The format is that of mp-image-tool-esp32 (ESP-IDF, "Partition Tables"): 32 bytes a partition, an MD5 sum, blank to the
end of its sector.
"""

import logging
import struct

from mp_image_tool_esp32.partition_table import NAME_TO_TYPE, PART_MAGIC, PART_NAME_LEN
from mp_image_tool_esp32.partition_table import PartitionEntry as Entry
from mp_image_tool_esp32.partition_table import PartitionError as LibraryError
from mp_image_tool_esp32.partition_table import PartitionTable as Table

from host_tools.images.boards import Board

OFFSET_BYTES = Table.PART_TABLE_OFFSET  # on every chip: official images are built so
SIZE_BYTES = Table.PART_TABLE_SIZE

# It warns of flash that is left free, which is a board's own business.
logging.getLogger("mp_image_tool_esp32").setLevel(logging.ERROR)


class TableError(Exception):
    """Bytes that are no partition table."""


def table_bytes(board: Board) -> bytes:
    """The table of a board with flash of its own, as it stands at `OFFSET_BYTES`."""
    assert board.flash_size_bytes is not None
    table = Table(board.flash_size_bytes)
    for partition in board.partitions:
        label = partition.name.encode().ljust(PART_NAME_LEN, b"\0")
        place = (partition.offset_bytes, partition.size_bytes)
        table.append(Entry(PART_MAGIC, NAME_TO_TYPE[partition.type], partition.subtype, *place, label, 0))
    table.check()
    return table.to_bytes()


def read_table(data: bytes) -> Table:
    """The table at the beginning of `data`. Raises `TableError`."""
    try:
        return Table.from_bytes(data[:SIZE_BYTES])
    except (LibraryError, ValueError, struct.error):
        raise TableError("there is no partition table") from None
