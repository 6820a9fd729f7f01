"""The curve of Ed25519 in plain Python, straight from RFC 8032 section 5.1, to craft vectors and to state the rule.

Slow, not constant time, and with nothing in common with the firmware's code, so that the two do not share a mistake.

    public = (7 * BASE + TORSION[3]).encode()
"""

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


class Point:
    """A point of the whole curve, whose order is 8 L, as x = X/Z, y = Y/Z, xy = T/Z. Never changes."""

    def __init__(self, x: int, y: int, z: int = 1, t: int | None = None) -> None:
        self._x, self._y, self._z = x, y, z
        self._t = x * y % P if t is None else t
        self._doubled: list[Point] = [self]  # its multiples by 1, 2, 4 .. as far as they were needed

    def __add__(self, other: "Point") -> "Point":
        """RFC 8032 section 5.1.4; complete, so it doubles as well."""
        a = (self._y - self._x) * (other._y - other._x) % P
        b = (self._y + self._x) * (other._y + other._x) % P
        c = 2 * self._t * other._t * D % P
        d = 2 * self._z * other._z % P
        e, f, g, h = b - a, d - c, d + c, b + a
        return Point(e * f % P, g * h % P, f * g % P, e * h % P)

    def __neg__(self) -> "Point":
        return Point(-self._x % P, self._y, self._z, -self._t % P)

    def __sub__(self, other: "Point") -> "Point":
        return self + -other

    def __rmul__(self, scalar: int) -> "Point":
        """`scalar` >= 0 of any size. Reduce it modulo L only for a point without torsion."""
        result = NEUTRAL
        for bit in range(scalar.bit_length()):
            if bit == len(self._doubled):
                self._doubled.append(self._doubled[-1] + self._doubled[-1])
            if scalar >> bit & 1:
                result += self._doubled[bit]
        return result

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Point)
            and (self._x * other._z - other._x * self._z) % P == 0
            and (self._y * other._z - other._y * self._z) % P == 0
        )

    @property
    def y(self) -> int:
        return self._y * pow(self._z, -1, P) % P

    @property
    def is_small(self) -> bool:
        """Whether its order is 1, 2, 4 or 8."""
        return 8 * self == NEUTRAL

    def encode(self) -> bytes:
        """RFC 8032 section 5.1.2."""
        inverse = pow(self._z, -1, P)
        return encode_y(self._y * inverse % P, self._x * inverse % P & 1)


NEUTRAL = Point(0, 1)


def encode_y(y: int, sign: int) -> bytes:
    """Any y below 2 ** 255, whether or not it is reduced or on the curve."""
    return (y | sign << 255).to_bytes(32, "little")


def point_at(y: int, sign: int) -> Point | None:
    """The point with this y and this lowest bit of x; None if there is none, as for x = 0 with the bit set."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return Point(-x % P if x & 1 != sign else x, y % P)


def decode(encoded: bytes) -> Point | None:
    """RFC 8032 section 5.1.3; None for what is not the canonical encoding of a point."""
    number = int.from_bytes(encoded, "little")
    y = number & ((1 << 255) - 1)
    return point_at(y, number >> 255) if y < P else None


def _known(y: int, sign: int) -> Point:
    point = point_at(y, sign)
    assert point is not None
    return point


def _torsion() -> list[Point]:
    for y in range(2, P):
        point = point_at(y, 0)
        if point is not None and 4 * L * point != NEUTRAL:
            return [n * (L * point) for n in range(8)]
    raise AssertionError("a group of order 8 L has points of order 8")


BASE = _known(4 * pow(5, -1, P) % P, 0)
TORSION = _torsion()  # the eight points of small order, TORSION[n] being n times TORSION[1]


def small_order_encodings() -> list[bytes]:
    """All 14 strings that stand for a point of small order: y reduced or not, either sign bit, also on x = 0."""
    reduced = {point.y for point in TORSION}
    unreduced = {y + P for y in reduced if y + P < 2**255}
    return [encode_y(y, sign) for y in sorted(reduced | unreduced) for sign in (0, 1)]
