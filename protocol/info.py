"""What a device tells a host about itself: unsigned facts for people and tools, never evidence."""

from protocol.layout import Layout
from protocol.objects import ID_BYTES, KEY_BYTES


class DeviceInfo(Layout):
    """What a device says of itself to whoever holds it: amounts in minor units, `time` its lower bound."""

    TYPE = 0x30
    FIELDS = (
        ("flags", 1),
        ("operator", 2),
        ("device", -ID_BYTES),
        ("key", -KEY_BYTES),
        ("issue", 4),
        ("head_seq", 4),
        ("base_seq", 4),
        ("balance", 8),
        ("in_doubt", 8),
        ("in_doubt_count", 1),
        ("cumulative", 4),
        ("load_floor", 4),
        ("watermark", 4),
        ("order", 4),
        ("time", 4),
    )
    flags: int
    operator: int
    device: bytes
    key: bytes
    issue: int
    head_seq: int
    base_seq: int
    balance: int
    in_doubt: int
    in_doubt_count: int
    cumulative: int
    load_floor: int
    watermark: int
    order: int
    time: int


class Counters(Layout):
    """What this device has spent since it started.

    Microseconds of signing and verifying, microseconds of journal and settings writes, number of card exchanges; what
    the journal did to its flash: programs, 256-byte pages they touched, erased sectors.
    """

    TYPE = 0x31
    FIELDS = (
        ("crypto_us", 4),
        ("storage_us", 4),
        ("exchanges", 4),
        ("programs", 4),
        ("pages", 4),
        ("erases", 4),
    )
    crypto_us: int
    storage_us: int
    exchanges: int
    programs: int
    pages: int
    erases: int
