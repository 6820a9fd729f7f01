"""Arithmetic of the field machine for RISC-V: MUL, SQR, ADD and SUB.

Owns calculation modulo p = 2^255 - 19 (RFC 8032 section 5.1) in eight words of 32 bits.

Rules: every operation takes all numbers below 2^256, which stand for their remainders, and gives such numbers.
2^256 = 38 and 2^255 = 19 modulo p.

How a carry ends. A sum that is still too long is folded from its top: what stands at 2^255 and above is taken off
first and multiplied by 19, which then is the carry into the lowest word. The highest word keeps 31 bits, so the
carry that comes out of the other seven always fits, and there is nothing to ripple through a second time.
"""

from collections.abc import Sequence

from host_tools.machine_code.field_machine_rv32 import FREE, SLOTS, TABLE, WORDS, FieldMachine
from host_tools.machine_code.rv32 import ZERO, Register


class FieldArithmetic(FieldMachine):
    """The operations on numbers, and what they are made of."""

    def operation_mul(self) -> None:
        """d = a * b: row by row, b and all sixteen words of the product in registers."""
        self.label("mul")
        a, factor = SLOTS, TABLE
        free = [register for register in FREE if register not in (a, factor)]
        base = free.pop(0)
        b = [free.pop(0) for _ in range(WORDS)]
        free.append(base)
        product: dict[int, Register] = {}
        self.slot_address(base, 3)
        self.load_words(b, base)
        self.slot_address(a, 2, scratch=factor)
        last = WORDS - 1
        for row in range(last):
            self.lw(factor, 4 * row, a)
            self._row(product, row, factor, b, free)
        self.lw(a, 4 * last, a)
        self._row(product, last, a, b, free, spoil=True)
        self._fold(product, b, [register for register in free if register not in b])
        self.finish(b, base)

    def operation_sqr(self) -> None:
        """d = a ^ (2^n): the products of different words row by row, then doubled, with the squares added; n times."""
        self.label("sqr")
        free = list(FREE)
        base = free.pop(0)
        a = [free.pop(0) for _ in range(WORDS)]
        times = free.pop(0)
        free += [base]
        self.operand(times, 3)
        self.slot_address(base, 2)
        self.load_words(a, base)
        self.label("sqr again")
        product: dict[int, Register] = {}
        for row in range(WORDS - 1):
            self._row(product, 2 * row + 1, a[row], a[row + 1 :], free)
        self._double_and_add_squares(product, a, free)
        self._fold(product, a, free)
        self.addi(times, times, -1)
        self.bne(times, ZERO, "sqr again")
        self.finish(a, base)

    def _row(
        self,
        words: dict[int, Register],
        place: int,
        factor: Register,
        others: Sequence[Register],
        free: list[Register],
        spoil: bool = False,
    ) -> None:
        """words[place] and on += factor * others. The last carry becomes a word of its own; missing words are 0.

        One step is word + factor * other + carry, which never exceeds two words. With `spoil`, the registers of
        `others` take the high halves, and then are free.
        """
        carry: Register | None = None
        for other in others:
            high = other if spoil else free.pop()
            low = free.pop()
            self.mulu(low, high, factor, other)
            if carry is not None:
                self.add_to_pair(low, high, carry)
                free.append(carry)
            if place in words:
                self.add_to_pair(words[place], high, low)
                free.append(low)
            else:
                words[place] = low
            carry = high
            place += 1
        assert carry is not None
        words[place] = carry

    def _double_and_add_squares(self, words: dict[int, Register], a: Sequence[Register], free: list[Register]) -> None:
        """words (1 to 14) = 2 * words + the square of each word of `a` at its place (0 to 15). Spoils `a`.

        Two words at a time. The carry into a pair is at most 2. A square is 0, 1 or 4 modulo 8, so the carry fits its
        lowest word; it is at most 2^64 - 2^33 + 1, so a whole word more fits its two.
        """
        words[0] = free.pop()
        self.mulu(words[0], a[0], a[0], a[0])
        carry = self._double(words[1], free)
        self.add_to_pair(words[1], carry, a[0])
        for place, high in enumerate(a[1:], start=1):
            even, odd = 2 * place, 2 * place + 1
            low = free.pop()
            self.mulu(low, high, high, high)
            self.add(low, low, carry)
            free.append(carry)
            shifted_out = self._double(words[even], free)
            self.add_to_pair(words[even], high, low)
            free.append(low)
            if odd not in words:
                words[odd] = shifted_out
                self.add(words[odd], words[odd], high)
                break
            carry = self._double(words[odd], free)
            self.add(words[odd], words[odd], shifted_out)
            free.append(shifted_out)
            self.add_to_pair(words[odd], carry, high)

    def _double(self, word: Register, free: list[Register]) -> Register:
        """word *= 2; returns a new register with the bit that does not fit."""
        shifted_out = free.pop()
        self.srli(shifted_out, word, 31)
        self.slli(word, word, 1)
        return shifted_out

    def _fold(self, words: dict[int, Register], result: Sequence[Register], free: Sequence[Register]) -> None:
        """result = words (0 to 15) modulo p, below 2^256. Spoils words; needs two free registers.

        The highest word of low + 38 * high comes first (see the module's header): its part above bit 31 is at most 77.
        """
        factor, low = free[:2]
        self.li(factor, 38)
        top, carry = words[WORDS - 1], words[2 * WORDS - 1]
        self.mulu(low, carry, carry, factor)
        self.add_to_pair(top, carry, low)
        self.fold_top(top, carry, low)
        for place in range(WORDS - 1):
            high = words[place + WORDS]
            self.mul(low, high, factor)
            self.mulhu(high, high, factor)
            self.add_to_pair(low, high, carry)
            self.add_carrying(result[place], words[place], low, low)
            self.add(high, high, low)
            carry = high
        self.add(result[-1], top, carry)

    def fold_top(self, top: Register, over: Register, scratch: Register) -> None:
        """Takes what is above bit 31 off the highest word (over, top) and makes it the carry `over` into the lowest."""
        self.srli(scratch, top, 31)
        self.slli(top, top, 1)
        self.srli(top, top, 1)
        self.add(over, over, over)
        self.add(over, over, scratch)
        self.li(scratch, 19)
        self.mul(over, over, scratch)

    def finish(self, words: Sequence[Register], base: Register) -> None:
        """Stores the result of an operation that used every register."""
        self.reload()
        self.slot_address(base, 1)
        self.store_words(words, base)
        self.go_on()

    def operation_add(self) -> None:
        """d = a + b."""
        self.label("add")
        a, b, d, top, carry, x, y = FREE[:7]
        for base, place in ((d, 1), (a, 2), (b, 3)):
            self.slot_address(base, place)
        self.lw(top, 28, a)
        self.lw(y, 28, b)
        self.add_carrying(top, top, y, carry)
        self.fold_top(top, carry, y)
        for offset in range(0, 28, 4):
            self.lw(x, offset, a)
            self.lw(y, offset, b)
            self.add_carrying(x, x, y, y)
            self.add_carrying(x, x, carry, carry)
            self.add(carry, carry, y)
            self.sw(x, offset, d)
        self.add(top, top, carry)
        self.sw(top, 28, d)
        self.go_on()

    def operation_sub(self) -> None:
        """d = a - b.

        The highest word of a - b, (-over, top), is made from 2^31 to 2^32 - 1, so that it can lend; the multiples of
        2^255 added for that, from 0 to 3, are the borrow from the lowest word, times 19.
        """
        self.label("sub")
        a, b, d, top, borrow, x, y, scratch = FREE[:8]
        for base, place in ((d, 1), (a, 2), (b, 3)):
            self.slot_address(base, place)
        self.lw(top, 28, a)
        self.lw(y, 28, b)
        self.sltu(borrow, top, y)
        self.sub(top, top, y)
        self.lui(x, -(1 << 19))
        self.sltu(y, top, x)
        self.or_(top, top, x)
        self.add(borrow, borrow, borrow)
        self.add(borrow, borrow, y)
        self.li(y, 19)
        self.mul(borrow, borrow, y)
        for offset in range(0, 28, 4):
            self.lw(x, offset, a)
            self.lw(y, offset, b)
            self.sltu(scratch, x, y)
            self.sub(x, x, y)
            self.sltu(y, x, borrow)
            self.sub(x, x, borrow)
            self.add(borrow, scratch, y)
            self.sw(x, offset, d)
        self.sub(top, top, borrow)
        self.sw(top, 28, d)
        self.go_on()

    def reduce(self, words: Sequence[Register], scratch: Sequence[Register]) -> None:
        """words modulo p, from 0 to p - 1. After one fold, r < 2^255 + 19: p goes off just if r + 19 >= 2^255."""
        folds, nineteen, carry, total = scratch
        top = words[-1]
        self.srli(folds, top, 31)
        self.slli(top, top, 1)
        self.srli(top, top, 1)
        self.li(nineteen, 19)
        self.mul(carry, folds, nineteen)
        self.add(carry, carry, nineteen)
        for word in words[:-1]:
            self.add_carrying(total, word, carry, carry)
        self.add(total, top, carry)
        self.srli(total, total, 31)
        self.add(folds, folds, total)
        self.mul(carry, folds, nineteen)
        for word in words[:-1]:
            self.add_carrying(word, word, carry, carry)
        self.add(top, top, carry)
        self.slli(top, top, 1)
        self.srli(top, top, 1)
