"""Scalars of Ed25519 in plain integers: for ports without native code, and the definition `scalar_viper` is held to.

Owns arithmetic modulo the group's order L (RFC 8032 section 5.1); knows nothing of what scalars are for. Numbers are
little-endian octets. Integers cannot be constant time: their length and their time depend on a secret, and what they
leave on the heap stays there.

`work` is a bytearray of `WORK` octets. Only the native module needs it, for secrets, and leaves it zero.
"""

_ORDER = 2**252 + 27742317777372353535851937790883648493

WORK = 288


def reduce(out: bytearray, wide: bytes | bytearray, work: bytearray) -> None:
    """out[0:32] = wide[0:64] modulo L."""
    out[0:32] = (int.from_bytes(wide[0:64], "little") % _ORDER).to_bytes(32, "little")


def multiply_add(
    out: bytearray, a: bytes | bytearray, b: bytes | bytearray, c: bytes | bytearray, work: bytearray
) -> None:
    """out[0:32] = (a * b + c) modulo L, of any three numbers of 32 octets. `out` may be one of them."""
    product = int.from_bytes(a[0:32], "little") * int.from_bytes(b[0:32], "little")
    out[0:32] = ((product + int.from_bytes(c[0:32], "little")) % _ORDER).to_bytes(32, "little")
