"""The audit's signatures: gathered, checked on all cores while the next are gathered, and named if they are wrong."""

from typing import Any

from host_tools.ledger.audit.findings import Findings
from host_tools.ledger.verify import Check, Verdicts, Verifier
from protocol.objects import KEY_BYTES

BATCH = 10_000  # checks: 5 MB, and half a second of one core


class Signatures:
    """`finish` waits for the last of them."""

    def __init__(self, verifier: Verifier, findings: Findings):
        self._verifier = verifier
        self._findings = findings
        self._checks: list[Check] = []
        self._named: list[tuple[str, str]] = []
        self._waiting: tuple[Verdicts, list[tuple[str, str]]] | None = None

    def check(self, signed: Any, key: bytes, where: str) -> None:
        """Of an object of the protocol."""
        self.check_bytes(signed.signature + signed.body(), key, type(signed).__name__, where)

    def check_bytes(self, signed: bytes, key: bytes, what: str, where: str) -> None:
        """`signed` is the signature and then the body."""
        self._findings.checked["signatures"] += 1
        if len(key) != KEY_BYTES:
            self._findings.differ(f"the {what}'s signature", where, "wrong", "its signer's")
            return
        self._checks.append((signed, key))
        self._named.append((what, where))
        if len(self._checks) >= BATCH:
            self._begin()

    def finish(self) -> None:
        self._begin()
        self._collect()

    def _begin(self) -> None:
        begun = self._verifier.begin(self._checks), self._named
        self._checks, self._named = [], []
        self._collect()
        self._waiting = begun

    def _collect(self) -> None:
        if self._waiting is not None:
            verdicts, named = self._waiting
            self._waiting = None
            for index in verdicts.wrong():
                what, where = named[index]
                self._findings.differ(f"the {what}'s signature", where, "wrong", "its signer's")
