"""What the parts of a virtual PN532 share: its settings after reset, commands under way, CRC_A."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from host_tools.simulator.air import Air, RadioChip

# SetParameters (UM0701-02, 7.2.9)
AUTOMATIC_ATR_RES = 0x04
AUTOMATIC_RATS = 0x10
ISO_14443_4_PICC = 0x20
DEFAULT_PARAMETERS = AUTOMATIC_ATR_RES | AUTOMATIC_RATS

# Registers that drivers read back (PN532/C1 data sheet, 8.6.23): everything else starts as 0
CIU_TX_MODE = 0x6302
CIU_RX_MODE = 0x6303
CIU_FIFO_DATA = 0x6339
RESET_REGISTERS = {0x6301: 0x3B, CIU_TX_MODE: 0x80, CIU_RX_MODE: 0x80, 0x6304: 0x80, 0x6305: 0x40, CIU_FIFO_DATA: 0}

# Status bytes (7.1)
OK = b"\x00"
TIMEOUT = b"\x01"
INVALID_PARAMETER = b"\x10"
WRONG_CONTEXT = b"\x27"
RELEASED = b"\x29"

_CRC_ON = 0x80  # in CIU_TxMode and CIU_RxMode


class CommandSyntaxError(Exception):
    """The host's command is answered by a syntax error frame."""


class Job:
    """One command under way."""

    def __init__(self, code: int) -> None:
        self.code = code


class RfSettings:
    """RFConfiguration (7.3.1): the items that change behaviour."""

    _SIZES = {0x01: 1, 0x02: 3, 0x04: 1, 0x05: 3, 0x0A: 11, 0x0B: 8, 0x0C: 3, 0x0D: 9}

    def __init__(self) -> None:
        self.wait_code = 0x0A
        self.activation_retries = 0xFF

    def configure(self, item: int, settings: bytes) -> None:
        if self._SIZES.get(item) != len(settings):
            raise CommandSyntaxError
        if item == 0x02:
            if settings[2] > 0x10:
                raise CommandSyntaxError
            self.wait_code = settings[2]
        elif item == 0x05:
            self.activation_retries = settings[2]

    @property
    def waiting_time_us(self) -> float:
        """Of InCommunicateThru; code 0 means no limit, which the air takes for the longest one."""
        return 100.0 * 2 ** ((self.wait_code or 0x10) - 1)


class RadioPart(RadioChip, Protocol):
    """What the radio roles ask of the chip they are part of."""

    air: Air
    registers: dict[int, int]
    parameters: int
    rf: RfSettings

    @property
    def reader(self) -> Reader: ...
    @property
    def card(self) -> Card: ...
    def finish(self, job: Job, answer: bytes) -> None: ...


class Reader(Protocol):
    """What the card role asks of the reader role."""

    def forget(self) -> None: ...


class Card(Protocol):
    """What the reader role asks of the card role."""

    def stop(self) -> None: ...


Command = Callable[[Job, bytes], bytes | None]


def crc_a(data: bytes) -> bytes:
    """CRC_A of ISO/IEC 14443-3, 6.2.4 (annex B), low byte first."""
    crc = 0x6363
    for byte in data:
        byte ^= crc & 0xFF
        byte ^= (byte << 4) & 0xFF
        crc = (crc >> 8) ^ (byte << 8) ^ (byte << 3) ^ (byte >> 4)
    return crc.to_bytes(2, "little")


def to_air(chip: RadioPart, data: bytes) -> bytes | None:
    """The frame without CRC that leaves the antenna; None if the host made the CRC itself, and wrongly."""
    if chip.registers[CIU_TX_MODE] & _CRC_ON:
        return data
    return data[:-2] if crc_a(data[:-2]) == data[-2:] else None


def from_air(chip: RadioPart, data: bytes) -> bytes:
    """What the host sees of a received frame."""
    return data if chip.registers[CIU_RX_MODE] & _CRC_ON else data + crc_a(data)
