"""Ed25519 (RFC 8032) with the acceptance rule of libsodium's `crypto_sign_verify_detached`.

A signature that a device accepts and the ledger refuses would cost an honest merchant money, so `verify` decides as
libsodium does: S below L, public key canonical, neither key nor R of small order, the equation without cofactor, R
compared as bytes. (That also leaves no room for another encoding of R, nor for the sign bit on x = 0, whose two
points are of small order.)

This version computes with plain big integers and NOT in constant time: table look-ups, skipped zero digits and the
integers themselves depend on the secret key, and secret intermediate values stay on the heap until they are
overwritten. Somebody who measures a device's time or power precisely enough learns about its key.

Points are extended twisted Edwards coordinates (X, Y, Z, T), x = X/Z, y = Y/Z, xy = T/Z (Hisil, Wong, Carter, Dawson
2008). Points that are only added stand "cached" as (Y + X, Y - X, 2dT, 2Z).
"""

from micropython import const

from crypto.sha512 import sha512

# RFC 8032 section 5.1: the field's prime, the group's order, d of the curve, the square root of -1, the base point.
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = 0x52036CEE2B6FFE738CC740797779E89800700A4D4141D8AB75EB4DCA135978A3
_2D = _D * 2 % _P
_SQRT_MINUS_1 = 0x2B8324804FC1DF0B2B4D00993DFBD7A72F431806AD2FE478C4EE1B274A0EA0B0
_BASE_X = 0x216936D3CD6E53FEC0A4E231FDD6DC5C692CC7609525A7B2C9562D608F25D51A
_BASE_Y = 0x6666666666666666666666666666666666666666666666666666666666666658

_KEY_BYTES = const(32)
_SIGNATURE_BYTES = const(64)
_COMB_TEETH = const(5)  # 31 points, 15 KB on a 64-bit build; one tooth more doubles that and saves a sixth
_COMB_SPACING = const(51)  # bits between teeth: 5 * 51 = 255 bits cover every clamped scalar
_WINDOW_BITS = const(5)  # eight odd multiples of the point; best for one scalar of 253 bits

_NEUTRAL = (0, 1, 1, 0)


def _double(point: tuple, times: int) -> tuple:
    """2 ** `times` * `point`, `times` >= 1. In one loop, because T is needed only after the last doubling."""
    x, y, z, _ = point
    p = _P
    while True:
        a = x * x % p
        b = y * y % p
        h = a + b
        e = h - (x + y) * (x + y) % p
        g = a - b
        f = g + 2 * z * z % p
        x = e * f % p
        y = g * h % p
        z = f * g % p
        times -= 1
        if not times:
            return x, y, z, e * h % p


def _add(point: tuple, cached: tuple) -> tuple:
    """`point` + `cached`; complete: right for every pair of points on the curve."""
    x, y, z, t = point
    p = _P
    a = (y - x) * cached[1] % p
    b = (y + x) * cached[0] % p
    c = t * cached[2] % p
    d = z * cached[3] % p
    e = b - a
    f = d - c
    g = d + c
    h = b + a
    return e * f % p, g * h % p, f * g % p, e * h % p


def _cached(point: tuple) -> tuple:
    x, y, z, t = point
    return (y + x) % _P, (y - x) % _P, t * _2D % _P, 2 * z % _P


def _minus(cached: tuple) -> tuple:
    return cached[1], cached[0], _P - cached[2], cached[3]


def _make_comb() -> tuple:
    """Entry n is the sum of 2 ** (51 * i) * B over the bits i that are set in n (Lim and Lee 1994)."""
    tooth = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)
    points = [_NEUTRAL]
    for i in range(_COMB_TEETH):
        if i:
            tooth = _double(tooth, _COMB_SPACING)
        step = _cached(tooth)
        points += [_add(point, step) for point in points]
    return tuple([_cached(point) for point in points])


_COMB = _make_comb()


def _multiply_base(scalar: int) -> tuple:
    """`scalar` * B for 0 <= scalar < 2 ** 255."""
    result = _NEUTRAL
    for column in range(_COMB_SPACING - 1, -1, -1):
        result = _double(result, 1)
        index = 0
        for tooth in range(_COMB_TEETH):
            index |= (scalar >> (column + _COMB_SPACING * tooth) & 1) << tooth
        if index:
            result = _add(result, _COMB[index])
    return result


def _signed_digits(scalar: int) -> list[tuple[int, int]]:
    """(position, digit) from low to high: the sum of digit * 2 ** position is `scalar`, digits odd and within +-15.

    This is the width-5 non-adjacent form (Handbook of Elliptic and Hyperelliptic Curve Cryptography, section 9.1.4).
    """
    digits = []
    position = 0
    while scalar:
        if scalar & 1:
            digit = scalar & ((1 << _WINDOW_BITS) - 1)
            if digit >> (_WINDOW_BITS - 1):
                digit -= 1 << _WINDOW_BITS
            digits.append((position, digit))
            scalar -= digit
            step = _WINDOW_BITS
        else:
            step = 1
        scalar >>= step
        position += step
    return digits


def _multiply(scalar: int, point: tuple) -> tuple:
    """`scalar` * `point` for 0 <= scalar < L."""
    step = _cached(_double(point, 1))
    odd = [_cached(point)]  # 1, 3, 5 .. 15 times the point
    for _ in range((1 << _WINDOW_BITS - 2) - 1):
        point = _add(point, step)
        odd.append(_cached(point))
    result = _NEUTRAL
    previous = 0
    for position, digit in reversed(_signed_digits(scalar)):
        if previous:
            result = _double(result, previous - position)
        result = _add(result, odd[digit >> 1] if digit > 0 else _minus(odd[-digit >> 1]))
        previous = position
    return _double(result, previous) if previous else result


def _encode(point: tuple) -> bytes:
    """RFC 8032 section 5.1.2."""
    x, y, z, _ = point
    inverse = pow(z, _P - 2, _P)
    return (y * inverse % _P | (x * inverse % _P & 1) << 255).to_bytes(_KEY_BYTES, "little")


def _is_small_order(y: int) -> bool:
    """Whether a point with this canonical y has order 1, 2, 4 or 8.

    Besides y = 1, -1 and 0 these are the four points of order 8: twice such a point has y = 0, so y ** 2 = -x ** 2,
    which the curve's equation turns into d * y ** 4 + 2 * y ** 2 - 1 = 0.
    """
    square = y * y % _P
    return square < 2 or not (_D * square % _P * square + 2 * square - 1) % _P


def _decode_negated(encoded: bytes) -> tuple | None:
    """Minus the point of a public key, or None if libsodium refuses the key (RFC 8032 section 5.1.3)."""
    y = int.from_bytes(encoded, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= _P or _is_small_order(y):
        return None
    u = y * y % _P
    v = (_D * u + 1) % _P
    u -= 1
    v3 = v * v % _P * v % _P
    x = u * v3 % _P * pow(u * v3 % _P * v3 % _P * v % _P, (_P - 5) // 8, _P) % _P
    difference = (v * x % _P * x - u) % _P
    if difference:
        if (difference + 2 * u) % _P:
            return None
        x = x * _SQRT_MINUS_1 % _P
    if x & 1 == sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _check(name: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise ValueError(f"{name} must have {length} bytes")


def _hash_to_scalar(*parts: bytes) -> int:
    data = bytearray()  # MicroPython's bytes.join takes no memoryview
    for part in parts:
        data += part
    return int.from_bytes(sha512(data), "little") % _L


class SigningKey:
    """A key pair from a 32-byte seed, with what every signature needs computed once. As secret as the seed."""

    def __init__(self, seed: bytes) -> None:
        _check("seed", seed, _KEY_BYTES)
        expanded = sha512(seed)
        # RFC 8032 section 5.1.5: the lowest three bits and the highest clear, the second highest set
        scalar = int.from_bytes(expanded[:32], "little")
        self._scalar = scalar & ((1 << 254) - 8) | 1 << 254
        self._prefix = expanded[32:]
        self.public = _encode(_multiply_base(self._scalar))

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message` (RFC 8032 section 5.1.6), the same every time."""
        nonce = _hash_to_scalar(self._prefix, message)
        commitment = _encode(_multiply_base(nonce))
        challenge = _hash_to_scalar(commitment, self.public, message)
        return commitment + ((nonce + challenge * self._scalar) % _L).to_bytes(_KEY_BYTES, "little")


def public_key(seed: bytes) -> bytes:
    """The 32-byte public key of a 32-byte seed."""
    return SigningKey(seed).public


def sign(seed: bytes, message: bytes) -> bytes:
    """One signature; whoever signs more often keeps a SigningKey."""
    return SigningKey(seed).sign(message)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether libsodium would accept `signature`. Raises ValueError only for a wrong length of key or signature."""
    _check("public", public, _KEY_BYTES)
    _check("signature", signature, _SIGNATURE_BYTES)
    commitment = bytes(signature[:32])
    response = int.from_bytes(signature[32:], "little")
    # Only a canonical R can equal the encoding below, so y needs no reduction here.
    if response >= _L or _is_small_order(int.from_bytes(commitment, "little") & ((1 << 255) - 1)):
        return False
    point = _decode_negated(public)
    if point is None:
        return False
    challenge = _hash_to_scalar(commitment, public, message)
    return _encode(_add(_multiply_base(response), _cached(_multiply(challenge, point)))) == commitment
