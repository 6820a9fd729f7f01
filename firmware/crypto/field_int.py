"""The field machine in plain integers: for ports that load no native code, and the definition the others are held to.

The machine computes modulo p = 2 ** 255 - 19 (RFC 8032 section 5.1) in numbered slots, led by a byte program of four
octets an instruction: operation, x, y, z (`docs/device-crypto.md`). A secret held in integers is not protected: their
length and their time depend on it, and what they leave on the heap stays there.
"""

from micropython import const

_P = 2**255 - 19

_END = const(0)
_MUL = const(1)
_SQR = const(2)
_ADD = const(3)
_SUB = const(4)
_CALL = const(5)
_LOAD = const(6)
_STORE = const(7)
_PICK = const(8)
_PUT = const(9)
_SELECT = const(10)
_INVERT = const(11)

_ENTRY = const(16)  # the slots that PICK and SELECT fill
_DIGITS = const(256)  # where the digits for SELECT begin in `octets`
_HALF = const(16)

SLOT = 1
INVERTS = True


def run(slots: list[int], octets: bytearray, program: bytearray, start: int) -> int:
    """Runs `program` from instruction `start` to its END. Changes `slots` and `octets`."""
    p = _P
    at = start * 4
    routine = back = times = 0
    while True:
        op = program[at]
        x = program[at + 1]
        y = program[at + 2]
        z = program[at + 3]
        at += 4
        if op == _MUL:
            slots[x] = slots[y] * slots[z] % p
        elif op == _SQR:
            value = slots[y]
            while z:
                value = value * value % p
                z -= 1
            slots[x] = value
        elif op == _ADD:
            slots[x] = (slots[y] + slots[z]) % p
        elif op == _SUB:
            slots[x] = (slots[y] - slots[z]) % p
        elif op == _END:
            if not times:
                return 0
            times -= 1
            at = routine if times else back
        elif op == _LOAD:
            slots[x] = int.from_bytes(octets[32 * y : 32 * y + 32], "little") % p
        elif op == _STORE:
            octets[32 * x : 32 * x + 32] = slots[y].to_bytes(32, "little")
        elif op == _INVERT:
            slots[x] = pow(slots[y], p - 2, p)
        else:
            z = y | z << 8
            if op == _CALL:
                times = x
                back = at
                at = routine = z * 4
            elif op == _PICK:
                slots[_ENTRY : _ENTRY + x] = slots[z : z + x]
            elif op == _PUT:
                slots[z : z + x] = slots[_ENTRY : _ENTRY + x]
            elif op == _SELECT:
                _select(slots, octets[_DIGITS + x], z)


def _select(slots: list[int], digit: int, table: int) -> None:
    if digit >= _HALF:
        at = table + 3 * (digit - _HALF)
        slots[_ENTRY : _ENTRY + 3] = slots[at : at + 3]
    else:
        at = table + 3 * (_HALF - 1 - digit)
        slots[_ENTRY : _ENTRY + 3] = [slots[at + 1], slots[at], -slots[at + 2] % _P]
