"""The constants of SHA-512, computed from the primes they come from.

Source: FIPS 180-4, 4.2.3 (round constants: the first 64 bits of the fractional parts of the cube roots of the first
eighty primes) and 5.3.5 (initial state: the same of the square roots of the first eight primes). Integer roots only:
floating point does not have the digits.

`CONSTANTS` is what `hash_blocks` of every generated module takes: 80 round constants, then the 8 words of the initial
state, each 64-bit little-endian, 704 octets in all.
"""

import math

_FRACTION_BITS = 64


def _primes(count: int) -> list[int]:
    """The first `count` primes."""
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def _cube_root(number: int) -> int:
    """The largest integer whose cube is not above `number`, by bisection."""
    low, high = 0, 1 << (number.bit_length() // 3 + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if middle**3 <= number:
            low = middle
        else:
            high = middle
    return low


def _constants() -> bytes:
    mask = (1 << _FRACTION_BITS) - 1
    primes = _primes(80)
    rounds = [_cube_root(prime << 3 * _FRACTION_BITS) & mask for prime in primes]
    initial = [math.isqrt(prime << 2 * _FRACTION_BITS) & mask for prime in primes[:8]]
    return b"".join(word.to_bytes(8, "little") for word in rounds + initial)


CONSTANTS: bytes = _constants()
