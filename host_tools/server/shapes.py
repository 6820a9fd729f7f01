"""Shapes of JSON values: each knows its JSON Schema (2020-12) and checks a value, so that the two cannot differ.

`check(value, where)` returns the value as the program uses it (hex becomes bytes) or raises `errors.BadRequest`;
`parse(text, where)` does the same for a path's or query's text. Shapes of answers are only described.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from host_tools.server.errors import BadRequest


class Shape:
    """Root of this layer."""

    def schema(self) -> dict[str, Any]:
        raise NotImplementedError

    def check(self, value: object, where: str) -> Any:
        raise NotImplementedError

    def parse(self, text: str, where: str) -> Any:
        return self.check(text, where)


@dataclass(frozen=True)
class Number(Shape):
    """A whole number of this range; JSON's 1.0 is none."""

    minimum: int = 0
    maximum: int = (1 << 63) - 1
    about: str = ""

    def schema(self) -> dict[str, Any]:
        return _described({"type": "integer", "minimum": self.minimum, "maximum": self.maximum}, self.about)

    def check(self, value: object, where: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON Schema tells 1.0 and 1 not apart
        if type(value) is not int or not self.minimum <= value <= self.maximum:
            raise _wrong(where, f"a whole number from {self.minimum} to {self.maximum}")
        return value

    def parse(self, text: str, where: str) -> int:
        if re.fullmatch(r"(0|-?[1-9][0-9]{0,19})", text) is None:
            raise _wrong(where, f"a whole number from {self.minimum} to {self.maximum}")
        return self.check(int(text), where)


@dataclass(frozen=True)
class Text(Shape):
    """Words of people or programs; all of it fits `pattern`, which is for JSON Schema and Python alike."""

    maximum: int
    minimum: int = 1
    pattern: str = ""
    about: str = ""

    def schema(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"type": "string", "minLength": self.minimum, "maxLength": self.maximum}
        return _described(shape | ({"pattern": f"^{self.pattern}$"} if self.pattern else {}), self.about)

    def check(self, value: object, where: str) -> str:
        if (
            not isinstance(value, str)
            or not self.minimum <= len(value) <= self.maximum
            or (self.pattern and re.fullmatch(self.pattern, value) is None)
        ):
            raise _wrong(where, f"a text of {self.minimum} to {self.maximum} characters as described")
        return value


@dataclass(frozen=True)
class Hex(Shape):
    """`size` bytes in lower-case hex; of an answer also any number of them, where `size` is 0."""

    size: int = 0
    about: str = ""

    def schema(self) -> dict[str, Any]:
        pattern = f"^[0-9a-f]{{{2 * self.size}}}$" if self.size else "^([0-9a-f]{2})*$"
        return _described({"type": "string", "pattern": pattern}, self.about)

    def check(self, value: object, where: str) -> bytes:
        if not isinstance(value, str) or re.fullmatch(f"[0-9a-f]{{{2 * self.size}}}", value) is None:
            raise _wrong(where, f"{self.size} bytes in lower-case hex")
        return bytes.fromhex(value)


@dataclass(frozen=True)
class Choice(Shape):
    """One of some words."""

    words: tuple[str, ...]
    about: str = ""

    def schema(self) -> dict[str, Any]:
        return _described({"type": "string", "enum": list(self.words)}, self.about)

    def check(self, value: object, where: str) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise _wrong(where, f"one of {', '.join(self.words)}")
        return value


@dataclass(frozen=True)
class Numbers(Shape):
    """One of some numbers."""

    of: tuple[int, ...]
    about: str = ""

    def schema(self) -> dict[str, Any]:
        return _described({"type": "integer", "enum": list(self.of)}, self.about)

    def check(self, value: object, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value not in self.of:
            raise _wrong(where, f"one of {', '.join(map(str, self.of))}")
        return int(value)


@dataclass(frozen=True)
class Flag(Shape):
    """True or false."""

    about: str = ""

    def schema(self) -> dict[str, Any]:
        return _described({"type": "boolean"}, self.about)


@dataclass(frozen=True)
class Maybe(Shape):
    """Of an answer: this, or null."""

    of: Shape

    def schema(self) -> dict[str, Any]:
        inner = self.of.schema()
        return inner | {"type": [inner["type"], "null"]}


@dataclass(frozen=True)
class Many(Shape):
    """Of an answer: a list."""

    of: Shape

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.of.schema()}


@dataclass(frozen=True)
class Record(Shape):
    """An object of these fields and no others; all are there but those named in `optional`."""

    fields: Mapping[str, Shape]
    optional: frozenset[str] = field(default=frozenset())
    about: str = ""

    def schema(self) -> dict[str, Any]:
        required = [name for name in self.fields if name not in self.optional]
        described: dict[str, Any] = {
            "type": "object",
            "properties": {name: shape.schema() for name, shape in self.fields.items()},
            "additionalProperties": False,
        }
        return _described(described | ({"required": required} if required else {}), self.about)

    def check(self, value: object, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong(where, "a JSON object")
        missing = self.fields.keys() - self.optional - value.keys()
        unknown = value.keys() - self.fields.keys()
        if missing or unknown:
            odd = f"lacks {', '.join(sorted(missing))}" if missing else "has fields that nobody knows"
            raise BadRequest(f"The {where} {odd}", "See the service's /openapi.json")
        return {name: self.fields[name].check(given, name) for name, given in value.items()}


def _described(shape: dict[str, Any], about: str) -> dict[str, Any]:
    return shape | ({"description": about} if about else {})


def _wrong(where: str, wanted: str) -> BadRequest:
    return BadRequest(f"{where} is not {wanted}", "Correct it; see the service's /openapi.json")
