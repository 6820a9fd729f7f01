"""ISO/IEC 14443-4 half-duplex block protocol (ISO-DEP), both sides, sans-IO: bytes in, bytes out, no clock.

Blocks are handed over without their CRC, which the radio chip adds and checks. Rule letters and numbers in comments
are those of ISO/IEC 14443-4, clause 7.5 (block numbering A-E, block handling 1-13).

What is left out, and announced so in the ATS: CID, NAD, bit rates above 106 kbit/s. Blocks that use them are not ours
and are ignored, as the standard asks.
"""

from micropython import const

from drivers.errors import CardGone

# Largest short-form APDUs (ISO/IEC 7816-4): header 4 + Lc 1 + 255 + Le 1, and 256 + status word 2.
MAX_COMMAND = const(261)
MAX_RESPONSE = const(258)

FSC = const(256)  # bytes a card of ours takes in one frame: PCB, 253 of INF, CRC
RATS = b"\xe0\x80"  # FSDI 8 (256 bytes), CID 0
# TL 5; T0: TA, TB, TC follow, FSCI 8 (256 bytes); TA: 106 kbit/s only; TB: FWI 13 (2.47 s), SFGI 0; TC: no CID, no NAD
ATS = b"\x05\x78\x80\xd0\x00"
FWT_MS = const(2474)  # FWI 13: 4096/13.56 MHz * 2**13

_FRAME_SIZES = (16, 24, 32, 40, 48, 64, 96, 128, 256)  # FSDI/FSCI 0..8, larger values are RFU and mean 8

_I_BLOCK = const(0x02)
_CHAINING = const(0x10)
_R_ACK = const(0xA2)
_R_NAK = const(0xB2)
_S_DESELECT = b"\xc2"
_S_WTX = const(0xF2)
_KIND = const(0xEE)  # PCB without chaining/NAK bit and number; CID and NAD bits stay, so such blocks match nothing

# Failures in a row (no answer, garbled, repeated R(ACK)) after which the card is taken for gone. One lost command
# costs two: the timeout, and the R(ACK) that asks for the block again.
MAX_RECOVERIES = const(4)
# Waiting time extensions in a row: with FWI 13 about 25 s, longer than any work a card of ours does.
MAX_EXTENSIONS = const(10)
# How long a card may take to repeat a block it has already made. It needs no work for that, so a card that was
# taken away is noticed soon instead of after several frame waiting times.
REPEAT_TIMEOUT_MS = const(100)
_DELTA_FWT_MS = const(4)  # 49152/fc, the PCD's grace (ISO/IEC 14443-4, 7.2)


def _frame_size(index: int) -> int:
    return _FRAME_SIZES[min(index, 8)]


def _waiting_ms(index: int) -> int:
    """Frame waiting or guard time, rounded up: 4096/13.56 MHz * 2**index (5.2.5)."""
    return ((30207 << index) + 99999) // 100000


class Picc:
    """Card side, from the RATS that activated it.

    Feed every received block to `receive`; send what it returns, if anything. When it leaves a complete command APDU
    in `command`, send `respond(response)`; until then `extend()` gives a block that asks for more time.
    """

    def __init__(self, rats: bytes) -> None:
        self._fsd = _frame_size(rats[1] >> 4)
        self.command: bytes | None = None  # complete command APDU that waits for its response
        self.deselected = False
        self._number = 1  # rule C
        self._parts = b""  # command so far
        self._rest = b""  # response not yet sent
        self._last: bytes | None = None  # block that R(NAK) asks for again
        self._may_negotiate = True  # PPS is allowed only directly after the ATS (5.6.2.2)

    def receive(self, block: bytes) -> bytes | None:
        """Return the block to send now, or None: nothing to say, or `command` is complete."""
        if not block or len(block) > FSC - 2:
            return None
        may_negotiate, self._may_negotiate = self._may_negotiate, False
        pcb = block[0]
        if pcb & _KIND == _I_BLOCK:
            return self._take_part(pcb & _CHAINING, block[1:])
        if len(block) == 1 and pcb & _KIND == _R_ACK:
            return self._repeat_or_go_on(pcb)
        if block == _S_DESELECT:
            self.deselected = True
            self.command = None
            return block
        if pcb == 0xD0 and may_negotiate and block[1:] in (b"\x01", b"\x11\x00"):
            return b"\xd0"  # PPS that keeps 106 kbit/s both ways; anything else is not supported, so not answered
        return None  # S(WTX) responses need no answer; malformed blocks get none

    def _take_part(self, chaining: int, part: bytes) -> bytes | None:
        if self.command is not None:
            return None  # the reader speaks out of turn while we work
        self._number ^= 1  # rule D
        # One byte beyond the longest APDU is kept, so the application sees a wrong length and answers 6700.
        self._parts = (self._parts + part)[: MAX_COMMAND + 1]
        if chaining:
            self._last = bytes((_R_ACK | self._number,))  # rule 2
            return self._last
        self.command, self._parts = self._parts, b""
        self._rest = b""
        self._last = None
        return None

    def _repeat_or_go_on(self, pcb: int) -> bytes | None:
        if pcb & 1 == self._number:
            return self._last  # rule 11: repeated, never executed again
        if pcb & _CHAINING:
            return bytes((_R_ACK | self._number,))  # rule 12: R(NAK) for a block that never came
        if self._rest:
            self._number ^= 1  # rules E and 13
            return self._next_part()
        return None

    def respond(self, response: bytes) -> bytes:
        """Return the first block of the response to `command`."""
        if not 0 < len(response) <= MAX_RESPONSE:
            raise ValueError("response length")
        self.command = None
        self._rest = response
        return self._next_part()

    def _next_part(self) -> bytes:
        size = self._fsd - 3
        part, self._rest = self._rest[:size], self._rest[size:]
        self._last = bytes((_I_BLOCK | (_CHAINING if self._rest else 0) | self._number,)) + part
        return self._last

    def extend(self) -> bytes:
        """Return S(WTX) asking for one more frame waiting time (7.3, rule 9)."""
        self._last = bytes((_S_WTX, 1))
        return self._last


class Pcd:
    """Reader side, from the card's ATS. Raises ValueError if that is malformed.

    `request(apdu)` gives the first block. Feed what comes back to `receive` (None: nothing or nothing intact came
    within `timeout_ms`); it returns the next block to send, or None when `response` is complete.
    """

    def __init__(self, ats: bytes) -> None:
        if not ats or ats[0] != len(ats):
            raise ValueError("ATS length")
        fsci, fwi, sfgi = 2, 4, 0  # defaults of 5.2
        if len(ats) > 1:
            t0 = ats[1]
            fsci = t0 & 0x0F
            at = 3 if t0 & 0x10 else 2
            if t0 & 0x20:
                if at >= len(ats):
                    raise ValueError("ATS length")
                fwi, sfgi = ats[at] >> 4, ats[at] & 0x0F
        self._fsc = _frame_size(fsci)
        self._fwt_ms = _waiting_ms(4 if fwi > 14 else fwi) + _DELTA_FWT_MS
        self.guard_ms = _waiting_ms(sfgi) if 0 < sfgi < 15 else 0  # wait before the first block (SFGT)
        self.timeout_ms = self._fwt_ms
        self.response: bytes = b""
        self._number = 0  # rule A
        self._rest = b""
        self._last = b""  # I-block that may have to be sent again
        self._recoveries = 0
        self._extensions = 0

    def request(self, apdu: bytes) -> bytes:
        """Return the first block of a command APDU."""
        if not 0 < len(apdu) <= MAX_COMMAND:
            raise ValueError("command length")
        self.response = b""
        self._rest = apdu
        self._recoveries = self._extensions = 0
        return self._next_part()

    def _next_part(self) -> bytes:
        size = self._fsc - 3
        part, self._rest = self._rest[:size], self._rest[size:]
        self._last = bytes((_I_BLOCK | (_CHAINING if self._rest else 0) | self._number,)) + part
        self.timeout_ms = self._fwt_ms
        return self._last

    def receive(self, block: bytes | None) -> bytes | None:
        """Return the next block, or None when `response` is complete.

        Raises CardGone after MAX_RECOVERIES failures or MAX_EXTENSIONS extensions in a row.
        """
        pcb = block[0] if block else 0
        ours = pcb & 1 == self._number
        if block and pcb & _KIND == _I_BLOCK and ours and not self._rest and (len(block) > 1 or not pcb & _CHAINING):
            return self._take_part(pcb & _CHAINING, block[1:])  # an empty part could chain for ever
        if block and len(block) == 1 and pcb & ~1 == _R_ACK and not self.response:
            if not ours:
                self._count_recovery()
                self.timeout_ms = self._fwt_ms
                return self._last  # rule 6: the card never had it
            if self._rest:
                self._recoveries = self._extensions = 0
                self._number ^= 1  # rule B
                return self._next_part()  # rule 7
        if block and len(block) == 2 and pcb == _S_WTX and 1 <= block[1] & 0x3F <= 59:
            self._extensions += 1
            if self._extensions > MAX_EXTENSIONS:
                raise CardGone("card asks for time without end")
            multiplier = block[1] & 0x3F
            self.timeout_ms = self._fwt_ms * multiplier
            return bytes((_S_WTX, multiplier))
        self._count_recovery()
        self.timeout_ms = REPEAT_TIMEOUT_MS
        # Rule 5 inside the card's chain (R(ACK) asks for the missing part), rule 4 everywhere else.
        return bytes(((_R_ACK if self.response else _R_NAK) | self._number,))

    def _take_part(self, chaining: int, part: bytes) -> bytes | None:
        self._recoveries = self._extensions = 0
        self._number ^= 1  # rule B
        self.response += part
        if len(self.response) > MAX_RESPONSE:
            raise CardGone("card answers without end")
        if not chaining:
            return None
        self.timeout_ms = self._fwt_ms
        return bytes((_R_ACK | self._number,))  # rule 2

    def _count_recovery(self) -> None:
        self._recoveries += 1
        if self._recoveries > MAX_RECOVERIES:
            raise CardGone("no answer from the card")

    def deselect(self) -> bytes:
        """Return S(DESELECT), which ends the activation."""
        self.timeout_ms = REPEAT_TIMEOUT_MS
        return _S_DESELECT
