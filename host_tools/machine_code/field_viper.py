"""The portable field machine: generates `field_viper` of the device, in MicroPython's viper.

Owns the field modulo p = 2^255 - 19 (RFC 8032 section 5.1) for every architecture that loads native code but has no
assembler code of its own, and the interpreter of byte programs around it (`docs/device-crypto.md` has the operations).
Knows nothing of curves. There are two of it: one is right wherever viper's integers have 32 bits or more and is made to
be fast; the other needs 64 bits and is made to be small, in loops and without INVERT, because viper's code for x64 is
long and such a machine fast enough.

An element is 20 limbs of 13 bits, each in 16 bits of its slot; where integers have 64 bits, 10 limbs of 26 bits, each
in 32. Limb k is worth X^k with X = 2^13 or 2^26; X^n, n the number of limbs, is 2^260 = 608 modulo p. Elements are
weakly reduced: no limb is above M (`Limbs.limit`), whatever operation made it, and every operation takes any such
limbs. LOAD, INVERT and all of STORE, which leaves its operand so, make limbs below X; products: `field_product_viper`.
- A sum is below 3 X^n, so the carry out of the highest limb is at most 2. 608 times that is added to limb 0, where it
  stays: at most X - 1 + 1,216.
- A difference is a - b + 2 X^n - 1,216, the last two a multiple of p, below 4 X^n. The carry is at most 3, limb 0 at
  most X - 1 + 1,824. None of the differences of limbs is negative: 2 X - 2 is added to each of them, 1,214 less than
  that to the lowest.

What the code looks like is ruled by how MicroPython compiles viper (`py/emitnative.c`). Only a function's first two
parameters live in registers, so `p` and `t` are put to other uses as soon as their addresses are saved: `p` is the
operand that is read, `t` the running sum. `t` came in as an address and keeps that type; `int(t)` and `ptr8(...)` make
no code. `p[3] * b5 + int(t)` is 6 instructions of RISC-V in this order, 8 in another. A load through any pointer but
`p` is an instruction more. An assignment within an expression spares a load. Constants end at 0x3fffffff. A local costs
3 bytes more of x64 each time unless it is one of the last dozen that come up in the text. Where integers have 64 bits,
a load through `ptr32` leaves 0 above bit 31 on x64; nothing here depends on it.

Nothing but the program's own octets decides what is executed and which addresses are touched.
"""

from collections.abc import Mapping

from host_tools.machine_code.field_inverse_viper import inverse
from host_tools.machine_code.field_product_viper import FOLD, LIMBS, Limbs, product
from host_tools.machine_code.viper import fill

_ENTRY = 16  # the slots that PICK, PUT and SELECT use
_OWN = 20  # four slots that belong to the machine
_DIGITS = 256  # where the digits for SELECT begin among the octets
_CHOICES = 16

_MACHINE = """\
# The field machine, generated: `docs/device-crypto.md` says what it does.
SLOT = {slot}
INVERTS = {inverts}


@micropython.viper
def run(p: {limb}, t: ptr8, program: ptr8, start: int) -> int:
    slots = int(p)
    octets = int(t)
    first = int(program) - 4
    program = ptr8(start * 4 + first)
    back = program
    routine = program
    times = 0
    mask = {mask}
    while True:
        program = ptr8(int(program) + 4)
        op = program[0]
        if op > 2:
            if op > 4:
                x = program[1]
                y = program[2]
                far = program[3] << 8 | y
                if op == 5:
                    back = program
                    routine = ptr8(far * 4 + first)
                    program = routine
                    times = x
                elif op > 6:
                    far = far * {slot} + slots
                    entry = slots + {entry}
                    if op == 10:
                        <select>
                    elif op < 10 and op > 7:
                        <copy>
                    else:
                        y = y * {slot} + slots
                        <reduce>
                        <store>
                else:
                    <load>
            else:
                <sum>
        elif op:
            <product>
        elif times > 1:
            times -= 1
            program = routine
        elif times:
            times = 0
            program = back
        else:
            return 0
"""

_LOAD = """\
p = {limb}(x * {slot} + slots)
octet = ptr8(32 * y + octets)
end = int(octet) + 32
held = 0
bits = 0
while int(octet) < end:
    held |= octet[0] << bits
    octet = ptr8(int(octet) + 1)
    bits += 8
    if bits >= {bits}:
        p[0] = held & mask
        p = {limb}(int(p) + {limb_bytes})
        held >>= {bits}
        bits -= {bits}
p[0] = held
"""

# Four times through the limbs, each time with 19 times what stands at 2^255 and above. After the first time the number
# is below 2^255 + 2^247, after the second below 2^255. The third time 19 is added, the fourth it is taken away again:
# unless 2^255 was reached, which then is what is taken away, and what is left is the number less p.
_REDUCE = """\
wrap = 0
while wrap < 4:
    p = {limb}(y)
    held = (p[{top}] >> {top_bits}) * 19 + (wrap >> 1) * (5 - 2 * wrap) * 19
    p[{top}] = p[{top}] & {top_mask}
    end = int(p) + {slot}
    while int(p) < end:
        held += p[0]
        p[0] = held & mask
        held >>= {bits}
        p = {limb}(int(p) + {limb_bytes})
    wrap += 1
"""

_STORE = """\
p = {limb}(y)
octet = ptr8(32 * x + octets)
held = 0
bits = 0
end = y + {slot}
while int(p) < end:
    held |= p[0] << bits
    bits += {bits}
    while bits > 7:
        octet[0] = held
        octet = ptr8(int(octet) + 1)
        held >>= 8
        bits -= 8
    p = {limb}(int(p) + {limb_bytes})
"""

_STORE_OR_INVERT = """\
if op == 7:
    <store>
else:
    x = x * {slot} + slots
    <invert>
"""

_COPY = """\
goal32 = ptr32(entry)
p = {limb}(far)
if op == 9:
    goal32 = ptr32(far)
    p = {limb}(entry)
end = x * {slot} + int(p)
while int(p) < end:
    <words>
    p = {limb}(int(p) + {copied})
    goal32 = ptr32(int(goal32) + {copied})
"""

# `low` is -1 for a digit below 16. First the entry, then its first two slots exchanged or not, then its third slot
# negated or not.
_SELECT = """\
value = ptr8(octets)[x + {digits}]
low = (value >> 4) - 1
value ^= low
value &= 15
<choose>
p = {limb}(entry)
end = entry + {slot}
while int(p) < end:
    t = ptr8((ptr32(p)[0] ^ ptr32(p)[{words}]) & low)
    ptr32(p)[0] = ptr32(p)[0] ^ int(t)
    ptr32(p)[{words}] = ptr32(p)[{words}] ^ int(t)
    p = {limb}(int(p) + 4)
p = {limb}(entry + {two_slots})
end = int(p) + {slot}
bias = (low & {bias}) - low
t = ptr8(low & -{bias_low})
while int(p) < end:
    t = ptr8((p[0] ^ low) + bias + int(t))
    p[0] = int(t) & mask
    t = ptr8(int(t) >> {bits})
    p = {limb}(int(p) + {limb_bytes})
p = {limb}(entry + {two_slots})
p[0] = int(t) * {fold} + p[0]
"""

# Limb by limb, or two at once: `op` is ADD or SUB.
_SUM = """\
goal32 = ptr32(program[1] * {slot} + slots)
p = {limb}(program[2] * {slot} + slots)
source32 = ptr32(program[3] * {slot} + slots)
flip = 0
bias = 0
held = 0
if op > 3:
    flip = {flip}
    bias = {one}
    held = -{bias_low}
<limbs>
p[0] = held * {fold} + p[0]
"""

_SUM_LOOP = """\
end = int(p) + {slot}
while int(p) < end:
    held += (source32[0] ^ flip) + p[0] - bias
    goal32[0] = held & mask
    held >>= {bits}
    source32 = ptr32(int(source32) + 4)
    goal32 = ptr32(int(goal32) + 4)
    p = {limb}(int(p) + 4)
p = {limb}(int(goal32) - {slot})
"""

_SUM_UNROLLED = """\
both = 0x00070007
<words>
p = {limb}(goal32)
"""

# Entry by entry; each takes the place of what is there or not.
_CHOOSE_LOOP = """\
p = {limb}(far)
x = {choices}
while x:
    x -= 1
    t = ptr8((value ^ x ^ {choices} - 1) - 1 >> 31)
    goal32 = ptr32(entry)
    end = int(p) + {three_slots}
    while int(p) < end:
        goal32[0] = (p[0] ^ goal32[0]) & int(t) ^ goal32[0]
        goal32 = ptr32(int(goal32) + 4)
        p = {limb}(int(p) + 4)
"""

# Word by word; of each all 16 are read, and masks let one through.
_CHOOSE_UNROLLED = """\
<masks>
p = {limb}(far)
far = entry - far
end = int(p) + {three_slots}
while int(p) < end:
    <choices>
    ptr32(int(p) + far)[0] = int(t)
    p = {limb}(int(p) + 4)
"""


def _choose(limbs: Limbs, numbers: Mapping[str, object]) -> list[str]:
    """The entry that `value` says, from the table at `far` to `entry`."""
    if limbs.word_bits == 64:
        return fill(_CHOOSE_LOOP, numbers)
    choices = ["t = ptr8(ptr32(p)[0] & only0)"]
    for choice in range(1, _CHOICES):
        choices.append(f"t = ptr8(ptr32(p)[{choice * 3 * limbs.slot // 4}] & only{choice} | int(t))")
    masks = [f"only{choice} = ((value ^ {choice}) - 1) >> 31" for choice in range(_CHOICES)]
    return fill(_CHOOSE_UNROLLED, numbers, {"masks": masks, "choices": choices})


def _sum(limbs: Limbs, numbers: Mapping[str, object]) -> list[str]:
    """ADD and SUB. `one` is 1 in each limb of a word. 2 X - 1 - b is b ^ (2 X - 1): no limb borrows from another."""
    one = 1 << 16 | 1
    if limbs.word_bits == 64:
        one = 1
        block = fill(_SUM_LOOP, numbers)
    else:
        words = [line for word in range(limbs.slot // 4) for line in _sum_word(limbs, word)]
        block = fill(_SUM_UNROLLED, numbers, {"words": words})
    return fill(_SUM, {**numbers, "one": hex(one), "flip": hex(one * ((2 << limbs.bits) - 1))}, {"limbs": block})


def _sum_word(limbs: Limbs, word: int) -> list[str]:
    """Limbs 2 * `word` and the next: `t` has both sums, the lower one with its carry; `held` is what they carry on.

    The product takes the carries off both and adds the lower one's to the upper.
    """
    return [
        f"t = ptr8((source32[{word}] ^ flip) + ptr32(p)[{word}] - bias + held)",
        f"goal32[{word}] = (held := int(t) >> {limbs.bits} & both) * {(1 << 16) - (1 << limbs.bits)} + int(t)",
        "held >>= 16",
    ]


def _numbers(limbs: Limbs) -> dict[str, object]:
    x = 1 << limbs.bits
    power = x**limbs.count
    largest = limbs.limit * (power - 1) // (x - 1)
    bias, bias_low = 2 * x - 2, 2 * FOLD - 2
    assert 2 * largest < 3 * power
    assert largest + 2 * power < 4 * power
    assert x - 1 + 3 * FOLD <= limbs.limit <= bias - bias_low
    return {
        **limbs.numbers,
        "two_slots": 2 * limbs.slot,
        "three_slots": 3 * limbs.slot,
        "words": limbs.slot // 4,
        "entry": _ENTRY * limbs.slot,
        "digits": _DIGITS,
        "choices": _CHOICES,
        "bias": bias,
        "bias_low": bias_low,
    }


def source(word_bits: int = 32) -> str:
    """The text of the device's module. With `word_bits` = 64 it needs integers of 64 bits; 32 is right with any."""
    limbs = LIMBS[word_bits]
    small = word_bits == 64
    numbers = {**_numbers(limbs), "inverts": not small, "copied": 4 if small else limbs.slot}
    store = fill(_STORE, numbers)
    if not small:
        store = fill(_STORE_OR_INVERT, numbers, {"store": store, "invert": inverse(_OWN * limbs.slot)})
    words = [f"goal32[{word}] = ptr32(p)[{word}]" for word in range(1 if small else limbs.slot // 4)]
    blocks = {
        "load": fill(_LOAD, numbers),
        "reduce": fill(_REDUCE, numbers),
        "store": store,
        "copy": fill(_COPY, numbers, {"words": words}),
        "select": fill(_SELECT, numbers, {"choose": _choose(limbs, numbers)}),
        "sum": _sum(limbs, numbers),
        "product": product(limbs, _OWN * limbs.slot),
    }
    return "\n".join(fill(_MACHINE, numbers, blocks)) + "\n"
