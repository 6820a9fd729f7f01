"""What else can be in the air: cards and readers that are none of ours. Small fakes at the air's own interface."""

from collections.abc import Callable

from host_tools.simulator.air import Air, Identity

ISO_DEP_CARD = 0x20
MIFARE_CARD = 0x08
_ATS = b"\x05\x78\x80\xd0\x00"  # frames of 256 bytes, FWI 13
_RATS = b"\xe0\x80"
_FRAME_WAITING_US = 2_500_000


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

    def activate(self) -> None:
        """Select the card that is in reach and send it RATS; it must answer."""
        assert self._air.select(self) is not None
        assert self.exchange(_RATS) == _ATS

    def exchange(self, frame: bytes) -> bytes | None:
        """The card's frame, None if it stays silent."""
        answers: list[bytes | None] = []
        self._air.send(self, frame, _FRAME_WAITING_US, answers.append)
        return answers[0] if answers else None

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
