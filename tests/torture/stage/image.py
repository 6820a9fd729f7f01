"""What this stage takes from the board's image and from MicroPython itself, in one place.

In an image for a board each package is linked into one module (host_tools/images/link.py), so names have other homes
than in the sources. A type checker for the host knows neither.
"""

import gc
import sys
import time


def _module(name: str):
    __import__(name)
    return sys.modules[name]


crypto_ed25519 = _module("crypto.ed25519")
crypto_verifier = _module("crypto.verifier")

jiaozi = _module("jiaozi")

Device = jiaozi.Device
Collection = jiaozi.Collection
ENDED = "ended"
WAITING = "waiting"
Pin = jiaozi.Pin
Card = jiaozi.Card
CardGone = jiaozi.CardGone
Refused = jiaozi.Refused
Journal = jiaozi.Journal

SigningKey = crypto_ed25519.SigningKey
verify = crypto_ed25519.verify

collect_every = gc.__dict__["threshold"]  # so many bytes
vfs = __import__("vfs")
print_exception = sys.__dict__["print_exception"]
_ticks_ms = time.__dict__["ticks_ms"]
_ticks_diff = time.__dict__["ticks_diff"]


def journal_of(device):
    """A device's journal; the name that it has there is private, and shortened in an image."""
    return [value for value in device.__dict__.values() if isinstance(value, Journal)][0]


class Stopwatch:
    def __init__(self):
        self._since = _ticks_ms()

    def seconds(self) -> float:
        return _ticks_diff(_ticks_ms(), self._since) / 1000
