"""What devices were answered: every object that a kept answer holds is kept where it was issued, or signed."""

from contextlib import suppress

from sqlalchemy import Connection, select

from host_tools.crypto import sha256
from host_tools.ledger import resolutions
from host_tools.ledger.answer import Settlement
from host_tools.ledger.audit.findings import Findings
from host_tools.ledger.audit.reading import decoded
from host_tools.ledger.audit.signatures import Signatures
from host_tools.ledger.schema import revocations
from protocol.objects import Resolution, Revocations


class Answers:
    def __init__(self, connection: Connection, signatures: Signatures, findings: Findings):
        self._connection = connection
        self._signatures = signatures
        self._findings = findings
        published = connection.execute(select(revocations.c.revocations)).scalars()
        self._lists = {sha256(signed) for signed in published}

    def check(self, kept: str | None, issued: set[bytes], key: bytes, where: str) -> tuple[bytes, ...]:
        """One answer, by the operator with this key. `issued` are the device's Certificates with what goes with them,
        and its Loads. Returns its objects.
        """
        answer = None
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            answer = Settlement.from_json(kept or "")
        if answer is None:
            self._findings.differ("its answer", where, "unreadable", "a Settlement")
            return ()
        for signed in answer.objects:
            if signed[:1] == bytes((Resolution.TYPE,)):
                self._resolution(signed, key, where)
            elif signed[:1] == bytes((Revocations.TYPE,)):
                if sha256(signed) not in self._lists:
                    self._findings.differ("a list that it was answered", where, signed, "published")
            elif signed not in issued:
                self._findings.differ("what it was answered", where, signed, "issued")
        return answer.objects

    def _resolution(self, signed: bytes, key: bytes, where: str) -> None:
        """It is signed again once the outcome is another; what was answered before is kept nowhere else."""
        said = decoded(self._findings, Resolution, signed, where)
        if said is not None:
            self._signatures.check(said, key, where)
            if resolutions.find(self._connection, said.transfer) is None:
                self._findings.differ("a Resolution", where, None, said.transfer)
