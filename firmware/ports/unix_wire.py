"""A bus of the unix port: what its master does goes over a descriptor to the simulated part, which answers at once.

`spec` of a bus is that of a UART, `{"env": "JIAOZI_NFC"}`. The other end is `host_tools/simulator/bus_wires.py`.
"""

from micropython import const

from ports.errors import UartClosed
from ports.unix import open_uart, wait

_ANSWER_TIMEOUT_MS = const(2000)  # a part that takes so long is gone


class Wire:
    """Raises UartClosed once the simulation is gone."""

    def __init__(self, spec: dict) -> None:
        self._line = open_uart(spec, 0)
        self._input = b""

    def send(self, message: bytes) -> None:
        self._line.write(message)

    def take(self, count: int) -> bytes:
        """The next `count` bytes of the answer."""
        while len(self._input) < count:
            wait([self._line], _ANSWER_TIMEOUT_MS)
            more = self._line.read()
            if not more:
                raise UartClosed("nobody answers on the bus")
            self._input += more
        data = self._input[:count]
        self._input = self._input[count:]
        return data
