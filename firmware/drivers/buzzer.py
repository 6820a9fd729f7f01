"""An active buzzer at a pin: one long sound for a payment that went well, three short ones for one that did not.

The timer switches it, so that a beep never holds up the answer to a card.
"""

from machine import Timer
from micropython import const

# Milliseconds on, off, on, ..
_GOOD = (120,)
_BAD = (60, 60, 60, 60, 60)
_TIMER = const(0)


class Buzzer:
    """`pin`: an output; the buzzer sounds while it is high."""

    def __init__(self, pin):
        self._pin = pin
        self._timer = Timer(_TIMER)
        self._pattern = ()
        self._step = 0

    def beep(self, good: bool) -> None:
        """Starts the sound and returns; one that still sounds is replaced."""
        self._timer.deinit()
        self._pattern = _GOOD if good else _BAD
        self._step = 0
        self._next(None)

    def _next(self, _) -> None:
        sounding = self._step < len(self._pattern)
        self._pin.value(sounding and self._step % 2 == 0)
        if sounding:
            self._timer.init(mode=Timer.ONE_SHOT, period=self._pattern[self._step], callback=self._next)
            self._step += 1
