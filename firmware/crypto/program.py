"""Writes byte programs for the field machine (`backend.run`): four octets an instruction, operation, x, y, z.

`docs/device-crypto.md` has the table of operations; `field_int.run` defines them.
"""

from micropython import const

_END = const(0)
_MUL = const(1)
_ADD = const(3)
_CALL = const(5)
_LOAD = const(6)
_PICK = const(8)
_PUT = const(9)


class Program:
    """`code` has room for a fixed number of instructions; the next one is written at number `at`.

    Knows the operations that building tables takes.
    """

    def __init__(self, code: bytearray, at: int) -> None:
        self.code = code
        self.at = at

    def write(self, op: int, x: int, y: int, z: int) -> None:
        code = self.code
        at = self.at * 4
        code[at] = op
        code[at + 1] = x
        code[at + 2] = y
        code[at + 3] = z
        self.at += 1

    def write_far(self, op: int, x: int, address: int) -> None:
        self.write(op, x, address & 0xFF, address >> 8)

    def end(self) -> None:
        """The end of a routine or of the whole."""
        self.write(_END, 0, 0, 0)

    def mul(self, to: int, a: int, b: int) -> None:
        self.write(_MUL, to, a, b)

    def add(self, to: int, a: int, b: int) -> None:
        self.write(_ADD, to, a, b)

    def call(self, routine: int, times: int = 1) -> None:
        self.write_far(_CALL, times, routine)

    def load(self, to: int, octets: int) -> None:
        self.write(_LOAD, to, octets, 0)

    def pick(self, count: int, slot: int) -> None:
        """The `count` slots from `slot` on go to the entry's slots."""
        self.write_far(_PICK, count, slot)

    def put(self, count: int, slot: int) -> None:
        """The other way round."""
        self.write_far(_PUT, count, slot)
