"""The virtual PN532 as Type A card: frames passed through, or ISO 14443-4 done by the chip (UM0701-02, 7.3.14-22)."""

from host_tools.simulator.air import Identity
from host_tools.simulator.pn532_iso_dep import MAX_DATA, ChipCard
from host_tools.simulator.pn532_parts import (
    ISO_14443_4_PICC,
    OK,
    RELEASED,
    WRONG_CONTEXT,
    Command,
    CommandSyntaxError,
    Job,
    RadioPart,
)

_PICC_ONLY = 0x04
_DEP_ONLY = 0x02
_ACTIVATED_AS_PICC = 0x08  # mode byte of TgInitAsTarget's answer: 106 kbit/s, ISO 14443-4 PICC
_ACTIVATED_RAW = 0x00  # 106 kbit/s, Mifare framing
_ISO_DEP_SEL_RES = 0x20

_IDLE, _LISTENING, _SELECTED, _ACTIVE, _LOST = range(5)


class CardRole:
    """Idle -> listening (TgInitAsTarget) -> selected (anticollision) -> active (first frame) -> lost (field gone)."""

    def __init__(self, chip: RadioPart) -> None:
        self._chip = chip
        self._state = _IDLE
        self._listen_job: Job | None = None
        self._frame_job: Job | None = None  # TgGetInitiatorCommand or TgGetData that waits
        self._frame: bytes | None = None  # received while none waited
        self._identity = Identity(b"\x00\x00", b"", 0)
        self._mode = 0
        self._historical = b""
        self._iso_dep: ChipCard | None = None
        self._chained = b""
        self.commands: dict[int, Command] = {
            0x86: self._get_data,
            0x88: self._get_initiator_command,
            0x8A: self._target_status,
            0x8C: self._init_as_target,
            0x8E: lambda job, data: self._set_data(job, data, more=False),
            0x90: self._response_to_initiator,
            0x92: lambda _job, _data: OK,  # general bytes are for NFC-DEP only
            0x94: lambda job, data: self._set_data(job, data, more=True),
        }

    @property
    def is_active(self) -> bool:
        return self._state == _ACTIVE

    def abort(self) -> None:
        self._frame_job = None
        if self._state in (_LISTENING, _SELECTED):
            self.stop()

    def stop(self) -> None:
        """Leave the card role."""
        state, self._state = self._state, _IDLE
        self._listen_job = self._iso_dep = self._frame = None
        if state in (_SELECTED, _ACTIVE):
            self._chip.air.card_stops(self._chip)

    # --- activation

    def _init_as_target(self, job: Job, data: bytes) -> bytes | None:
        if len(data) < 36:
            raise CommandSyntaxError
        n_general = data[35]
        n_historical = data[36 + n_general] if len(data) > 36 + n_general else 0
        if n_general > 47 or n_historical > 48 or len(data) < 37 + n_general + n_historical:
            raise CommandSyntaxError
        self.stop()
        self._chip.air.set_field(self._chip, False)
        self._chip.reader.forget()
        self._mode = data[0]
        self._identity = Identity(data[1:3], b"\x08" + data[3:6], data[6])
        self._historical = data[37 + n_general : 37 + n_general + n_historical]
        self._chained = b""
        self._listen_job = job
        self._state = _LISTENING
        self._chip.air.card_listens(self._chip)
        return None

    def identity(self) -> Identity | None:
        is_picc = bool(self._chip.parameters & ISO_14443_4_PICC)
        if self._state != _LISTENING or self._mode & _DEP_ONLY or (self._mode & _PICC_ONLY and not is_picc):
            return None
        return self._identity

    def selected(self) -> None:
        self._state = _SELECTED

    def field_lost(self) -> None:
        if self._state == _SELECTED:
            self._state = _LISTENING  # nothing was said yet: the host never hears of it
        elif self._state == _ACTIVE:
            self._state = _LOST
            self._iso_dep = None
            if self._frame is None:
                self._release()

    def _release(self) -> None:
        if self._frame_job is not None:
            job, self._frame_job = self._frame_job, None
            self._chip.finish(job, RELEASED)

    # --- frames

    def frame(self, data: bytes) -> None:
        """A frame of the reader has arrived."""
        if self._state == _SELECTED:
            self._begin(data)
        elif self._iso_dep is not None:
            self._chip_answers(self._iso_dep, data)
        elif self._state == _ACTIVE:
            self._hand_over(data)

    def _begin(self, data: bytes) -> None:
        job, self._listen_job = self._listen_job, None
        assert job is not None
        is_rats = len(data) == 2 and data[0] == 0xE0
        does_iso_dep = bool(self._chip.parameters & ISO_14443_4_PICC and self._identity.sel_res & _ISO_DEP_SEL_RES)
        self._state = _ACTIVE
        self._frame = None
        if is_rats and does_iso_dep:
            self._iso_dep = ChipCard(data, self._historical)
            self._chip.finish(job, bytes((_ACTIVATED_AS_PICC,)) + data)
            self._chip.air.answer(self._chip, self._iso_dep.ats)
        else:
            self._chip.finish(job, bytes((_ACTIVATED_RAW,)) + data)

    def _hand_over(self, data: bytes) -> None:
        if self._frame_job is None:
            self._frame = data  # kept until asked for; a newer one replaces it
        else:
            job, self._frame_job = self._frame_job, None
            self._chip.finish(job, OK + data)

    def _chip_answers(self, iso_dep: ChipCard, data: bytes) -> None:
        reply = iso_dep.receive(data)
        if reply is not None:
            self._chip.air.answer(self._chip, reply)  # the reader's next block may come before this returns
            if iso_dep.released and self._state == _ACTIVE:
                self._state = _LOST
                self._release()
        elif iso_dep.command is not None:
            self._hand_over(iso_dep.command[:MAX_DATA])

    def _wait_for_frame(self, job: Job) -> bytes | None:
        if self._frame is not None and self._state in (_ACTIVE, _LOST):
            data, self._frame = self._frame, None
            return OK + data
        if self._state == _ACTIVE:
            self._frame_job = job
            return None
        return RELEASED if self._state == _LOST else WRONG_CONTEXT

    def _get_initiator_command(self, job: Job, _data: bytes) -> bytes | None:
        return WRONG_CONTEXT if self._iso_dep is not None else self._wait_for_frame(job)

    def _response_to_initiator(self, _job: Job, data: bytes) -> bytes:
        if self._iso_dep is not None or self._state not in (_ACTIVE, _LOST):
            return WRONG_CONTEXT
        return OK if self._chip.air.answer(self._chip, data) else RELEASED

    def _get_data(self, job: Job, _data: bytes) -> bytes | None:
        return self._wait_for_frame(job)

    def _set_data(self, _job: Job, data: bytes, more: bool) -> bytes:
        if self._state == _LOST:
            return RELEASED
        if self._iso_dep is None or self._iso_dep.command is None or len(self._chained) > 16 * MAX_DATA:
            return WRONG_CONTEXT
        self._chained += data
        if more:
            return OK
        response, self._chained = self._chained, b""
        return OK if self._chip.air.answer(self._chip, self._iso_dep.respond(response)) else RELEASED

    def _target_status(self, _job: Job, _data: bytes) -> bytes:
        return {_ACTIVE: b"\x01\x00", _LOST: b"\x02\x00"}.get(self._state, b"\x00\x00")
