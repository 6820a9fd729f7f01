"""A cable between two endpoints of the reactor: what one end receives, the other sends."""

from collections.abc import Callable


class Relay:
    """One end; `join` makes two of them a cable."""

    def __init__(self) -> None:
        self.other: Relay | None = None
        self.on_output: Callable[[], None] | None = None
        self.on_baudrate: Callable[[int], None] | None = None
        self._output = b""

    def receive(self, data: bytes) -> None:
        assert self.other is not None
        self.other.put(data)

    def put(self, data: bytes) -> None:
        self._output += data
        if self.on_output is not None:
            self.on_output()

    def take_output(self) -> bytes:
        data, self._output = self._output, b""
        return data


def join() -> tuple[Relay, Relay]:
    """The two ends of a new cable."""
    one, other = Relay(), Relay()
    one.other, other.other = other, one
    return one, other
