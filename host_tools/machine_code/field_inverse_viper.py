"""Inversion modulo p = 2^255 - 19 in MicroPython's viper: a part of `field_viper`, in constant time.

Source: Bernstein and Yang, "Fast constant-time gcd computation and modular inversion" (2019); the half delta, batches
and bounds as in libsecp256k1, `doc/safegcd_implementation.md`. Elements, here of 20 limbs, `p` and `t`: `field_viper`.

f = p and g = a to begin with; d a = f and e a = g modulo p, always. 590 division steps, starting from delta = 1/2, make
g = 0 of any g below 2^256, and f = 1 or -1: then d or -d is the inverse. For a = 0, f stays p and d stays 0.

A batch is as many steps as a limb has bits: only the lowest limbs of f and g decide what happens. What it does to f
and g, times 2^13, is the matrix u, v, q, r: |u| + |v| and |q| + |r| are at most 2^13. Then f and g become
(u f + v g) / 2^13 and (q f + r g) / 2^13, a division that leaves nothing: the limbs move down by one. So do those of d
and e, with m p and n p added that make theirs leave nothing, and with that d and e stay between -2 p and p. p is 2^255,
at the top, and -19, at the bottom, so only these two limbs know of m and n, whose size is at most 2^14.

A limb is a remainder, from 0 to X - 1; only the highest has a sign. A sum is at most 2^13 X + 2^14 (carry) + 2^14 * 256
in size, far from 2^31. 2 p is added to the result, which then is between 0 and 4 p, and it has no limb above X - 1.
"""

from host_tools.machine_code.field_product_viper import LIMBS
from host_tools.machine_code.viper import fill

_LIMBS = LIMBS[32]
BATCHES = -(-590 // _LIMBS.bits)

# f, g, d and e stand beside each other in the machine's own four slots, 20 limbs each. `y` is below 2^255.
_INVERT = """\
own = slots + {own}
source = ptr16(y)
p = ptr16(own)
end = own + {slot}
while int(p) < end:
    p[0] = mask
    p[20] = source[0]
    p[40] = 0
    p[60] = 0
    source = ptr16(int(source) + 2)
    p = ptr16(int(p) + 2)
p = ptr16(own)
p[0] = {modulus_lowest}
p[19] = {modulus_highest}
p[60] = 1
zeta = -1
batches = {batches}
while batches:
    <steps>
    m = 0
    n = 0
    p = ptr16(own)
    <tops>
    pair = 2
    while pair:
        <update>
        p = ptr16(own + {two_slots})
        <tops>
        pair -= 1
    batches -= 1
p = ptr16(own)
sign = (p[19] ^ 0x8000) - 0x8000 >> 31
p = ptr16(own + {two_slots})
end = int(p) + {slot} - 2
goal = ptr16(x)
held = -2 * 19
while int(p) < end:
    held = (p[0] ^ sign) - sign + held
    goal[0] = held & mask
    held >>= {bits}
    goal = ptr16(int(goal) + 2)
    p = ptr16(int(p) + 2)
goal[0] = (f ^ sign) - sign + held + 2 * 256
"""

# The highest limbs of what is at `p`, f or d, and of the next, g or e.
_TOPS = """\
f = (p[19] ^ 0x8000) - 0x8000
g = (p[39] ^ 0x8000) - 0x8000
"""

# zeta is -(delta + 1/2). `t` is -1 if delta is positive, then if g also is odd; `odd` is -1 if g is odd. One integer
# holds u + 2^16 v, one q + 2^16 r: sums and doublings work on both parts.
_BATCH_STEPS = """\
p = ptr16(own)
f = p[0]
g = p[20]
uv = 1
qr = 0x10000
left = {bits}
while left:
    t = ptr8(zeta >> 31)
    odd = -(g & 1)
    g = ((f ^ int(t)) - int(t) & odd) + g
    qr = ((uv ^ int(t)) - int(t) & odd) + qr
    t = ptr8(int(t) & odd)
    zeta = (zeta ^ int(t)) - 1
    f = (g & int(t)) + f
    uv = (qr & int(t)) + uv << 1
    g >>= 1
    left -= 1
u = (uv + 0x8000 & 0xffff) - 0x8000
v = uv - u >> 16
q = (qr + 0x8000 & 0xffff) - 0x8000
r = qr - q >> 16
"""

# What is at `p` and what is 20 limbs further on, first f and g, then d and e. Sums: `t` for the first, `held`.
_UPDATE = """\
t = ptr8(p[0] * u)
t = ptr8(p[20] * v + int(t))
held = p[0] * q
held = p[20] * r + held
if pair == 1:
    m = (f >> 31 & u) + (g >> 31 & v)
    m -= (int(t) & mask) * {inverse} + m & mask
    n = (f >> 31 & q) + (g >> 31 & r)
    n -= (held & mask) * {inverse} + n & mask
t = ptr8(int(t) - m * 19 >> {bits})
held = held - n * 19 >> {bits}
end = int(p) + {slot} - 4
while int(p) < end:
    t = ptr8(p[1] * u + int(t))
    t = ptr8(p[21] * v + int(t))
    held = p[1] * q + held
    p[0] = int(t) & mask
    t = ptr8(int(t) >> {bits})
    p[20] = (held := p[21] * r + held) & mask
    held >>= {bits}
    p = ptr16(int(p) + 2)
t = ptr8(f * u + int(t) + g * v + (m << 8))
p[0] = int(t) & mask
p[1] = int(t) >> {bits}
held = f * q + held + g * r + (n << 8)
p[20] = held & mask
p[21] = held >> {bits}
"""


def inverse(own: int) -> list[str]:
    """INVERT of the slot at `y`, which is fully reduced, to that at `x`; `own`: the machine's four slots in `slots`."""
    numbers = {
        **_LIMBS.numbers,
        "two_slots": 2 * _LIMBS.slot,
        "own": own,
        "batches": BATCHES,
        "modulus_lowest": (1 << _LIMBS.bits) - 19,
        "modulus_highest": (1 << _LIMBS.top_bits) - 1,
        "inverse": pow(-19, -1, 1 << _LIMBS.bits),  # of p, modulo X
    }
    tops = fill(_TOPS, numbers)
    blocks = {"steps": fill(_BATCH_STEPS, numbers), "tops": tops, "update": fill(_UPDATE, numbers)}
    return fill(_INVERT, numbers, blocks)
