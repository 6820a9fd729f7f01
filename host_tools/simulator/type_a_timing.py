"""How long things take on the air: Type A at 106 kbit/s.

Source: ISO/IEC 14443-2 (a bit is 128/fc) and 14443-3 clause 6 (frames, frame delay times, anticollision).
"""

_CARRIER_MHZ = 13.56
_BIT_US = 128 / _CARRIER_MHZ
CRC_BYTES = 2
REPLY_DELAY_US = 1236 / _CARRIER_MHZ  # the card's, after a last bit 1: (9 * 128 + 84)/fc; after a 0 64/fc shorter
NEXT_DELAY_US = 1172 / _CARRIER_MHZ  # the reader's least
SHORT_FRAME_US = (1 + 7 + 2) * _BIT_US  # REQA, WUPA


def frame_us(n_bytes: int, end_bits: int) -> float:
    """A standard frame: start bit, 9 bits a byte (parity), end: 2 bits from the reader, 1 from the card."""
    return (1 + 9 * n_bytes + end_bits) * _BIT_US if n_bytes else 0.0


def anticollision_us(uid_length: int) -> float:
    """REQA/ATQA, then for each cascade level SDD_REQ/UID and BCC, SEL_REQ/SAK (14443-3, 6.4, 6.5)."""
    total = SHORT_FRAME_US + REPLY_DELAY_US + frame_us(2, 1)
    for _ in range(1 if uid_length == 4 else 2 if uid_length == 7 else 3):
        for request_bytes, reply_bytes in ((2, 5), (9, 3)):
            total += NEXT_DELAY_US + frame_us(request_bytes, 2) + REPLY_DELAY_US + frame_us(reply_bytes, 1)
    return total
