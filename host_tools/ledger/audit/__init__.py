"""The audit: recomputes everything from what was signed, compares it with what is kept, and names every difference.

    issuers    the root's and the operators' own objects: certificates, revocation lists
    journals   each device: its chain from the first record to the head, its Statements, Certificates and loads; that
               what its records say is what `transfers` and `loads` say they say; that it has one history or is frozen;
               and what it was answered
    payments   each Transfer: its bytes and columns, the payee's word, why it was refused, and so whose its money is
    cases      what people and proofs add: frozen and revoked devices, evidence, decisions, Resolutions, Requests
    sums       balances from postings, and the postings of each Transfer, load and guarantee from the places that the
               facts give them; done by the database

It reads one state of the ledger, in pages of about `PAGE` rows, and writes nothing; the rules are those of settlement
itself. Every signature is checked, on all cores, each object's once where the same bytes are kept twice. What it
cannot find is what no signature covers and every table agrees on: money that was issued, and names.
"""

from collections.abc import Callable

from sqlalchemy import Connection, func, select

from host_tools.ledger.audit import cases, issuers, journals, payments, sums
from host_tools.ledger.audit.findings import Difference, Findings
from host_tools.ledger.audit.signatures import Signatures
from host_tools.ledger.schema import devices, transfers
from host_tools.ledger.verify import Verifier

__all__ = ["Difference", "Findings", "run"]

Progress = Callable[[int, int], None]  # done, of so many


def run(connection: Connection, verifier: Verifier, progress: Progress) -> Findings:
    """Everything. `connection` is in a transaction that sees one state, and is rolled back by whoever began it."""
    findings = Findings()
    signatures = Signatures(verifier, findings)
    total = sum(
        connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (devices, transfers)
    )
    done = 0

    def went_on(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    sums.check(connection, findings)
    keys = issuers.check(connection, signatures, findings)
    journals.check(connection, keys, signatures, findings, went_on)
    payments.check(connection, signatures, findings, went_on)
    cases.check(connection, keys, signatures, findings)
    signatures.finish()
    return findings
