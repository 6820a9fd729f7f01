"""The story in front of a person's eyes: chapters, both screens of every tap, where the money is.

Rich on a terminal of any width.
"""

from rich.align import Align
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel as Box
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.panel import render_braille
from host_tools.story.hands import MeasuredTap

_PIXELS_FIT = 160  # columns; narrower terminals get the screens' words
_WORDS_WIDTH = 20
_WORDS_HEIGHT = 5
_PIXELS_HEIGHT = 16
_GOOD = ("PAID", "RECEIVED")
_PARTS = (
    ("accounts", "Accounts"),
    ("purses", "Purses"),
    ("pending", "Pending"),
    ("loads_in_transit", "Loads in transit"),
    ("guarantee", "Guarantee"),
    ("suspense", "Suspense"),
)


def money(amount: int) -> str:
    """Minor units of a currency with two decimals, as a person reads them."""
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100:,}.{abs(amount) % 100:02}"


def _plain_table(title: str, style: str) -> Table:
    return Table(title=title, title_justify="left", title_style=style, box=None, pad_edge=False, padding=(0, 2))


class RichStage:
    """A `play.Stage` on a Rich console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def chapter(self, number: int, title: str) -> None:
        self._console.print()
        heading = Text.assemble((f" {number} ", "bold black on cyan"), " ", (title, "bold"))
        self._console.print(Rule(heading, align="left"))

    def say(self, text: str) -> None:
        self._console.print(Text("  " + text, style="default"))

    def tapped(self, text: str, tap: MeasuredTap, payer: SimulatedDevice, payee: SimulatedDevice) -> None:
        usual = ("select", "pay", "confirm", "request", "transfer")
        extra = [name for name in tap.exchange_names if name not in usual]
        facts = f"{tap.exchanges} exchanges" + (f" (+ {', '.join(extra)})" if extra else "")
        times = f"radio {tap.radio_ms:.0f} ms, crypto {tap.crypto_ms:.0f} ms, storage {tap.storage_ms:.0f} ms"
        self._console.print()
        self._console.print(Text("  " + text, style="bold"))
        self._console.print(Text(f"  {facts}; {times}", style="dim"))
        height = _PIXELS_HEIGHT if self._shows_pixels else _WORDS_HEIGHT
        arrow = Align(Text(f"{money(tap.amount)} ─▶", style="bold cyan"), vertical="middle", height=height + 2)
        row = Columns([self._screen(payer), arrow, self._screen(payee)], padding=(0, 1), expand=False)
        self._console.print(Padding(row, (0, 0, 0, 2)))

    def money(self, balances: dict[str, tuple[int, int]]) -> None:
        table = _plain_table("On the devices", "dim")
        table.add_column("")
        for name in balances:
            table.add_column(name, justify="right", style="green")
        table.add_row("  can be spent", *[money(balance) for balance, _ in balances.values()])
        if any(in_doubt for _, in_doubt in balances.values()):
            table.add_row("  in doubt", *[money(in_doubt) for _, in_doubt in balances.values()], style="yellow")
        self._console.print()
        self._console.print(table)

    def reconciliation(self, result: dict) -> None:
        """Every account, purse and pending amount, their sum and the difference to what was issued."""
        table = _plain_table("Reconciliation", "bold")
        table.add_column("")
        table.add_column("")
        table.add_column("CNY", justify="right")
        total = 0
        for part, title in _PARTS:
            total += sum(result[part].values())
            rows = {name: amount for name, amount in result[part].items() if amount} or {"none": 0}
            for index, (name, amount) in enumerate(rows.items()):
                table.add_row(title if index == 0 else "", name, money(amount), style="" if amount else "dim")
        table.add_section()
        table.add_row("Sum", "", money(total), style="bold")
        table.add_row("Issued", "", money(result["issued"]), style="bold")
        difference = result["difference"]
        table.add_row("Difference", "", money(difference), style="bold red" if difference else "bold green")
        self._console.print()
        self._console.print(table)
        self._console.print()
        self._console.print(
            Text(
                f"  {result['payments']} payments, {len(result['taps'])} taps, {result['seconds']:.1f} s. "
                "Every balance is as expected, on the devices and in the ledger.",
                style="green",
            )
        )

    @property
    def _shows_pixels(self) -> bool:
        return self._console.width >= _PIXELS_FIT

    def _screen(self, device: SimulatedDevice) -> RenderableType:
        good = any(word == device.panel.text.split("\n")[0] for word in _GOOD)
        border = "green" if good else "yellow"
        if self._shows_pixels:
            pixels = Text(render_braille(device.panel.picture), style="bright_cyan")
            return Box(pixels, title=device.name, border_style=border, expand=False)
        title, *lines = device.panel.text.split("\n")
        words = Group(
            Align.center(Text(f" {title} ", style="bold reverse")),
            *[Align.center(Text(line, style="bold" if index == 0 else "")) for index, line in enumerate(lines)],
        )
        height = _WORDS_HEIGHT + 2
        return Box(words, title=device.name, border_style=border, width=_WORDS_WIDTH, height=height, padding=(1, 0))


class SilentStage:
    """A `play.Stage` that shows nothing."""

    def chapter(self, number: int, title: str) -> None: ...

    def say(self, text: str) -> None: ...

    def tapped(self, text: str, tap: MeasuredTap, payer: SimulatedDevice, payee: SimulatedDevice) -> None: ...

    def money(self, balances: dict[str, tuple[int, int]]) -> None: ...
