"""What else can be in the air: cards and readers that are none of ours. Small fakes at the air's own interface."""

import threading
import time
from collections.abc import Callable

from host_tools.simulator.air import Air, Identity, RadioChip

ISO_DEP_CARD = 0x20
MIFARE_CARD = 0x08
_ATS = b"\x05\x78\x80\xd0\x00"  # frames of 256 bytes, FWI 13
_RATS = b"\xe0\x80"
_FRAME_WAITING_US = 2_500_000
_PATIENCE_S = 5.0


class ForeignCard:
    """A Type A card: answers each command APDU, one block each way, with what `answer` says; None is silence."""

    def __init__(self, air: Air, answer: Callable[[bytes], bytes | None], sel_res: int = ISO_DEP_CARD) -> None:
        self._air = air
        self._answer = answer
        self._sel_res = sel_res
        self.commands: list[bytes] = []

    def card_identity(self) -> Identity:
        return Identity(b"\x04\x00", b"\x01\x02\x03\x04", self._sel_res)

    def card_selected(self) -> None:
        pass

    def card_frame(self, data: bytes) -> None:
        if data[0] == _RATS[0]:
            self._air.answer(self, _ATS)
        elif data[0] & 0xE2 == 0x02:
            self.commands.append(data[1:])
            answer = self._answer(data[1:])
            if answer is not None:
                self._air.answer(self, data[:1] + answer)
        elif data[0] == 0xC2:
            self._air.answer(self, data)

    def card_field_lost(self) -> None:
        pass

    def reader_retry(self) -> None:
        pass


class ForeignReader:
    """A reader that says what it likes: frames as they are, without a block protocol behind them."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self._answer: bytes | None = None
        self._answered = threading.Event()

    def activate(self, card: RadioChip) -> None:
        """Bring the card here, select it and send it RATS; it must answer within `_PATIENCE_S`."""
        self._air.bring_together(self, card)
        deadline = time.monotonic() + _PATIENCE_S
        while self._air.select(self) is None:
            assert time.monotonic() < deadline, "the card does not listen"
            time.sleep(0.001)
        assert self.say(_RATS, _PATIENCE_S) == _ATS

    def say(self, frame: bytes, patience_s: float) -> bytes | None:
        """The card's frame, None if it has said nothing for `patience_s`."""
        self._answered.clear()
        self._answer = None
        self._air.send(self, frame, _FRAME_WAITING_US, self._take)
        self._answered.wait(patience_s)
        return self._answer

    def _take(self, answer: bytes | None) -> None:
        self._answer = answer
        self._answered.set()

    def card_identity(self) -> Identity | None:
        return None

    def card_selected(self) -> None:
        pass

    def card_frame(self, data: bytes) -> None:
        pass

    def card_field_lost(self) -> None:
        pass

    def reader_retry(self) -> None:
        pass
