"""SHA-512 (FIPS 180-4), which stock MicroPython lacks; SHA-256 comes from `hashlib`.

Every 64-bit word is held as two 32-bit halves, high one first: on a 64-bit MicroPython they stay small integers that
cost no heap. The running time depends on the length of the data only.
"""

import struct

from micropython import const

_MASK = const(0xFFFFFFFF)
_BLOCK_BYTES = const(128)
_LENGTH_AT = const(112)  # FIPS 180-4 section 5.1.2: the last 16 bytes of the padding hold the length in bits

# FIPS 180-4 section 5.3.5
_INITIAL = bytes.fromhex(
    "6a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1"
    "510e527fade682d19b05688c2b3e6c1f1f83d9abfb41bd6b5be0cd19137e2179"
)

# FIPS 180-4 section 4.2.3
_ROUND_CONSTANTS = struct.unpack(
    ">160I",
    bytes.fromhex(
        "428a2f98d728ae227137449123ef65cdb5c0fbcfec4d3b2fe9b5dba58189dbbc"
        "3956c25bf348b53859f111f1b605d019923f82a4af194f9bab1c5ed5da6d8118"
        "d807aa98a303024212835b0145706fbe243185be4ee4b28c550c7dc3d5ffb4e2"
        "72be5d74f27b896f80deb1fe3b1696b19bdc06a725c71235c19bf174cf692694"
        "e49b69c19ef14ad2efbe4786384f25e30fc19dc68b8cd5b5240ca1cc77ac9c65"
        "2de92c6f592b02754a7484aa6ea6e4835cb0a9dcbd41fbd476f988da831153b5"
        "983e5152ee66dfaba831c66d2db43210b00327c898fb213fbf597fc7beef0ee4"
        "c6e00bf33da88fc2d5a79147930aa72506ca6351e003826f142929670a0e6e70"
        "27b70a8546d22ffc2e1b21385c26c9264d2c6dfc5ac42aed53380d139d95b3df"
        "650a73548baf63de766a0abb3c77b2a881c2c92e47edaee692722c851482353b"
        "a2bfe8a14cf10364a81a664bbc423001c24b8b70d0f89791c76c51a30654be30"
        "d192e819d6ef5218d69906245565a910f40e35855771202a106aa07032bbd1b8"
        "19a4c116b8d2d0c81e376c085141ab532748774cdf8eeb9934b0bcb5e19b48a8"
        "391c0cb3c5c95a634ed8aa4ae3418acb5b9cca4f7763e373682e6ff3d6b2b8a3"
        "748f82ee5defb2fc78a5636f43172f6084c87814a1f0ab728cc702081a6439ec"
        "90befffa23631e28a4506cebde82bde9bef9a3f7b2c67915c67178f2e372532b"
        "ca273eceea26619cd186b8c721c0c207eada7dd6cde0eb1ef57d4f7fee6ed178"
        "06f067aa72176fba0a637dc5a2c898a6113f9804bef90dae1b710b35131c471b"
        "28db77f523047d8432caab7b40c724933c9ebe0a15c9bebc431d67c49c100d4c"
        "4cc5d4becb3e42b6597f299cfc657e2a5fcb6fab3ad6faec6c44198c4a475817"
    ),
)


def _schedule(block: bytes | memoryview) -> list[int]:
    """The 80 words of section 6.4.2 step 1, as 160 halves."""
    w = list(struct.unpack(">32I", block))
    for i in range(32, 160, 2):
        # sigma0 of word t - 15: rotations by 1 and 8, shift by 7
        hi = w[i - 30]
        lo = w[i - 29]
        s0h = (hi >> 1 | lo << 31) ^ (hi >> 8 | lo << 24) ^ hi >> 7
        s0l = (lo >> 1 | hi << 31) ^ (lo >> 8 | hi << 24) ^ (lo >> 7 | hi << 25)
        # sigma1 of word t - 2: rotations by 19 and 61, shift by 6
        hi = w[i - 4]
        lo = w[i - 3]
        s1h = (hi >> 19 | lo << 13) ^ (lo >> 29 | hi << 3) ^ hi >> 6
        s1l = (lo >> 19 | hi << 13) ^ (hi >> 29 | lo << 3) ^ (lo >> 6 | hi << 26)
        low = (s0l & _MASK) + (s1l & _MASK) + w[i - 13] + w[i - 31]
        w.append((s0h & _MASK) + (s1h & _MASK) + w[i - 14] + w[i - 32] + (low >> 32) & _MASK)
        w.append(low & _MASK)
    return w


def _compress(state: list[int], block: bytes | memoryview) -> list[int]:
    """Section 6.4.2 steps 2 to 4; the state is eight words as 16 halves."""
    ah, al, bh, bl, ch, cl, dh, dl, eh, el, fh, fl, gh, gl, hh, hl = state
    w = _schedule(block)
    k = _ROUND_CONSTANTS
    for i in range(0, 160, 2):
        # T1 = h + Sigma1(e) + Ch(e, f, g) + K + W; Sigma1 rotates by 14, 18 and 41
        low = (
            hl
            + (((el >> 14 | eh << 18) ^ (el >> 18 | eh << 14) ^ (eh >> 9 | el << 23)) & _MASK)
            + (gl ^ el & (fl ^ gl))
            + k[i + 1]
            + w[i + 1]
        )
        high = (
            hh
            + (((eh >> 14 | el << 18) ^ (eh >> 18 | el << 14) ^ (el >> 9 | eh << 23)) & _MASK)
            + (gh ^ eh & (fh ^ gh))
            + k[i]
            + w[i]
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
    result = [ah, al, bh, bl, ch, cl, dh, dl, eh, el, fh, fl, gh, gl, hh, hl]
    for i in range(0, 16, 2):
        low = result[i + 1] + state[i + 1]
        result[i] = result[i] + state[i] + (low >> 32) & _MASK
        result[i + 1] = low & _MASK
    return result


def sha512(data: bytes | bytearray | memoryview) -> bytes:
    """The 64-byte digest of `data`."""
    view = memoryview(data)
    state = list(struct.unpack(">16I", _INITIAL))
    whole = len(view) - len(view) % _BLOCK_BYTES
    for offset in range(0, whole, _BLOCK_BYTES):
        state = _compress(state, view[offset : offset + _BLOCK_BYTES])
    tail = bytes(view[whole:]) + b"\x80"
    tail += bytes((_LENGTH_AT - len(tail)) % _BLOCK_BYTES) + (len(view) * 8).to_bytes(16, "big")
    for offset in range(0, len(tail), _BLOCK_BYTES):
        state = _compress(state, tail[offset : offset + _BLOCK_BYTES])
    return struct.pack(">16I", *state)
