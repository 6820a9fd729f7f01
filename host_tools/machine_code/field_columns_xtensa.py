"""Sums of products for Xtensa, which has no carry flag: the columns that `field_product_xtensa` is made of.

Column k of the product of two numbers in limbs is S = sum of a[i] * b[k - i], below 2 ** 61. It is summed up in two
words: L, the sum of the products' low words, which is S modulo 2 ** 32; and H, the sum of what MULUH makes of 8 a[i]
and b[j], which is their product shifted right by 29. Each of these drops less than 2 ** 29 of S, so

    S = H * 2 ** 29 + rest,    rest <= (2 ** 29 - 1) * (number of products) < 2 ** 32 for up to eight of them,

and rest is L - (H << 29) modulo 2 ** 32: nothing is lost. A product thus costs four instructions: two multiplications
and two additions. H is the carry into the next column; `settle` makes it S >> 29 exactly, and rest one product's.

Every bound is carried along in exact integers while the code is written, and asserted: a word of more than 32 bits
stops the generator. Knows nothing of where limbs come from and where they go.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from host_tools.machine_code.xtensa import Code

LIMB_BITS = 29
MASK = (1 << LIMB_BITS) - 1
SHIFT = 32 - LIMB_BITS  # of the two factors together, for MULUH to leave out LIMB_BITS
WORD_LIMIT = 1 << 32


@dataclass
class Accumulator:
    """What is summed up in a register, once it is `started`."""

    register: int
    started: bool = False


@dataclass
class Column:
    """One column: L, H, and how large they may be."""

    number: int
    low: Accumulator
    high: Accumulator
    pending: int  # products still to come
    bound: int = 0  # S is at most this
    rest: int = 0  # and S - H * 2 ** 29 at most this


@dataclass
class Columns:
    """Writes to `code`. Every method but `accumulate` may spoil the register `temporary`."""

    code: Code
    temporary: int

    def grow(self, column: Column, bound: int, rest: int) -> None:
        """Notes that something up to `bound` was added, of which H lacks up to `rest`."""
        column.bound += bound
        column.rest += rest
        assert column.rest < WORD_LIMIT
        assert column.bound >> LIMB_BITS < WORD_LIMIT

    def add_carry(self, column: Column, register: int, bound: int) -> None:
        """Adds to L and, unless rest has room for all of it and all that is to come, its upper bits to H."""
        code, low, high = self.code, column.low, column.high
        if register != low.register:
            code.add(low.register, low.register, register)
        if column.rest + bound + column.pending * MASK < WORD_LIMIT:
            self.grow(column, bound, bound)
            return
        upper = self.temporary if high.started else high.register
        code.extui(upper, register, LIMB_BITS, 32 - LIMB_BITS)
        if high.started:
            code.add(high.register, high.register, upper)
        high.started = True
        self.grow(column, bound, MASK)

    def settle(self, column: Column) -> None:
        """Makes H = S >> 29: what it lacks is at most 7, and three bits of L above 2 ** 29 tell it."""
        code, high, lacking = self.code, column.high.register, self.temporary
        code.extui(lacking, column.low.register, LIMB_BITS, 32 - LIMB_BITS)
        code.sub(lacking, lacking, high)
        code.extui(lacking, lacking, 0, 32 - LIMB_BITS)
        code.add(high, high, lacking)
        column.rest = MASK

    def accumulate(
        self,
        multiply: Callable[[int, int, int], None],
        products: list[tuple[Accumulator, int, int]],
        spare: Sequence[int],
        last: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Adds products of two registers, at least one, to accumulators.

        A product is not there at once, so as many as there are `spare` registers are begun before one is added. The
        last one goes to `last`, which may be its factor; before it is added, `meanwhile` is written.
        """
        waiting: list[tuple[int, int]] = []
        *earlier, (last_accumulator, last_one, last_other) = products
        for accumulator, one, other in earlier:
            if len(waiting) == len(spare):
                self._add_all(waiting)
            self._begin_product(multiply, accumulator, one, other, spare[len(waiting)], waiting)
        if last in (product for _, product in waiting):
            self._add_all(waiting)
        final: list[tuple[int, int]] = []
        self._begin_product(multiply, last_accumulator, last_one, last_other, last, final)
        self._add_all(waiting)
        if meanwhile is not None:
            meanwhile()
        self._add_all(final)

    def _begin_product(
        self,
        multiply: Callable[[int, int, int], None],
        accumulator: Accumulator,
        one: int,
        other: int,
        product: int,
        waiting: list[tuple[int, int]],
    ) -> None:
        if accumulator.started:
            multiply(product, one, other)
            waiting.append((accumulator.register, product))
        else:
            multiply(accumulator.register, one, other)
            accumulator.started = True

    def _add_all(self, waiting: list[tuple[int, int]]) -> None:
        for accumulator, product in waiting:
            self.code.add(accumulator, accumulator, product)
        waiting.clear()
