"""Keys on pins: a 4x4 matrix or one button, debounced. Pins and time are passed in; `#` is OK, `*` is back, as on
the panel.
"""

from micropython import const

_DEBOUNCE_MS = const(20)  # contacts of small switches settle in 5 to 10 ms
_KEYS = "123A456B789C*0#D"
_CONFIRM = "#"


class Keypad:
    """Debounces `scan() -> str | None`, which tells the key that is down now. `port` gives `ticks_ms` and
    `ticks_diff`.
    """

    def __init__(self, scan, port):
        self._scan = scan
        self._port = port
        self._seen = scan()  # what is held while we start was not meant for us
        self._accepted = self._seen
        self._since = port.ticks_ms()

    def read_key(self) -> str | None:
        """A key that went down since the last call, once per press; None if there is none. Call it every 50 ms or
        oftener.
        """
        now = self._port.ticks_ms()
        key = self._scan()
        if key != self._seen:
            self._seen = key
            self._since = now
        elif key != self._accepted and self._port.ticks_diff(now, self._since) >= _DEBOUNCE_MS:
            self._accepted = key
            return key
        return None


def matrix(rows: list, columns: list):
    """A scan function for four row pins (outputs) and four column pins (inputs with pull-up)."""
    for row in rows:
        # Open drain: two keys of one column would otherwise short a high row to a low one.
        row.init(row.OPEN_DRAIN, value=1)

    def scan() -> str | None:
        down = None
        for index, row in enumerate(rows):
            row.value(0)
            for column, pin in enumerate(columns):
                if not pin.value():
                    if down is not None:  # without diodes two keys look like a third
                        row.value(1)
                        return None
                    down = _KEYS[4 * index + column]
            row.value(1)
        return down

    return scan


def button(pin):
    """A scan function for one button between `pin` (input with pull-up) and ground: it says OK."""
    return lambda: None if pin.value() else _CONFIRM


def open_keypad(spec: dict, port) -> Keypad:
    """The keypad that `board.KEYPAD` describes, at the pins of `port`."""
    if spec["kind"] == "button":
        return Keypad(button(port.input_pin(spec["pin"], True)), port)
    rows = [port.output_pin(number) for number in spec["rows"]]
    columns = [port.input_pin(number, True) for number in spec["columns"]]
    return Keypad(matrix(rows, columns), port)
