"""Shapes for drawings: boxes, words, wires. The same calls give the same bytes; nothing is asked of any font.

White is painted under everything, so that a drawing reads on dark pages and on paper.
"""

from html import escape

INK, PALE, PAPER = "#1f2933", "#5b6672", "#ffffff"
_WIRE_WIDTH = 3
_JUMP_RADIUS = 7

Point = tuple[int, int]


class Drawing:
    """Shapes in the order in which they cover each other; all measures are whole pixels."""

    def __init__(self) -> None:
        self._shapes: list[str] = []

    def svg(self, title: str, width: int, height: int) -> str:
        """The whole file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            ' font-family="Helvetica, Arial, sans-serif">'
        )
        paper = f'<rect width="{width}" height="{height}" fill="{PAPER}"/>'
        return "\n".join([head, f"<title>{escape(title)}</title>", paper, *self._shapes, "</svg>"]) + "\n"

    def text(self, x: int, y: int, words: str, size: int, colour: str = INK, anchor: str = "start") -> None:
        """`y` is the line that letters stand on; `anchor` as in SVG."""
        self._shapes.append(
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def bold(self, x: int, y: int, words: str, size: int, anchor: str = "start") -> None:
        self._shapes.append(
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{INK}" text-anchor="{anchor}" font-weight="bold">'
            f"{escape(words)}</text>"
        )

    def box(self, x: int, y: int, width: int, height: int, fill: str, radius: int) -> None:
        self._shapes.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" fill="{fill}" stroke="{INK}"/>'
        )

    def wire(self, points: list[Point], colour: str) -> None:
        self._path("M" + " L".join(f"{x} {y}" for x, y in points), colour)

    def jump(self, start: Point, over: Point, end: Point, colour: str) -> None:
        """A straight wire, level or upright, that jumps over another at `over`."""
        (x1, y1), (x, y), (x2, y2) = start, over, end
        step_x = _JUMP_RADIUS * ((x2 > x1) - (x2 < x1))
        step_y = _JUMP_RADIUS * ((y2 > y1) - (y2 < y1))
        arc = f"A{_JUMP_RADIUS} {_JUMP_RADIUS} 0 0 {int(step_x > 0 or step_y < 0)} {x + step_x} {y + step_y}"
        self._path(f"M{x1} {y1} L{x - step_x} {y - step_y} {arc} L{x2} {y2}", colour)

    def pin(self, x: int, y: int) -> None:
        """The end of a wire at a part."""
        self._shapes.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{PAPER}" stroke="{INK}" stroke-width="2"/>')

    def dot(self, x: int, y: int, colour: str) -> None:
        """Where wires are joined."""
        self._shapes.append(f'<circle cx="{x}" cy="{y}" r="6" fill="{colour}"/>')

    def _path(self, path: str, colour: str) -> None:
        self._shapes.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{_WIRE_WIDTH}" stroke-linecap="round"/>'
        )
