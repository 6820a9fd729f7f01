"""The side with a network: keys in encrypted files, one ledger file, and a switch that cuts it off.

While cut off, the ledger's file is not where it was: whoever touches it fails, and so does the story.
"""

import secrets
from pathlib import Path

from host_tools import keys
from host_tools.crypto import Signer
from host_tools.ledger.ledger import Ledger
from protocol.objects import DAY_S, OPERATOR_PAYEE, OperatorCertificate

CURRENCY = 156  # CNY, ISO 4217
EXPONENT = 2
ROOT_DAYS = 3650


class CutOff(Exception):
    """The ledger was asked for while it is cut off."""


class Bank:
    """A central bank with its operators and the ledger, in one folder. `now` is Unix seconds."""

    def __init__(self, folder: Path, now: int) -> None:
        self._folder = folder
        self._path = folder / "ledger.db"
        self._hidden = folder / "cut-off" / "ledger.db"
        # Made here and gone with the demo; a bank's passphrase is typed by a person.
        self._passphrase = secrets.token_urlsafe(12)
        folder.mkdir(parents=True, exist_ok=True)
        self._root = self._key("root.key", "root")
        self.operators: dict[int, Signer] = {}
        self.payees: dict[int, Signer] = {}
        self._ledger: Ledger | None = Ledger.create(self._url)
        self._ledger.set_root(self._root.public)
        self._now = now

    @property
    def _url(self) -> str:
        return f"sqlite:///{self._path}"

    @property
    def ledger(self) -> Ledger:
        """The ledger. Raises `CutOff` while nobody can reach it."""
        if self._ledger is None:
            raise CutOff("somebody asked for the ledger while it is cut off")
        return self._ledger

    def add_operator(self, number: int) -> None:
        """A new operator: its keys, its certificate from the root, its own payee for redeeming."""
        signer = self.operators[number] = self._key(f"operator-{number}.key", "operator")
        payee = self.payees[number] = self._key(f"operator-{number}-payee.key", "operator")
        today = self._now // DAY_S
        certificate = OperatorCertificate(
            operator=number,
            issue=1,
            key=signer.public,
            currency=CURRENCY,
            exponent=EXPONENT,
            valid_from=today,
            valid_until=today + ROOT_DAYS,
        )
        self.ledger.add_operator(certificate.sign(self._root.sign))
        account = self.ledger.open_account(number, f"operator {number}")
        self.ledger.register_device(
            signer, number, payee.public, OPERATOR_PAYEE << 4, 0, account, f"operator {number} payee", self._now
        )

    def _key(self, file: str, kind: str) -> Signer:
        """A key made, written and read back through its file, as an operator would."""
        keys.create(self._folder / file, kind, self._passphrase, cost=keys.INTERACTIVE)
        return keys.load(self._folder / file, kind, self._passphrase)

    def cut_off(self) -> None:
        """Close the ledger and move its file away."""
        self.ledger.close()
        self._ledger = None
        self._hidden.parent.mkdir(exist_ok=True)
        self._path.rename(self._hidden)

    def reconnect(self) -> None:
        """Bring the file back. Raises `CutOff` if somebody has made or touched a ledger meanwhile."""
        if self._path.exists():
            raise CutOff("a ledger appeared while it was cut off")
        self._hidden.rename(self._path)
        self._ledger = Ledger.open(self._url)

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
