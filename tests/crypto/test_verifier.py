"""What the device's judge of signatures remembers, and that remembering never changes a verdict."""

import pytest

from host_tools.crypto import Signer
from tests import micropython

ed25519 = micropython.import_on_cpython("crypto.ed25519")
verifier = micropython.import_on_cpython("crypto.verifier")


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Which keys were prepared, in order."""
    made: list[bytes] = []

    class Counted(ed25519.PreparedKey):
        def __init__(self, public: bytes) -> None:
            made.append(public)
            super().__init__(public)

    monkeypatch.setattr(verifier, "PreparedKey", Counted)
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The messages whose signatures were computed under prepared keys."""
    messages: list[bytes] = []
    plain = ed25519.PreparedKey.verify

    def verify(self: object, message: bytes, signature: bytes) -> bool:
        messages.append(message)
        return plain(self, message, signature)

    monkeypatch.setattr(ed25519.PreparedKey, "verify", verify)
    return messages


OPERATORS = [Signer(bytes([n]) * 32) for n in range(4)]


def test_a_certificate_is_computed_once_and_a_forged_one_every_time(asked: list[bytes]) -> None:
    judge = verifier.Verifier()
    signature = OPERATORS[0].sign(b"certificate")
    forged = signature[:-1] + bytes([signature[-1] ^ 1])
    for _ in range(3):
        assert judge.verify_operator(OPERATORS[0].public, b"certificate", signature)
        assert not judge.verify_operator(OPERATORS[0].public, b"certificate", forged)
        assert not judge.verify_operator(OPERATORS[1].public, b"certificate", signature)
    assert len(asked) == 1 + 3 + 3


def test_bytes_that_only_together_are_the_same_are_not_the_same() -> None:
    judge = verifier.Verifier()
    signature = OPERATORS[0].sign(b"certificate")
    assert judge.verify_operator(OPERATORS[0].public, b"certificate", signature)
    with pytest.raises(ValueError, match="signature"):
        judge.verify_operator(OPERATORS[0].public, signature[-1:] + b"certificate", signature[:-1])
    with pytest.raises(ValueError, match="signature"):
        judge.verify_operator(OPERATORS[0].public, b"ertificate", signature + b"c")
    with pytest.raises(ValueError, match="public"):
        judge.verify_operator(OPERATORS[0].public[:-1], b"certificate", OPERATORS[0].public[-1:] + signature[:-1])


def test_the_keys_in_use_stay_prepared_and_the_least_recently_used_goes(prepared: list[bytes]) -> None:
    judge = verifier.Verifier()

    def meet(number: int, text: bytes) -> None:
        assert judge.verify_operator(OPERATORS[number].public, text, OPERATORS[number].sign(text))

    for number, text in ((0, b"a"), (1, b"b"), (0, b"c"), (2, b"d"), (0, b"e"), (1, b"f"), (0, b"g")):
        meet(number, text)
    assert prepared == [OPERATORS[number].public for number in (0, 1, 2, 1)]


def test_the_fingerprints_are_bounded_and_regular_ones_stay(asked: list[bytes]) -> None:
    judge = verifier.Verifier()
    signatures = {text: OPERATORS[0].sign(text) for text in (bytes([n]) for n in range(12))}
    for text, signature in signatures.items():
        assert judge.verify_operator(OPERATORS[0].public, text, signature)
        assert judge.verify_operator(OPERATORS[0].public, b"\x00", signatures[b"\x00"])
    assert len(asked) == 12
    assert judge.verify_operator(OPERATORS[0].public, b"\x01", signatures[b"\x01"])
    assert len(asked) == 13, "it was pushed out by newer ones, and computed again"


def test_a_key_that_libsodium_refuses_verifies_nothing() -> None:
    judge = verifier.Verifier()
    for public in (bytes(32), b"\xff" * 32, b"\x02" + bytes(31)):
        assert not judge.verify_operator(public, b"", bytes(64))
