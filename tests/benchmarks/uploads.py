"""Uploads for the measurements, made before any clock runs and kept in files, so that the settling process holds none.

Every file has wallets and terminals of its own, new to the ledger. A wallet makes fifty payments, about what it makes
between two syncs; its payees come first, so none of its Transfers is known when it arrives.
"""

import pickle
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from host_tools.city.population import AT_ONCE, payee_uploads, population
from host_tools.crypto import Signer, sha256
from host_tools.ledger import Ledger
from host_tools.ledger.verify import Check
from protocol.layout import SIGNATURE_BYTES
from protocol.objects import DAY_S, OperatorCertificate, Receipt, Transfer
from protocol.records import CREDIT_RECORD_BYTES, SEQ_BYTES

NOW = 20_000 * DAY_S + 3_600
OPERATOR = 1
OPERATOR_KEY = Signer(sha256(b"operator"))  # of a ledger that is thrown away
PAYMENTS_OF_A_WALLET = 50

_ROOT_KEY = Signer(sha256(b"root"))
_TRANSFER_AT = SEQ_BYTES + Receipt.size()  # in a credit's record


class Brought(NamedTuple):
    """One upload. `keys` are the public keys of its device and of those who paid it, by device id."""

    device: bytes
    statement: bytes
    records: list[bytes]
    keys: dict[bytes, bytes]

    def checks(self) -> Iterator[Check]:
        """Every signature that has to be checked before this is settled, in any order."""
        own = self.keys[self.device]
        yield _check(self.statement, own)
        for record in self.records:
            if _is_credit(record):
                transfer = record[_TRANSFER_AT:]
                yield _check(record[SEQ_BYTES:_TRANSFER_AT], own)
                yield _check(transfer, self.keys[Transfer.decode(transfer).payer])


class Source:
    """The people of a new ledger at `url`, and what their devices bring. `folder` is where the files go."""

    def __init__(self, url: str, folder: Path, seed: int):
        self._folder = folder
        self._seed = seed
        self._made = 0
        self._ledger = Ledger.create(url)
        self._ledger.set_root(_ROOT_KEY.public)
        certificate = OperatorCertificate(
            operator=OPERATOR,
            issue=1,
            key=OPERATOR_KEY.public,
            currency=156,
            exponent=2,
            valid_from=NOW // DAY_S,
            valid_until=NOW // DAY_S + 3_650,
        )
        self._ledger.add_operator(certificate.sign(_ROOT_KEY.sign))
        self.begun = 0
        self.begun_s = 0.0

    def close(self) -> None:
        self._ledger.close()

    def make(
        self,
        transfers: int,
        largest: int,
        wallets: int | None = None,
        smallest: int = 1,
        terminals: int | None = None,
    ) -> Path:
        """A file of Statements with `smallest` to `largest` Transfers each, `transfers` in all."""
        self._made += 1
        seed = 1_000_003 * self._seed + self._made
        n_wallets = wallets or max(1, -(-transfers // PAYMENTS_OF_A_WALLET))
        n_terminals = terminals or 2 * transfers // largest + AT_ONCE  # about as many as there are uploads
        people = population(self._ledger, OPERATOR_KEY, OPERATOR, n_wallets, n_terminals, seed, NOW)
        keys = {device.id: device.key for device in people.wallets + people.terminals}
        path = self._folder / f"uploads-{self._made}"
        uploads = list(payee_uploads(people, transfers, seed, largest, smallest))
        began = time.perf_counter()
        nonces = self._ledger.begin_syncs([upload.device for upload in uploads], NOW)
        self.begun_s += time.perf_counter() - began
        self.begun += len(nonces)
        brought = []
        for upload, (nonce, _) in zip(uploads, nonces, strict=True):
            payers = {Transfer.decode(raw[_TRANSFER_AT:]).payer for raw in upload.records if _is_credit(raw)}
            known = {who: keys[who] for who in (upload.device, *payers)}
            brought.append(Brought(upload.device, upload.statement(nonce), upload.records, known))
        write(path, brought)
        return path


def write(path: Path, brought: Iterable[Brought]) -> None:
    """What `read` reads."""
    with path.open("wb") as file:
        for one in brought:
            pickle.dump(one, file)


def read(path: Path) -> Iterator[Brought]:
    """The uploads of a file, one after the other."""
    with path.open("rb") as file:
        end = path.stat().st_size
        while file.tell() < end:
            yield pickle.load(file)


def _is_credit(record: bytes) -> bool:
    return len(record) == CREDIT_RECORD_BYTES and record[SEQ_BYTES] == Receipt.TYPE


def _check(signed: bytes, key: bytes) -> Check:
    """libsodium reads a signature before what it signs; in our objects it stands behind."""
    return signed[-SIGNATURE_BYTES:] + signed[:-SIGNATURE_BYTES], key
