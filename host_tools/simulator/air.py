"""The air between two PN532s: ISO/IEC 14443 Type A at 106 kbit/s, on a clock of its own.

Time here is virtual: it advances by what frames take on the air and by waiting times that run out, never by what a
device's processor does, so a tap has the same `radio_us` on every machine. Frames arrive whole or not at all. Two
chips are in reach of each other or nobody is. Methods may be called from any thread; the chips are called back under
the air's lock.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from host_tools.simulator.type_a_timing import (
    CRC_BYTES,
    NEXT_DELAY_US,
    REPLY_DELAY_US,
    SHORT_FRAME_US,
    anticollision_us,
    frame_us,
)

_MAX_TAPS_KEPT = 256
_MAX_FRAMES_KEPT = 4096  # of one tap; a tap needs about ten, a sync by NFC some hundred

# A reader waits for a card whose processor is still at work; only if that takes so long in real time is it dead.
CARD_WORK_LIMIT_S = 15.0

Direction = Literal["reader", "card"]


class Identity(NamedTuple):
    """What a Type A card says in anticollision, in on-air byte order."""

    sens_res: bytes
    uid: bytes
    sel_res: int


class AirFrame(NamedTuple):
    """One frame after selection (ISO-DEP: RATS, ATS, blocks)."""

    sender: Direction
    data: bytes  # without CRC
    start_us: float  # since the tap's start
    end_us: float
    arrived: bool


class Tap:
    """From the REQA that a card answers until the two part."""

    def __init__(self, start_us: float) -> None:
        self.start_us = start_us
        self.frames: list[AirFrame] = []
        self.radio_us = 0.0  # so far; anticollision, frames, frame delays and expired waiting times
        self.ended = False


class RadioChip(Protocol):
    """What the air asks of a chip. `done` callbacks given to the air are also called under its lock."""

    def card_identity(self) -> Identity | None:
        """Who answers a REQA now, or None."""
        ...

    def card_selected(self) -> None: ...

    def card_frame(self, data: bytes) -> None: ...

    def card_field_lost(self) -> None: ...

    def reader_retry(self) -> None:
        """A card may have appeared: a search that is still open looks again."""
        ...


class _Exchange(NamedTuple):
    timeout_us: float
    done: Callable[[bytes | None], None]
    since_s: float  # real time


class Air:
    """Holds at most one pair of chips in reach of each other."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.now_us = 0.0
        self.taps: deque[Tap] = deque(maxlen=_MAX_TAPS_KEPT)
        self._pair: tuple[RadioChip, RadioChip] | None = None
        self._fields: set[int] = set()  # ids of chips whose field is on
        self._reader: RadioChip | None = None
        self._card: RadioChip | None = None
        self._exchange: _Exchange | None = None
        self._cut: tuple[int, int] | None = None
        self._lost_frames: set[int] = set()

    # --- the experimenter's side

    def bring_together(self, one: RadioChip, other: RadioChip) -> None:
        """Put two chips in reach of each other; whoever was, parts."""
        with self.lock:
            self.separate()
            self._pair = (one, other)
            one.reader_retry()
            other.reader_retry()

    def separate(self) -> None:
        """Take the chips apart, now."""
        with self.lock:
            self._pair = None
            self._part()

    def are_together(self) -> bool:
        with self.lock:
            return self._pair is not None

    def has_field(self, chip: RadioChip) -> bool:
        """Whether the chip's field is on."""
        with self.lock:
            return id(chip) in self._fields

    def cut(self, after_frame: int, after_byte: int) -> None:
        """In the next tap, the card leaves right after byte `after_byte` of frame `after_frame` has been sent.

        Frames count from 0, the RATS, in both directions; bytes include the CRC (a frame of n bytes has n + 2). With 0
        the card leaves before the frame, with n + 2 the frame still arrives.
        """
        with self.lock:
            self._cut = (after_frame, after_byte)

    def lose(self, frame: int) -> None:
        """In the next tap, frame `frame` does not arrive, but nobody leaves."""
        with self.lock:
            self._lost_frames.add(frame)

    @property
    def last_tap(self) -> Tap:
        """The current tap or the one before. Raises IndexError if there has been none."""
        with self.lock:
            return self.taps[-1]

    def check_waiting(self) -> None:
        """Let a reader's waiting time run out if its card has been at work for too long in real time."""
        with self.lock:
            if self._exchange is not None and time.monotonic() - self._exchange.since_s > CARD_WORK_LIMIT_S:
                self._expire()

    # --- the chips' side

    def set_field(self, chip: RadioChip, on: bool) -> None:
        with self.lock:
            if on:
                self._fields.add(id(chip))
            else:
                self._fields.discard(id(chip))
                if chip is self._reader:
                    self._part()

    def remove(self, chip: RadioChip) -> None:
        """The chip lost its power, or its owner is gone."""
        with self.lock:
            self.set_field(chip, False)
            if self._pair is not None and chip in self._pair:
                self.separate()

    def card_listens(self, chip: RadioChip) -> None:
        """A chip began to listen as a card."""
        with self.lock:
            other = self._other(chip)
            if other is not None:
                other.reader_retry()

    def card_stops(self, chip: RadioChip) -> None:
        """A chip left the card role: to the reader it looks as if it had gone."""
        with self.lock:
            if chip is self._card:
                self._part()

    def select(self, reader: RadioChip, uid: bytes = b"") -> Identity | None:
        """REQA and anticollision with the field on; the card found (with `uid`, if given) is selected."""
        with self.lock:
            self._fields.add(id(reader))
            if reader is self._reader:
                self._part()
            card = self._other(reader)
            identity = card.card_identity() if card is not None and id(card) not in self._fields else None
            if identity is None or (uid and uid != identity.uid):
                self.now_us += SHORT_FRAME_US + REPLY_DELAY_US
                return None
            assert card is not None
            tap = Tap(self.now_us)
            self.taps.append(tap)
            self._reader, self._card = reader, card
            self._advance(anticollision_us(len(identity.uid)))
            card.card_selected()
            return identity

    def send(self, reader: RadioChip, data: bytes, timeout_us: float, done: Callable[[bytes | None], None]) -> None:
        """Reader's frame; `done` gets the card's answer, or None when the waiting time has run out."""
        with self.lock:
            self._exchange = _Exchange(timeout_us, done, time.monotonic())
            if reader is not self._reader or self._card is None:
                self.now_us += frame_us(len(data) + CRC_BYTES, 2)
                self._expire()
                return
            card = self._card
            arrives, leaves = self._transmit("reader", data)
            if leaves:
                self._leave(card, lambda: card.card_frame(data) if arrives else None)
            elif arrives:
                card.card_frame(data)
            else:
                self._expire()

    def answer(self, card: RadioChip, data: bytes) -> bool:
        """Card's frame. False if the field went away before its end."""
        with self.lock:
            if card is not self._card:
                return False
            exchange = self._exchange
            if exchange is None:
                self._transmit("card", data)  # nobody listens: the reader has given up waiting
                return True
            arrives, leaves = self._transmit("card", data)
            if arrives:
                self._exchange = None
            if leaves:
                self._leave(card, lambda: exchange.done(data) if arrives else None)
                return arrives
            if arrives:
                exchange.done(data)
            else:
                self._expire()
            return True

    # --- inside

    def _other(self, chip: RadioChip) -> RadioChip | None:
        if self._pair is None or chip not in self._pair:
            return None
        return self._pair[1] if chip is self._pair[0] else self._pair[0]

    def _transmit(self, sender: Direction, data: bytes) -> tuple[bool, bool]:
        """Log one frame and pass its time; returns whether it arrives and whether the card leaves then."""
        tap = self.taps[-1]
        index = len(tap.frames)
        size = len(data) + CRC_BYTES
        sent, leaves = size, False
        if self._cut is not None and self._cut[0] == index:
            sent, leaves = min(size, self._cut[1]), True
        arrives = sent == size and index not in self._lost_frames
        self._advance(NEXT_DELAY_US if sender == "reader" else REPLY_DELAY_US)
        start_us = self.now_us - tap.start_us
        self._advance(frame_us(sent, 2 if sender == "reader" else 1))
        if index < _MAX_FRAMES_KEPT:
            tap.frames.append(AirFrame(sender, data, start_us, self.now_us - tap.start_us, arrives))
        return arrives, leaves

    def _advance(self, microseconds: float) -> None:
        self.now_us += microseconds
        self.taps[-1].radio_us = self.now_us - self.taps[-1].start_us

    def _leave(self, card: RadioChip, deliver: Callable[[], None]) -> None:
        """The card goes right after a frame: that is delivered first, but nothing can follow it."""
        self._pair = None
        self._reader = self._card = None
        deliver()
        self._end_tap()
        card.card_field_lost()
        if self._exchange is not None:
            self._expire()

    def _part(self) -> None:
        card, self._card, self._reader = self._card, None, None
        if card is None:
            return
        self._end_tap()
        card.card_field_lost()
        if self._exchange is not None:
            self._expire()

    def _end_tap(self) -> None:
        self.taps[-1].ended = True
        self._cut = None
        self._lost_frames.clear()

    def _expire(self) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        if self._card is not None:
            self._advance(exchange.timeout_us)
        else:
            self.now_us += exchange.timeout_us
        exchange.done(None)
