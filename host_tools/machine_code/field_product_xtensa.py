"""Xtensa code that multiplies and squares modulo p = 2 ** 255 - 19, one column of the product after the other.

A field element is nine limbs of 29 bits in nine words, the value being the sum of limb[i] * 2 ** (29 i). Every limb is
below 2 ** 29 but limb 0, which may be a little above, and limb 8, which is at most 2 ** 24 (`LIMIT`).

`field_columns_xtensa` tells how a column is summed up. Columns 8 to 16 come first, carrying upwards, then columns 0 to
7, to which what stood nine columns higher comes back times 1216, as 2 ** 261 = 64 * 19 modulo p. The carry of column 7
and what column 8 left are limb 8, whose bits from 2 ** 255 on go to limb 0, times 19. So limb 0 exceeds 2 ** 29, and 8
times it does not fit a word: in row 0 the other factor is shifted instead.

The columns' bounds begin with `LIMIT`; a result that might exceed it stops the generator.

Registers: one factor's limbs are resident, the other's are loaded row by row; columns are taken in groups for which
accumulators and resident limbs fit. A square has its resident limbs doubled and each pair of limbs once.
"""

from dataclasses import dataclass, field

from host_tools.machine_code.field_columns_xtensa import (
    LIMB_BITS,
    MASK,
    SHIFT,
    WORD_LIMIT,
    Accumulator,
    Column,
    Columns,
)
from host_tools.machine_code.field_machine_xtensa import LIMBS, WORD
from host_tools.machine_code.xtensa import SP, Code

TOP_BITS = 23  # of limb 8 below 2 ** 255
LIMIT = (MASK + 19 * 1022, *[MASK] * 7, 1 << 24)  # the largest value of each limb that any operation leaves or takes
assert all(limit << SHIFT < WORD_LIMIT for limit in LIMIT[1:])
assert LIMIT[0] << 2 < WORD_LIMIT

_FOLD = 64 * 19  # 2 ** 261 modulo p
_TOP = LIMBS - 1
_LAST_LOW = LIMBS - 2

_MULTIPLY_GROUPS = (range(8, 9), range(9, 11), range(11, 14), range(14, 17), range(3), range(3, 6), range(6, 8))
_SQUARE_GROUPS = (range(8, 11), range(11, 15), range(15, 17), range(2), range(2, 5), range(5, 8))

_A = 3  # address of the factor that is loaded row by row
_ROW_REGISTERS = (4, 5)  # a limb of it and a temporary, by turns
_POOL = (0, 2, *range(6, 16))


@dataclass(frozen=True)
class Memory:
    """Where a product keeps things: offsets from the slots' address, which stands at `SP` + `base`."""

    base: int
    resident: int  # at SP: address of the other factor; overwritten
    destination: int  # the address of the result's limbs
    high: int  # 10 words for columns 8 to 17
    low: int  # 7 words for limbs 0 to 6


@dataclass
class _Product(Columns):
    memory: Memory
    square: bool
    free: list[int] = field(default_factory=lambda: list(_POOL))
    resident: dict[int, int] = field(default_factory=dict)  # limb -> register
    carry: tuple[int, int] | None = None  # register, bound
    row: int = _ROW_REGISTERS[0]
    extra_top: int = 0  # bound of what `_relieve` put aside

    # --- which limbs meet

    def _pairs(self, number: int) -> list[tuple[int, int]]:
        """Row and resident limb of each product of a column; they are the same limb for a square's middle."""
        pairs = [(i, number - i) for i in range(LIMBS) if 0 <= number - i < LIMBS]
        return [(i, j) for i, j in pairs if i <= j] if self.square else pairs

    def _limits(self, i: int, j: int) -> int:
        return LIMIT[i] * LIMIT[j] * (2 if self.square and i != j else 1)

    # --- groups

    def group(self, numbers: range) -> None:
        """Sums up some columns and carries from one to the next."""
        self._keep({j for number in numbers for i, j in self._pairs(number) if i != j or not self.square})
        columns = self._columns(numbers)
        if numbers[0] < _TOP:
            self._fold(columns)
        self._take_carry(columns[0])
        self._load_resident()
        self._rows(columns)
        self._finish(columns)

    def _keep(self, wanted: set[int]) -> None:
        for limb in [limb for limb in self.resident if limb not in wanted]:
            self.free.append(self.resident.pop(limb))
        self._missing = sorted(wanted - set(self.resident))

    def _columns(self, numbers: range) -> list[Column]:
        """A high column goes on in the register of the carry it gets."""
        columns = []
        for number in numbers:
            if self.carry is not None and number == numbers[0] > _TOP:
                low = Accumulator(self.carry[0], started=True)
            else:
                low = Accumulator(self.free.pop())
            columns.append(Column(number, low, Accumulator(self.free.pop()), len(self._pairs(number))))
        return columns

    def _fold(self, columns: list[Column]) -> None:
        """Starts each low column with 1216 times the rest nine columns up, which may be any word."""
        code, times, times_8 = self.code, self.temporary, self.free[-1]
        code.l32i(self.row, SP, self.memory.base)
        code.movi(times, _FOLD)
        for column in columns:
            at = self.memory.high + WORD * (column.number + LIMBS - _TOP)
            code.l32i(column.high.register, self.row, at)
        code.slli(times_8, times, SHIFT)
        for column in columns:
            code.mull(column.low.register, column.high.register, times)
            code.muluh(column.high.register, column.high.register, times_8)
            column.low.started = column.high.started = True
            self.grow(column, (WORD_LIMIT - 1) * _FOLD, MASK)

    def _take_carry(self, column: Column) -> None:
        if self.carry is not None:
            self.add_carry(column, *self.carry)
            if self.carry[0] != column.low.register:
                self.free.append(self.carry[0])
            self.carry = None

    def _load_resident(self) -> None:
        if self._missing:
            self.code.l32i(self.temporary, SP, self.memory.resident)
        for limb in self._missing:
            self.resident[limb] = self.free.pop()
            self.code.l32i(self.resident[limb], self.temporary, WORD * limb)
        if self.square:
            for limb in self._missing:
                self.code.slli(self.resident[limb], self.resident[limb], 1)

    # --- rows

    def _rows(self, columns: list[Column]) -> None:
        rows: dict[int, list[tuple[Column, int]]] = {}
        for column in columns:
            for i, j in self._pairs(column.number):
                rows.setdefault(i, []).append((column, j))
        order = sorted(rows)
        self.code.l32i(self.row, _A, WORD * order[0])
        for place, i in enumerate(order):
            for column, j in rows[i]:
                self._make_room(column, self._limits(i, j))
            following = order[place + 1] if place + 1 < len(order) else None
            self._row(i, rows[i], following)

    def _make_room(self, column: Column, bound: int) -> None:
        if column.rest + MASK >= WORD_LIMIT:
            self.settle(column)
        if column.bound + bound >> LIMB_BITS >= WORD_LIMIT:
            self._relieve(column)
        self.grow(column, bound, MASK)
        column.pending -= 1

    def _row(self, i: int, products: list[tuple[Column, int]], following: int | None) -> None:
        """Limb `i` times all it meets. Row and temporary then change places: the next limb is loaded early."""
        code, row, temporary = self.code, self.row, self.temporary
        mixed = [(column, self.resident[j]) for column, j in products if not (self.square and i == j)]
        middle = [column for column, j in products if self.square and i == j]

        def shift() -> None:
            code.slli(row, row, SHIFT)

        def load_next() -> None:
            if following is not None:
                code.l32i(temporary, _A, WORD * following)

        low = [(column.low, row, row) for column in middle] + [(column.low, row, limb) for column, limb in mixed]
        spare = [temporary, *self.free]
        self.accumulate(code.mull, low, spare, spare[-1], shift if i and not middle else None)
        if not i:
            self._row_0_high(mixed, middle)
            load_next()
        else:
            for column in middle:
                code.slli(temporary, row, SHIFT)
                factors = [(column.high, temporary, row)]
                if mixed:
                    self.accumulate(code.muluh, factors, spare, temporary, shift)
                else:
                    self.accumulate(code.muluh, factors, spare, row, load_next)
            if mixed:
                self.accumulate(code.muluh, [(c.high, row, limb) for c, limb in mixed], spare, row, load_next)
        self.row, self.temporary = temporary, row

    def _row_0_high(self, mixed: list[tuple[Column, int]], middle: list[Column]) -> None:
        """The factors' shifts still make three; a resident limb of a square is doubled already."""
        code, row, temporary = self.code, self.row, self.temporary
        spare = [temporary, *self.free]
        for column in middle:
            code.slli(temporary, row, 2)
            code.slli(row, row, 1)
            self.accumulate(code.muluh, [(column.high, temporary, row)], spare, temporary)
        if self.square and not middle:
            code.slli(row, row, 1)
        for column, limb in reversed(mixed):
            if column.number:
                code.slli(temporary, limb, 2 if self.square else SHIFT)
            else:
                code.slli(row, row, 2)
                code.slli(temporary, limb, 1)
            self.accumulate(code.muluh, [(column.high, row, temporary)], spare, temporary)

    # --- ends of columns

    def _relieve(self, column: Column) -> None:
        """Column 7 alone may pass 2 ** 61. Its bits from 2 ** 255 on, final once settled, are put aside in time."""
        assert column.number == _LAST_LOW and not self.extra_top
        code, high = self.code, column.high.register
        self.settle(column)
        code.extui(self.temporary, high, TOP_BITS, 32 - TOP_BITS)
        code.s32i(self.temporary, SP, self.memory.resident)
        code.slli(high, high, 32 - TOP_BITS)
        code.srli(high, high, 32 - TOP_BITS)
        self.extra_top = column.bound >> LIMB_BITS + TOP_BITS
        column.bound = (1 << LIMB_BITS + TOP_BITS) - 1

    def _finish(self, columns: list[Column]) -> None:
        """Stores what columns leave and carries the rest up, the last one's to the next group."""
        self.code.l32i(self.row, SP, self.memory.base)
        for column, following in zip(columns, [*columns[1:], None], strict=True):
            if column.number < _TOP:
                self._finish_low(column)
            else:
                self._finish_high(column)
            if following is not None:
                self.add_carry(following, column.high.register, column.bound >> LIMB_BITS)
        self.free += [accumulator.register for column in columns for accumulator in (column.low, column.high)]
        register, bound = columns[-1].high.register, columns[-1].bound >> LIMB_BITS
        if columns[-1].number == 2 * _TOP:
            self.code.s32i(register, self.row, self.memory.high + WORD * LIMBS)
            self.high_bound = bound
        else:
            self.carry = (register, bound)
            self.free.remove(register)

    def _finish_high(self, column: Column) -> None:
        """Leaves rest."""
        code, low = self.code, column.low.register
        if column.number == _TOP:
            if column.rest > 2 * MASK:  # it is one part of a sum in `result`
                self.settle(column)
            self.top_bound = column.rest
        code.slli(self.temporary, column.high.register, LIMB_BITS)
        code.sub(low, low, self.temporary)
        code.s32i(low, self.row, self.memory.high + WORD * (column.number - _TOP))

    def _finish_low(self, column: Column) -> None:
        """Leaves a limb of the result, column 7 in its register."""
        code, low = self.code, column.low.register
        self.settle(column)
        code.slli(low, low, 32 - LIMB_BITS)
        code.srli(low, low, 32 - LIMB_BITS)
        if column.number < _LAST_LOW:
            code.s32i(low, self.row, self.memory.low + WORD * column.number)
        else:
            self.last = low

    def result(self) -> None:
        """Limb 8 from column 7's carry, what column 8 left and what came out above column 16; then all are stored."""
        assert self.carry is not None
        code, base, (top, bound) = self.code, self.row, self.carry
        last = self.last
        others = [register for register in (*_POOL, _A, self.temporary) if register not in (top, last)]
        zero, above, times, *middle = others
        code.l32i(above, base, self.memory.high + WORD * LIMBS)
        code.movi(times, _FOLD)
        code.mull(above, above, times)
        code.add(top, top, above)
        code.l32i(above, base, self.memory.high)
        code.add(top, top, above)
        bound += self.high_bound * _FOLD + self.top_bound
        assert bound < WORD_LIMIT
        code.l32i(times, SP, self.memory.resident)
        code.extui(above, top, TOP_BITS, 32 - TOP_BITS)
        code.add(above, above, times)
        code.addx8(times, above, above)
        code.addx2(times, times, above)
        code.slli(top, top, 32 - TOP_BITS)
        code.srli(top, top, 32 - TOP_BITS)
        assert MASK + 19 * ((bound >> TOP_BITS) + self.extra_top) <= LIMIT[0]
        limbs = [zero, *middle[: _LAST_LOW - 1], last, top]
        for limb, register in enumerate(limbs[:_LAST_LOW]):
            code.l32i(register, base, self.memory.low + WORD * limb)
        code.l32i(above, base, self.memory.destination)
        code.add(zero, zero, times)
        for limb, register in enumerate(limbs):
            code.s32i(register, above, WORD * limb)


def write_product(code: Code, memory: Memory, square: bool) -> None:
    """The product of the elements at a3 and `memory.resident`, or the square of what stands at both.

    All of both is read before the result is written. Changes every register but a1.
    """
    product = _Product(code, _ROW_REGISTERS[1], memory, square)
    for numbers in _SQUARE_GROUPS if square else _MULTIPLY_GROUPS:
        product.group(numbers)
    product.result()
