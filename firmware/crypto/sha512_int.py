"""SHA-512's blocks in plain integers, for ports that load no native code.

Every 64-bit word is held as two 32-bit halves: on a 64-bit MicroPython they stay small integers that cost no heap. The
running time depends on the number of blocks only.
"""

import struct

from micropython import const

_MASK = const(0xFFFFFFFF)
_WORDS = const(160)  # 80 words of 64 bits, as halves


def _root(value: int, degree: int) -> int:
    """The largest integer whose `degree`-th power is at most `value`."""
    low = 0
    high = 1 << 68
    while low < high:
        middle = (low + high + 1) // 2
        if middle**degree <= value:
            low = middle
        else:
            high = middle - 1
    return low


def _make_constants() -> bytes:
    """FIPS 180-4 sections 4.2.3 and 5.3.5: fractions of the first primes' cube roots (80) and square roots (8)."""
    primes = []
    candidate = 2
    while len(primes) < 80:
        if all([candidate % prime for prime in primes]):
            primes.append(candidate)
        candidate += 1
    words = [_root(prime << 192, 3) for prime in primes] + [_root(prime << 128, 2) for prime in primes[:8]]
    return b"".join([(word & (1 << 64) - 1).to_bytes(8, "little") for word in words])


CONSTANTS = _make_constants()  # 80 round constants and 8 initial words, 64-bit little-endian


def hash_blocks(out: bytearray, data: bytearray, blocks: int, constants: bytes | bytearray, work: bytearray) -> None:
    """`out[0:64]` = the digest of `data`, `blocks` * 128 octets already padded. `work` is not needed here."""
    halves = struct.unpack("<176I", constants)
    state = list(halves[_WORDS:])
    for block in range(blocks):
        words = _schedule(data, 128 * block)
        state = _compress(state, words, halves)
    for i in range(0, 16, 2):
        struct.pack_into(">II", out, 4 * i, state[i + 1], state[i])


def _schedule(data: bytearray, offset: int) -> list[int]:
    """Section 6.4.2 step 1. Low halves first, as everywhere here."""
    w = list(struct.unpack_from(">32I", data, offset))
    for i in range(0, 32, 2):
        w[i], w[i + 1] = w[i + 1], w[i]
    for i in range(32, _WORDS, 2):
        # sigma0 of word t - 15: rotations by 1 and 8, shift by 7
        lo = w[i - 30]
        hi = w[i - 29]
        s0h = (hi >> 1 | lo << 31) ^ (hi >> 8 | lo << 24) ^ hi >> 7
        s0l = (lo >> 1 | hi << 31) ^ (lo >> 8 | hi << 24) ^ (lo >> 7 | hi << 25)
        # sigma1 of word t - 2: rotations by 19 and 61, shift by 6
        lo = w[i - 4]
        hi = w[i - 3]
        s1h = (hi >> 19 | lo << 13) ^ (lo >> 29 | hi << 3) ^ hi >> 6
        s1l = (lo >> 19 | hi << 13) ^ (hi >> 29 | lo << 3) ^ (lo >> 6 | hi << 26)
        low = (s0l & _MASK) + (s1l & _MASK) + w[i - 14] + w[i - 32]
        w.append(low & _MASK)
        w.append((s0h & _MASK) + (s1h & _MASK) + w[i - 13] + w[i - 31] + (low >> 32) & _MASK)
    return w


def _compress(state: list[int], w: list[int], k: tuple) -> list[int]:
    """Section 6.4.2 steps 2 to 4; the state is eight words as 16 halves."""
    al, ah, bl, bh, cl, ch, dl, dh, el, eh, fl, fh, gl, gh, hl, hh = state
    for i in range(0, _WORDS, 2):
        # T1 = h + Sigma1(e) + Ch(e, f, g) + K + W; Sigma1 rotates by 14, 18 and 41
        low = (
            hl
            + (((el >> 14 | eh << 18) ^ (el >> 18 | eh << 14) ^ (eh >> 9 | el << 23)) & _MASK)
            + (gl ^ el & (fl ^ gl))
            + k[i]
            + w[i]
        )
        high = (
            hh
            + (((eh >> 14 | el << 18) ^ (eh >> 18 | el << 14) ^ (el >> 9 | eh << 23)) & _MASK)
            + (gh ^ eh & (fh ^ gh))
            + k[i + 1]
            + w[i + 1]
            + (low >> 32)
        )
        low &= _MASK
        hh = gh
        hl = gl
        gh = fh
        gl = fl
        fh = eh
        fl = el
        el = dl + low
        eh = dh + high + (el >> 32) & _MASK
        el &= _MASK
        # T2 = Sigma0(a) + Maj(a, b, c); Sigma0 rotates by 28, 34 and 39
        low += (((al >> 28 | ah << 4) ^ (ah >> 2 | al << 30) ^ (ah >> 7 | al << 25)) & _MASK) + (
            al & bl | cl & (al | bl)
        )
        high += (
            (((ah >> 28 | al << 4) ^ (al >> 2 | ah << 30) ^ (al >> 7 | ah << 25)) & _MASK)
            + (ah & bh | ch & (ah | bh))
            + (low >> 32)
        )
        dh = ch
        dl = cl
        ch = bh
        cl = bl
        bh = ah
        bl = al
        ah = high & _MASK
        al = low & _MASK
    result = [al, ah, bl, bh, cl, ch, dl, dh, el, eh, fl, fh, gl, gh, hl, hh]
    for i in range(0, 16, 2):
        low = result[i] + state[i]
        result[i] = low & _MASK
        result[i + 1] = result[i + 1] + state[i + 1] + (low >> 32) & _MASK
    return result
