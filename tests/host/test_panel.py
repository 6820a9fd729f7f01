"""Front panel, both ends: the firmware's screen and drivers run on MicroPython, what they send is decoded and
looked at here.
"""

import subprocess
from pathlib import Path

import pytest

from host_tools.simulator.panel import HEIGHT, KEYS, WIDTH, PanelDecoder, encode_keys, pixel, render_braille, render_png
from protocol.framing import encode_frame

_PROJECT = Path(__file__).parents[2]

# What a script gets: `panel` and `screen` on a line whose output is stdout and whose input is the bytes in `typed`.
_PRELUDE = """
import sys
sys.path[:0] = ["firmware", "."]
from drivers.panel import Panel
from ui import text
from ui.screen import Screen
class Line:
    typed = b""
    def read(self):
        data, self.typed = self.typed[:5], self.typed[5:]
        return data
    def write(self, data):
        sys.stdout.buffer.write(data)
line = Line()
panel = Panel(line)
screen = Screen(panel)
"""


@pytest.fixture
def run(micropython: str):
    """Runs a script on MicroPython and returns what it wrote to stdout."""

    def run(script: str, prelude: str = _PRELUDE) -> bytes:
        ended = subprocess.run(
            [micropython, "-X", "heapsize=320K", "-c", prelude + script], cwd=_PROJECT, capture_output=True, timeout=30
        )
        assert ended.returncode == 0, ended.stderr.decode() + ended.stdout.decode(errors="replace")
        return ended.stdout

    return run


@pytest.fixture
def shown(run):
    """What the panel shows after a script."""

    def shown(script: str) -> PanelDecoder:
        panel = PanelDecoder()
        panel.feed(run(script))
        assert (panel.dropped_frames, panel.bad_messages) == (0, 0)
        return panel

    return shown


def _lit(picture: bytes) -> float:
    return sum(byte.bit_count() for byte in picture) / (WIDTH * HEIGHT)


def test_an_amount_stands_big_between_title_bar_and_note(shown):
    panel = shown("screen.show_amount('SALE', text.format_amount(1850, 2), ['CNY', '# ok  * back'])")
    assert panel.text == "SALE\n18.50\nCNY\n# ok  * back"
    rows = [any(pixel(panel.picture, x, y) for x in range(WIDTH)) for y in range(HEIGHT)]
    assert all(pixel(panel.picture, x, 0) for x in range(WIDTH)), "the title stands in a bar"
    assert not any(rows[11:18]), "air between bar and amount"
    assert all(rows[18:38]), "digits of twenty pixels"
    stems = [x for x in range(WIDTH) if all(pixel(panel.picture, x, y) for y in range(18, 38))]
    assert stems == [stems[0], stems[0] + 1, stems[0] + 2], "only the 1 has a stem, three pixels wide and twenty high"


@pytest.mark.parametrize("amount", [0, 5, 999_999_999, -999_999_999])
@pytest.mark.parametrize("exponent", [0, 2, 3])
def test_every_amount_fits_the_screen(shown, amount: int, exponent: int):
    panel = shown(f"screen.show_amount('T', text.format_amount({amount}, {exponent}), [])")
    for edge in (0, WIDTH - 1):
        assert not any(pixel(panel.picture, edge, y) for y in range(11, HEIGHT)), "the amount touches the edge"
    assert all(any(pixel(panel.picture, x, y) for x in range(WIDTH)) for y in range(27, 30)), "the amount is big"


def test_success_and_failure_differ_in_brightness_and_shape(shown):
    paid = shown("screen.show_outcome(True, 'PAID', '18.50', ['balance 81.50']); panel.beep(True)")
    refused = shown("screen.show_outcome(False, 'NOT PAID', '18.50', ['no money moved']); panel.beep(False)")
    assert (paid.text, paid.sounds) == ("PAID\n18.50\nbalance 81.50", [True])
    assert (refused.text, refused.sounds) == ("NOT PAID\n18.50\nno money moved", [False])
    assert _lit(paid.picture) > 0.7
    assert _lit(refused.picture) < 0.3


def test_without_an_amount_there_is_room_for_what_to_do(shown):
    panel = shown(
        "screen.show_outcome(False, 'CARD REMOVED', '', ['Hold it again', 'until it beeps.', 'No money moved.'])"
    )
    assert panel.text == "CARD REMOVED\nHold it again\nuntil it beeps.\nNo money moved."


def test_the_chosen_line_of_a_menu_is_inverse_and_marked_in_the_text(shown):
    panel = shown("screen.show(['MENU', 'Sale', 'Refund', 'History', 'Settings', 'About'], 2)")
    assert panel.text == "MENU\nSale\n> Refund\nHistory\nSettings\nAbout"
    chosen = [y for y in range(12, HEIGHT) if pixel(panel.picture, WIDTH - 1, y)]
    assert chosen == list(range(22, 31))


@pytest.mark.parametrize("lines", range(1, 9))
def test_any_number_of_lines_stays_apart_and_inside(shown, lines: int):
    panel = shown(f"screen.show(['T'] + ['|' * 16] * {lines - 1})")
    inside = [y for y in range(HEIGHT) if pixel(panel.picture, 4, y) and not pixel(panel.picture, 0, y)]
    assert len(inside) == 8 * (lines - 1), "every line shows its whole height of eight pixels"


def test_what_the_font_does_not_have_is_a_question_mark(shown):
    assert shown("screen.show(['caf\\xe9 \\u8336', 'x' * 40])").text == "caf? ?\n" + "x" * 16


def test_keys_arrive_once_in_order_however_the_line_cuts_them(run):
    script = f"line.typed = {encode_keys('1850#') + b'noise' + encode_keys('*ABCD')!r}\n"
    script += "keys = [panel.read_key() for _ in range(40)]\nprint(''.join([key for key in keys if key]))"
    assert run(script).split() == [b"1850#*ABCD"]


def test_a_key_the_panel_does_not_have_is_refused_here_and_ignored_there(run):
    with pytest.raises(ValueError, match="no key 'x'; it has 0123456789"):
        encode_keys("1x")
    typed = encode_frame(0, b"1x\xff2")
    assert run(f"line.typed = {typed!r}\nprint([panel.read_key() for _ in range(9)])").count(b"None") == 7


def test_the_panel_counts_what_is_no_message_and_keeps_the_last_picture(shown):
    panel = shown("screen.show(['T'])")
    before = (panel.picture, panel.text, panel.screens)
    for message in (b"", b"X", b"B", b"B\x02", b"S\0\1", b"S\0\5hello" + bytes(1023)):
        assert not panel.feed(encode_frame(1, message, 2000))
    assert panel.bad_messages == 6
    assert (panel.picture, panel.text, panel.screens) == before


def test_braille_and_png_show_the_same_dots():
    picture = bytearray(1024)
    for x, y in ((0, 0), (1, 3), (127, 63), (64, 30)):
        picture[y // 8 * WIDTH + x] |= 1 << y % 8
    braille = render_braille(bytes(picture)).splitlines()
    assert (braille[0][0], braille[15][63], braille[7][32]) == ("\u2881", "\u2880", "\u2804")
    assert sum(character != "\u2800" for line in braille for character in line) == 3
    image = render_png(bytes(picture), scale=2)
    assert image.size == (2 * (WIDTH + 8), 2 * (HEIGHT + 8))
    lit = {
        ((x - 8) // 2, (y - 8) // 2)
        for x in range(image.width)
        for y in range(image.height)
        if image.getpixel((x, y)) != image.getpixel((0, 0))
    }
    assert lit == {(0, 0), (1, 3), (127, 63), (64, 30)}


def test_amounts_are_written_and_typed_without_floats(run):
    script = """
amounts = ((1850, 2), (-350, 2), (5, 2), (0, 2), (-5, 3), (700, 0), (-7, 0), (1234567, 3))
assert [text.format_amount(*amount) for amount in amounts] == [
    "18.50", "-3.50", "0.05", "0.00", "-0.005", "700", "-7", "1234.567"]
amount = 0
for key in "0185#A0*":
    amount = text.type_digit(amount, key)
assert amount == 185, amount
assert text.type_digit(0, "*") == 0
assert text.type_digit(99999999, "9") == 999999999
assert text.type_digit(100000000, "0") == 100000000
print("ok")
"""
    assert run(script) == b"ok\n"


_PINS = """
import sys
sys.path[:0] = ["firmware", "."]
from drivers import keypad
class Port:
    now = 0
    pressed = set()  # (row, column)
    def ticks_ms(self): return self.now
    def ticks_diff(self, a, b): return a - b
    def output_pin(self, number): return Row(number)
    def input_pin(self, number, pull_up): return Column(number)
class Row:
    OPEN_DRAIN = 7
    levels = {}
    def __init__(self, number): self.number = number
    def init(self, mode, value): self.levels[self.number] = value
    def value(self, level): self.levels[self.number] = level
class Column:
    def __init__(self, number): self.number = number
    def value(self):
        return 0 if any([not Row.levels.get(row, 0) for row, column in Port.pressed if column == self.number]) else 1
port = Port()
def after(ms, *pressed):
    port.now += ms
    Port.pressed = set(pressed)
    return keys.read_key()
"""


def test_a_matrix_key_counts_once_after_its_contact_has_settled(run):
    script = """
keys = keypad.open_keypad({"kind": "matrix", "rows": [0, 1, 2, 3], "columns": [10, 11, 12, 13]}, port)
assert after(0) is None
assert after(5, (1, 11)) is None and after(5) is None and after(5, (1, 11)) is None, "bouncing"
assert after(20, (1, 11)) == "5"
assert after(500, (1, 11)) is None, "held"
assert after(5) is None and after(20) is None and after(5, (3, 12)) is None and after(30, (3, 12)) == "#"
assert after(5, (0, 10), (2, 11)) is None and after(50, (0, 10), (2, 11)) is None, "two keys at once are none"
after(5), after(30)
seen = ""
for row in range(4):
    for column in range(4):
        after(5, (row, 10 + column))
        seen += after(30, (row, 10 + column))
        after(5), after(30)
print(seen)
"""
    assert run(script, _PINS) == b"123A456B789C*0#D\n"


def test_a_button_held_while_starting_confirms_nothing(run):
    script = """
Port.pressed = {(99, 3)}
keys = keypad.open_keypad({"kind": "button", "pin": 3}, port)
assert after(500, (99, 3)) is None, "held from before"
assert after(5) is None and after(30) is None
assert after(5, (99, 3)) is None
print(after(30, (99, 3)))
"""
    assert run(script, _PINS) == b"#\n"


def test_the_buzzer_sounds_its_pattern_and_ends_silent(run):
    script = """
class Timer:
    ONE_SHOT = 0
    def __init__(self, number): pass
    def init(self, mode, period, callback): self.period, self.callback = period, callback
    def deinit(self): self.callback = None
class Machine: pass
sys.modules["machine"] = Machine()
Machine.Timer = Timer
from drivers.buzzer import Buzzer
class Pin:
    levels = []
    def value(self, level): self.levels.append(int(level))
buzzer = Buzzer(Pin())
def play(good):
    Pin.levels = []
    buzzer.beep(good)
    sounding_ms = 0
    while buzzer._timer.callback:
        sounding_ms += buzzer._timer.period * Pin.levels[-1]
        callback, buzzer._timer.callback = buzzer._timer.callback, None
        callback(buzzer._timer)
    return sounding_ms, Pin.levels
print(play(True), play(False))
"""
    assert run(script, _PINS) == b"(120, [1, 0]) (180, [1, 0, 1, 0, 1, 0])\n"


def test_the_oled_gets_its_initialisation_and_the_whole_picture(run):
    script = """
from drivers.errors import ChipError
from drivers.ssd1306 import Ssd1306
class Bus:
    def __init__(self): self.sent = []
    def writevto(self, address, parts):
        if address != 0x3C:
            raise OSError(19)
        self.sent.append(b"".join([bytes(part) for part in parts]))
bus = Bus()
picture = bytearray(bytes(range(256)) * 4)
Ssd1306(bus, 0x3C).flush(picture, "")
assert bus.sent[0][:2] == b"\\x00\\xae" and bus.sent[0][-1] == 0xAF, "off while it is set up, then on"
assert bus.sent[1] == bytes.fromhex("00 21 00 7f 22 00 07".replace(" ", ""))
assert bus.sent[2] == b"\\x40" + picture and len(bus.sent) == 3
try:
    Ssd1306(bus, 0x3D)
except ChipError as error:
    print(error)
"""
    assert run(script, _PINS) == b"display does not answer: check SDA, SCL and its address\n"


def test_every_key_of_the_matrix_is_a_key_of_the_panel():
    assert set("123A456B789C*0#D") == set(KEYS)
