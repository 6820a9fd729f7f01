"""What every generated `board.py` holds, for the type checker; `host_tools/images/boards.py` writes the values."""

NAME: str
CHIP: str
CLOCK_HZ: int | None  # None where there is none to set
PORT: str  # module of `firmware/ports/`
APP: str  # "wallet" or "terminal"

LINK: dict  # for `ports.*.open_uart`, with its `baudrate`
# {"kind": "uart", ..} with the rest as LINK's, {"kind": "i2c", "id": 0, "sda": 21, "scl": 22, "frequency_hz": 400000}
# or {"kind": "spi", "id": 1, "sck": 18, "mosi": 23, "miso": 19, "cs": 26, "frequency_hz": 1000000}; simulated, a bus is
# {"kind": .., "env": "JIAOZI_NFC"}
NFC: dict
PANEL: dict | None

DISPLAY: dict | None  # {"kind": "panel"} or {"kind": "ssd1306", "i2c": {..}, "address": 0x3C}
# {"kind": "panel"}, {"kind": "matrix", "rows": [..], "columns": [..]} or {"kind": "button", "pin": 3}
KEYPAD: dict | None
BUZZER: dict | None  # {"kind": "panel"} or {"kind": "pin", "pin": 23}
JOURNAL: dict  # {"label": "journal", "size_bytes": 262144}, for `ports.*.open_flash`

has_display: bool
has_keypad: bool  # digits can be typed
has_button: bool  # one button: confirm
has_buzzer: bool
