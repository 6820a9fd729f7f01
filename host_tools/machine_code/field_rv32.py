"""The field machine for RISC-V (RV32IMC): generates the module `field_rv32` of the device.

Owns the operations that move numbers between slots, octet strings and tables, and puts the whole machine together
(`docs/device-crypto.md` has the operations). Knows nothing of curves.

Rules: nothing but the program's own octets decides what is executed and which addresses are touched: what slots and
select digits hold does not. Taken for granted: the time of a multiplication and of a shift does not depend on its
operands.
"""

from collections.abc import Sequence

from host_tools.machine_code.field_inverse_rv32 import FieldInverse
from host_tools.machine_code.field_machine_rv32 import FREE, SLOT, SLOTS, WORDS
from host_tools.machine_code.rv32 import ZERO, Register

_ENTRY = 16  # the slots that PICK, PUT and SELECT use
_ENTRIES = 16
_ENTRY_SLOTS = 3
_DIGITS = 256  # where the digits for SELECT begin among the octets

_OPERATIONS = ("end", "mul", "sqr", "add", "sub", "call", "load", "store", "pick", "put", "select", "invert")


class _Field(FieldInverse):
    """The whole machine."""

    def build(self) -> None:
        """Writes the function."""
        self.enter()
        self.go_on()
        self.label("table")
        self.jump_table(_OPERATIONS)
        for write in (
            self.operation_mul,
            self.operation_sqr,
            self.operation_add,
            self.operation_sub,
            self.operation_call,
            self._copies,
            self._operation_store,
            self._operation_select,
            self.operation_invert,
            self.operation_end,
        ):
            write()

    def _copies(self) -> None:
        """LOAD, PICK and PUT: all copy some slots."""
        source, target, count, word = FREE[:4]
        self.label("load")
        self.octet_string_address(source, 2, count)
        self.slot_address(target, 1)
        self.li(count, 1)
        self.j("copy")
        for operation, near, far in (("pick", target, source), ("put", source, target)):
            self.label(operation)
            self.operand(count, 1)
            self.far_slot_address(far)
            self.addi(near, SLOTS, SLOT * _ENTRY)
            if operation == "pick":
                self.j("copy")
        self.label("copy")
        for offset in range(0, SLOT, 4):
            self.lw(word, offset, source)
            self.sw(word, offset, target)
        self.addi(source, source, SLOT)
        self.addi(target, target, SLOT)
        self.addi(count, count, -1)
        self.bne(count, ZERO, "copy")
        self.go_on()

    def _operation_store(self) -> None:
        """Octet string = a as its canonical value."""
        self.label("store")
        base, *words = FREE[: 1 + WORDS]
        scratch = FREE[1 + WORDS : 5 + WORDS]
        self.slot_address(base, 2)
        self.load_words(words, base)
        self.reduce(words, scratch)
        self.octet_string_address(base, 1, scratch[0])
        self.store_words(words, base)
        self.go_on()

    def _operation_select(self) -> None:
        """The entry of a digit, out of a table that is read whole, word by word: all entries, each under its mask."""
        self.label("select")
        masks = FREE[-_ENTRIES - 2 : -2]
        source, target, end, is_low, borrow, x, y, scratch = FREE[:8]
        bit, digit = x, y
        self.operand(digit, 1)
        self.octets_address(scratch)
        self.add(digit, digit, scratch)
        self.lbu(digit, _DIGITS, digit)
        self.far_slot_address(source)
        self.srli(is_low, digit, 4)
        self.addi(is_low, is_low, -1)  # all ones if the digit is below 16, else 0
        self.xor(digit, digit, is_low)
        self.andi(digit, digit, _ENTRIES - 1)  # number of the entry
        self.lui(bit, -(1 << 19))
        self.srl(bit, bit, digit)
        for mask in masks:
            self.srai(mask, bit, 31)
            self.slli(bit, bit, 1)
        self.addi(target, SLOTS, SLOT * _ENTRY)
        self.addi(end, target, SLOT)
        self.andi(borrow, is_low, 37)  # 2^256 - 38 - x is the complement of x, less 37
        self.label("select word")
        self._masked(x, masks, source, 0, scratch)
        self._masked(y, masks, source, SLOT, scratch)
        self.xor(scratch, x, y)
        self.and_(scratch, scratch, is_low)
        self.xor(x, x, scratch)
        self.xor(y, y, scratch)
        self.sw(x, 0, target)
        self.sw(y, SLOT, target)
        self._masked(x, masks, source, 2 * SLOT, scratch)
        self.xor(x, x, is_low)
        self.sub(y, x, borrow)
        self.sltu(borrow, x, y)
        self.sw(y, 2 * SLOT, target)
        self.addi(source, source, 4)
        self.addi(target, target, 4)
        self.bne(target, end, "select word")
        self.go_on()

    def _masked(self, d: Register, masks: Sequence[Register], source: Register, offset: int, scratch: Register) -> None:
        """d = the word at `offset` in the one entry whose mask is all ones."""
        for entry, mask in enumerate(masks):
            word = scratch if entry else d
            self.lw(word, _ENTRY_SLOTS * SLOT * entry + offset, source)
            self.and_(word, word, mask)
            if entry:
                self.or_(d, d, word)


def source() -> str:
    """The text of the device's module: `run(slots, octets, program, start) -> 0`, SLOT and INVERTS."""
    field = _Field()
    field.build()
    return f"import micropython\n\nSLOT = {SLOT}\nINVERTS = True\n\n\n" + field.container("run")
