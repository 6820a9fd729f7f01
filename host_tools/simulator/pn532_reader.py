"""The virtual PN532 as reader: search, exchange, release (UM0701-02, 7.3)."""

from collections.abc import Callable

from host_tools.simulator.pn532_iso_dep import MAX_DATA, RATS, WAITING_TIME_US, ChipReader
from host_tools.simulator.pn532_parts import (
    AUTOMATIC_RATS,
    CIU_FIFO_DATA,
    INVALID_PARAMETER,
    OK,
    TIMEOUT,
    WRONG_CONTEXT,
    Command,
    CommandSyntaxError,
    Job,
    RadioPart,
    from_air,
    to_air,
)

_SENS_REQ = 0x26
_FOREVER = 0xFF
_MORE = 0x40  # MI bit of InDataExchange
_RATS_TIMEOUT_US = 51200.0


class ReaderRole:
    """Holds the search under way and the one card found."""

    def __init__(self, chip: RadioPart) -> None:
        self._chip = chip
        self._search: tuple[Job, bytes] | None = None
        self._is_searching = False
        self._iso_dep: ChipReader | None = None
        self._chained = b""
        self.has_target = False
        self.commands: dict[int, Command] = {
            0x40: self._data_exchange,
            0x42: self._communicate_thru,
            0x44: self._deselect,
            0x46: self._no_dep_target,  # InJumpForPSL
            0x4A: self._list_passive_target,
            0x4E: self._no_dep_target,  # InPSL
            0x50: self._no_dep_target,  # InATR
            0x52: self._release,
            0x54: self._select,
            0x56: self._no_dep_target,  # InJumpForDEP
        }

    def abort(self) -> None:
        self._search = None

    def forget(self) -> None:
        """The field changed: there is no card any more."""
        self.has_target = False
        self._iso_dep = None
        self._chained = b""

    def _no_dep_target(self, _job: Job, _data: bytes) -> bytes:
        return TIMEOUT

    # --- search

    def _list_passive_target(self, job: Job, data: bytes) -> bytes | None:
        max_targets, modulation, uid = data[0], data[1], data[2:]
        if not 1 <= max_targets <= 2 or modulation > 4:
            raise CommandSyntaxError
        self._chip.card.stop()
        self.forget()
        self._chip.registers[CIU_FIFO_DATA] = _SENS_REQ  # what a search without answer leaves there
        if modulation:
            return b"\x00"
        self._search = (job, uid)
        self.search()
        return None

    def search(self) -> None:
        """Look once; an endless search stays open."""
        if self._search is None or self._is_searching:
            return
        job, uid = self._search
        self._is_searching = True  # selecting changes the air, which may ask to look again
        identity = self._chip.air.select(self._chip, uid)
        self._is_searching = False
        if identity is None:
            if self._chip.rf.activation_retries != _FOREVER:
                self._search = None
                self._chip.finish(job, b"\x00")
            return
        self._search = None
        # The chip gives SENS_RES high byte first.
        found = bytes((1, 1)) + identity.sens_res[::-1] + bytes((identity.sel_res, len(identity.uid))) + identity.uid
        if self._chip.parameters & AUTOMATIC_RATS and identity.sel_res & 0x20:
            self._activate(job, uid, found)
        else:
            self._found(job, found)

    def _activate(self, job: Job, uid: bytes, found: bytes) -> None:
        def done(ats: bytes | None) -> None:
            if ats:
                self._iso_dep = ChipReader(ats, lambda block, then: self._transmit(block, WAITING_TIME_US, then))
                self._found(job, found + ats)
            elif self._chip.rf.activation_retries == _FOREVER:
                self._search = (job, uid)
            else:
                self._chip.finish(job, b"\x00")

        self._transmit(RATS, _RATS_TIMEOUT_US, done)

    def _found(self, job: Job, found: bytes) -> None:
        self.has_target = True
        self._chip.registers[CIU_FIFO_DATA] = 0
        self._chip.finish(job, found)

    # --- exchange

    def _transmit(self, block: bytes, timeout_us: float, done: Callable[[bytes | None], None]) -> None:
        self._chip.air.send(self._chip, block, timeout_us, done)

    def _communicate_thru(self, job: Job, data: bytes) -> bytes | None:
        if not data:
            raise CommandSyntaxError
        frame = to_air(self._chip, data)
        if frame is None:
            return TIMEOUT  # no card answers a frame with a wrong CRC

        def done(answer: bytes | None) -> None:
            self._chip.finish(job, TIMEOUT if answer is None else OK + from_air(self._chip, answer))

        self._transmit(frame, self._chip.rf.waiting_time_us, done)
        return None

    def _data_exchange(self, job: Job, data: bytes) -> bytes | None:
        target, data = data[0], data[1:]
        if target & 0x3F != 1 or not self.has_target:
            return WRONG_CONTEXT
        if self._iso_dep is None:
            return self._communicate_thru(job, data)
        self._chained += data
        if len(self._chained) > 16 * MAX_DATA:
            self._chained = b""
            return INVALID_PARAMETER
        if target & _MORE:
            return OK

        def done(answer: bytes | None) -> None:
            self._chip.finish(job, TIMEOUT if answer is None else OK + answer[:MAX_DATA])

        command, self._chained = self._chained, b""
        self._iso_dep.exchange(command, done)
        return None

    def _deselect(self, job: Job, data: bytes) -> bytes | None:
        if len(data) != 1:
            raise CommandSyntaxError
        if self._iso_dep is None:
            self.forget()
            return OK
        self.forget()
        self._transmit(b"\xc2", _RATS_TIMEOUT_US, lambda _answer: self._chip.finish(job, OK))
        return None

    def _release(self, job: Job, data: bytes) -> bytes | None:
        return self._deselect(job, data)

    def _select(self, _job: Job, data: bytes) -> bytes:
        return OK if data == b"\x01" and self.has_target else WRONG_CONTEXT
