"""What Ed25519 and SHA-512 cost on a chip: instructions of native code, each one counted under emulation.

What is bytecode on the chip is not emulated: it is counted in bytecodes and calls. A result that is not Ed25519 is an
error, not a number. Here nobody knows how long an instruction takes, nor what another implementation needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nacl.signing import SigningKey

from host_tools.benchmarks.sizes import code_bytes, ram_bytes
from host_tools.emulation.device_crypto import BACKENDS, DeviceCrypto, Glue

OPERATIONS = ("sign", "verify", "verify_known_key")  # with an expanded key; under any key; under a prepared key
MESSAGE_BYTES = (32, 100, 300)  # from a hash to more than devices ever sign

_SEED = bytes(range(32))
_OTHER_SEED = bytes(range(32, 64))
_OPERANDS = bytes(range(1, 65))  # two field elements: what an operation costs does not depend on them
_A, _B, _RESULT = 0, 1, 2  # slots
# Instructions of the field machine (`docs/device-crypto.md`)
_LOAD_OPERANDS = bytes((6, _A, 0, 0, 6, _B, 1, 0))
_MULTIPLY = bytes((1, _RESULT, _A, _B))
_SQUARE = bytes((2, _RESULT, _A, 1))
_SQUARE_TWICE = bytes((2, _RESULT, _A, 2))
_END = bytes(4)
_SLOTS = 24  # the last four are scratch of the field machine
_OCTETS = 308


class WrongResult(Exception):
    """What was counted is not Ed25519; the message says which operation of which backend."""


@dataclass(frozen=True)
class Cost:
    """Of one backend; instructions of native code, but for the last two.

    The field's are those of one more instruction in a program of the field machine, dispatch included: a product, a
    square, and each further square of a row. `by_message_bytes` is of OPERATIONS.
    """

    field_multiply: int
    field_square: int
    field_square_chained: int
    sha512_block: int
    by_message_bytes: dict[int, dict[str, int]]
    code_bytes: int
    ram_bytes: int


class Chip:
    """One backend, emulated, with a key to sign and two prepared ones. Constructing it computes all tables."""

    def __init__(self, name: str) -> None:
        """`name`: one of BACKENDS."""
        self._name = name
        self._crypto = DeviceCrypto(BACKENDS[name])
        ed25519 = self._crypto.ed25519
        self._key = ed25519.SigningKey(_SEED)
        self._prepared = [ed25519.PreparedKey(bytes(SigningKey(seed).verify_key)) for seed in (_SEED, _OTHER_SEED)]

    def cost(self) -> Cost:
        """Raises `WrongResult`."""
        square = self._field(_SQUARE)
        return Cost(
            field_multiply=self._field(_MULTIPLY),
            field_square=square,
            field_square_chained=self._field(_SQUARE_TWICE) - square,
            sha512_block=self._hash(2) - self._hash(1),
            by_message_bytes={length: self._each(self._crypto.count, length) for length in MESSAGE_BYTES},
            code_bytes=code_bytes(BACKENDS[self._name]),
            ram_bytes=ram_bytes(self._crypto, self._key, self._prepared),
        )

    def glue(self, message_bytes: int) -> dict[str, Glue]:
        """What the interpreter does in each of OPERATIONS; the same for every backend. Raises `WrongResult`."""
        return self._each(self._crypto.glue, message_bytes)

    def _each(self, measure: Callable[..., Any], message_bytes: int) -> dict[str, Any]:
        message = bytes(number & 0xFF for number in range(message_bytes))
        signature = SigningKey(_SEED).sign(message).signature
        verify = self._crypto.ed25519.verify
        measured = (
            self._checked(measure, signature, self._key.sign, message),
            self._checked(measure, True, verify, self._key.public, message, signature),
            self._checked(measure, True, self._prepared[0].verify, message, signature),
        )
        return dict(zip(OPERATIONS, measured, strict=True))

    def _checked(self, measure: Callable[..., Any], expected: Any, action: Callable[..., Any], *arguments: Any) -> Any:
        results = []
        measured = measure(lambda: results.append(action(*arguments)))
        if results != [expected]:
            raise WrongResult(f"{action.__qualname__} on {self._name} is wrong, so what it costs says nothing.")
        return measured

    def _field(self, instruction: bytes) -> int:
        return self._run(2 * instruction) - self._run(instruction)

    def _run(self, instructions: bytes) -> int:
        backend = self._crypto.backend
        program = bytearray(_LOAD_OPERANDS + instructions + _END)
        octets = bytearray(_OPERANDS.ljust(_OCTETS, b"\0"))
        return self._crypto.count(backend["run"], backend["new_slots"](_SLOTS), octets, program, 0)

    def _hash(self, blocks: int) -> int:
        backend = self._crypto.backend
        data, work = bytearray(128 * blocks), bytearray(640)
        constants = backend["CONSTANTS"]
        return self._crypto.count(backend["hash_blocks"], bytearray(64), data, blocks, constants, work)
