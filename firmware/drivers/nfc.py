"""Taps: APDU exchanges with a card (reader role) or for a reader (card role), over one PN532.

Owns which role the chip is in and the ISO-DEP state of the one activation. Knows no APDU's meaning. ISO-DEP is done
here, not by the chip: the chip's own card mode fixes a frame size of 64 bytes and a waiting time too short for
signatures. `stop` ends either role at any time.
"""

from micropython import const

from drivers.errors import CardGone, ChipError
from drivers.iso_dep import ATS, FWT_MS, RATS, REPEAT_TIMEOUT_MS, Pcd, Picc
from drivers.pn532 import Pn532

_ISO_DEP_SEL_RES = const(0x20)  # SEL_RES bit 6: the card speaks ISO 14443-4 (ISO/IEC 14443-3, 6.5.3.4)
_RATS_TIMEOUT_MS = const(25)  # 14443-4 gives the card 4.8 ms; software cards take longer and deserve it
_WTX_MS = FWT_MS // 2  # ask for time when half of it has passed
# The chip always answers an exchange, after 3.28 s at the latest. Later than this it is dead (or simulated together
# with a card whose work takes longer in real time than on the air's clock).
_CHIP_TIMEOUT_MS = const(20000)
# A reader that keeps its field on and says nothing: after so long the device is its owner's again.
_MAX_SILENCE_MS = const(60000)
_MAX_BAD_FRAMES = const(16)  # frames in a row with radio errors; noise, not a reader


class NfcPort:
    """One radio. ChipError from any method means the chip, CardGone the peer; UartClosed is the port's."""

    def __init__(self, uart, port) -> None:
        self._chip = Pn532(uart, port)
        self._port = port
        self._is_open = False
        self._is_busy = False  # a role is taken: the chip waits for something or the field is on
        self._picc: Picc | None = None
        self._pcd: Pcd | None = None
        self._lost = False  # the reader's field went away
        self._work_since = 0

    def open(self) -> bytes:
        """Find and configure the chip; returns its four firmware version bytes. The roles do this when needed."""
        version = self._chip.open()
        self._is_open = True
        return version

    def _become_idle(self) -> None:
        if not self._is_open:
            self.open()
        if self._is_busy:
            self._chip.abort()
        # Also resets a card that is in the field, and lets another reader's field reach us.
        self._chip.field_off()
        self._picc = self._pcd = None
        self._is_busy = False

    def stop(self) -> None:
        """Leave the role: whatever the chip waits for is aborted, the field is off."""
        if self._is_busy:
            self._become_idle()

    # --- card role

    def start_listening(self) -> None:
        """Become a card, with a new random UID (08 xx xx xx, ISO/IEC 14443-3), so taps cannot be linked by it."""
        self._become_idle()
        self._chip.start_init_as_target(self._port.random_bytes(3))
        self._is_busy = True

    def poll(self) -> bool:
        """True when a reader has activated us; then `serve` it. Call again within milliseconds of UART input."""
        activation = self._chip.receive(0)
        if activation is None:
            return False
        rats = activation[1:]
        if len(rats) == 2 and rats[0] == RATS[0] and self._chip.response_to_initiator(ATS) == 0:
            self._picc = Picc(rats)
            self._lost = False
            self._chip.start_get_initiator_command()
            return True
        self.start_listening()
        return False

    def serve(self, process, after) -> bool:
        """Answer the reader's commands until it deselects us (True), or its field is gone or it falls silent (False).

        For each command APDU: `process(apdu)` gives the response, which is sent; then `after()` does what could wait,
        also when the response could not be sent any more. The role is over afterwards.
        """
        picc = self._picc
        if picc is None:
            return False
        bad_frames = 0
        while not self._lost and not picc.deselected and bad_frames < _MAX_BAD_FRAMES:
            frame = self._chip.receive(_MAX_SILENCE_MS)
            if frame is None:
                break
            if frame[0]:
                self._lost = not _is_transmission_error(frame[0])
                bad_frames += 1
                if not self._lost:
                    self._chip.start_get_initiator_command()
                continue
            bad_frames = 0
            self._answer(picc, picc.receive(frame[1:]))
            if picc.command is not None:
                self._work_since = self._port.ticks_ms()
                response = process(picc.command)
                if not self._lost:
                    self._answer(picc, picc.respond(response))
                after()
        self.stop()
        return picc.deselected

    def _answer(self, picc: Picc, block: bytes | None) -> None:
        """Send a block and listen on. Listening starts before any further work, so that no frame is missed."""
        if block is not None and self._chip.response_to_initiator(block):
            self._lost = True
        elif not picc.deselected and picc.command is None:
            self._chip.start_get_initiator_command()

    def keep_alive(self) -> None:
        """Call now and then from work that may be long: asks the reader for time (S(WTX)) when half of it has passed.

        Never raises CardGone and does nothing outside `process`: the work goes on whether the reader is there or not.
        """
        picc = self._picc
        if picc is None or picc.command is None or self._lost:
            return
        if self._port.ticks_diff(self._port.ticks_ms(), self._work_since) < _WTX_MS:
            return
        block = picc.extend()
        for _ in range(_MAX_BAD_FRAMES):
            if block is not None and self._chip.response_to_initiator(block):
                break
            self._chip.start_get_initiator_command()
            frame = self._chip.receive(FWT_MS)
            if frame is None:
                break
            if frame[0] == 0 and frame[1:2] == b"\xf2":
                self._work_since = self._port.ticks_ms()
                return
            if frame[0] and not _is_transmission_error(frame[0]):
                break
            block = picc.receive(frame[1:]) if frame[0] == 0 else None
        self._lost = True

    # --- reader role

    def start_polling(self) -> None:
        """Become a reader: field on, looking for a card until `find_card` finds one or `stop`."""
        self._become_idle()
        self._chip.start_list_passive_target()
        self._is_busy = True

    def find_card(self, timeout_ms: int) -> bool:
        """True when an ISO-DEP card is in the field and activated; waits for one at most `timeout_ms`."""
        found = self._chip.receive(timeout_ms)
        if found is None:
            return False
        if len(found) >= 5 and found[0] == 1 and found[4] & _ISO_DEP_SEL_RES:
            self._chip.start_communicate_thru(RATS, _RATS_TIMEOUT_MS)
            answer = self._chip.receive(_CHIP_TIMEOUT_MS)
            if answer is not None and answer[0] == 0:
                try:
                    self._pcd = Pcd(answer[1:])
                except ValueError:
                    pass  # not a card that anyone can talk to: as if it were none
                else:
                    self._port.sleep_ms(self._pcd.guard_ms)
                    return True
        self.start_polling()
        return False

    def send(self, apdu: bytes) -> None:
        """Start an exchange; the caller may compute before it calls `receive`. Raises CardGone without a card."""
        if self._pcd is None:
            raise CardGone("no card")
        block = self._pcd.request(apdu)
        self._chip.start_communicate_thru(block, self._pcd.timeout_ms)

    def receive(self, since: int = 0, limit_ms: int = 0) -> bytes:
        """Return the response APDU. Raises CardGone when the card does not answer any more; then the field is off.

        So it does when the card plays for time, `limit_ms` after `since` (ticks).
        """
        pcd = self._pcd
        if pcd is None:
            raise CardGone("no card")
        while True:
            answer = self._chip.receive(_CHIP_TIMEOUT_MS)
            if answer is None:
                self.stop()
                raise ChipError("PN532 does not finish an exchange")
            try:
                # Every status but 0 means that no intact frame came; the block protocol knows what to do.
                block = pcd.receive(answer[1:] if answer[0] == 0 else None)
                if limit_ms and self._port.ticks_diff(self._port.ticks_ms(), since) > limit_ms:
                    raise CardGone("card plays for time")
            except CardGone:
                self.stop()
                raise
            if block is None:
                return pcd.response
            self._chip.start_communicate_thru(block, pcd.timeout_ms)

    def release(self) -> None:
        """End the tap: the card is told (S(DESELECT)), the field is off. Never raises CardGone."""
        if self._pcd is not None:
            self._chip.start_communicate_thru(self._pcd.deselect(), REPEAT_TIMEOUT_MS)
            self._chip.receive(_CHIP_TIMEOUT_MS)
        self.stop()


def _is_transmission_error(status: int) -> bool:
    """CRC, parity, bit count, framing, collision, buffer, format: a spoilt frame, no lost link (UM0701-02, 7.1)."""
    return status in (0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x09, 0x13)
