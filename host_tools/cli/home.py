"""The project folder: key files and the ledger, by their names. Nothing else knows these names."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from host_tools import keys
from host_tools.cli import currencies, output, passphrase
from host_tools.cli.currencies import Currency
from host_tools.cli.exits import BadInput
from host_tools.crypto import Signer
from host_tools.ledger import Ledger
from host_tools.ledger.carriers import SyncLedger
from host_tools.ledger.errors import UnknownAccount, UnknownDevice
from protocol.objects import DAY_S, OPERATOR_PAYEE

MAX_OPERATOR = 0xFFFF
MAX_NAME = 50  # of accounts in the ledger; an operator has an account of its own name


def now() -> int:
    """Unix seconds."""
    return int(time.time())


class Home:
    """One project folder. `ledger_url` is another ledger than its own."""

    def __init__(self, folder: Path, ledger_url: str | None = None):
        self.folder = folder
        self.ledger_url = ledger_url or f"sqlite:///{folder / 'ledger.db'}"

    @property
    def root_key_file(self) -> Path:
        return self.folder / "root.key"

    def operator_key_file(self, operator: int) -> Path:
        return self.folder / f"operator-{operator}.key"

    def payee_key_file(self, operator: int) -> Path:
        return self.folder / f"operator-{operator}-payee.key"

    def make_folder(self) -> None:
        """Raises `BadInput`."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f"The folder {self.folder} cannot be made: {error.strerror}. Choose another --home."
            ) from None

    # Keys

    def operators(self) -> list[int]:
        """The numbers of the operators whose key files are here."""
        names = [path.stem.removeprefix("operator-") for path in self.folder.glob("operator-*.key")]
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def operator_number(self, given: int | None) -> int:
        """`given`, or the one operator whose key is here. Raises `BadInput`."""
        if given is not None:
            return checked_operator(given)
        known = self.operators()
        if len(known) == 1:
            return known[0]
        if not known:
            raise BadInput(f"There is no operator's key in {self.folder}. Run: jiaozi operator create, or give --home.")
        raise BadInput(f"There are keys of operators {', '.join(map(str, known))} here. Choose one with --operator.")

    def root_signer(self, file: Path | None) -> Signer:
        return self._signer(self.root_key_file, "root", "the root key", file)

    def operator_signer(self, operator: int, file: Path | None) -> Signer:
        return self._signer(self.operator_key_file(operator), "operator", f"the key of operator {operator}", file)

    def operator_signers(self, operator: int, file: Path | None) -> tuple[Signer, Signer]:
        """The operator's key and its payee's, which have one passphrase."""
        path, payee_path = self.operator_key_file(operator), self.payee_key_file(operator)
        keys.public_key(path)
        keys.public_key(payee_path)
        word = passphrase.read(file, f"the key of operator {operator}")
        return keys.load(path, "operator", word), keys.load(payee_path, "operator", word)

    def _signer(self, path: Path, kind: str, what: str, file: Path | None) -> Signer:
        keys.public_key(path)  # a file that is not there is said before a passphrase is asked for
        return keys.load(path, kind, passphrase.read(file, what))

    # Ledger

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger, open. Raises `LedgerMissing`, `NotALedger`, `BadInput`."""
        self.check_url()
        opened = Ledger.open(self.ledger_url)
        try:
            yield opened
        finally:
            opened.close()

    @property
    def is_service(self) -> bool:
        """Whether the ledger is behind a service (`jiaozi serve`), not a database."""
        return self.ledger_url.startswith(("https://", "http://"))

    @property
    def shown_url(self) -> str:
        """Without its password."""
        return make_url(self.ledger_url).render_as_string(hide_password=True)

    def check_url(self) -> None:
        """Raises `BadInput` for a URL of which SQLAlchemy can make nothing."""
        if self.is_service:
            raise BadInput(
                "--ledger names a service, and this command needs the database itself."
                " Type its URL, like sqlite:////var/lib/jiaozi/ledger.db"
            )
        try:
            url = make_url(self.ledger_url)
            url.get_dialect().import_dbapi()
            url.get_dialect()().create_connect_args(url)
        except (ArgumentError, NoSuchModuleError, ValueError):
            raise BadInput("--ledger is no database URL. Type one like sqlite:////var/lib/jiaozi/ledger.db") from None
        except ImportError as error:
            raise BadInput(
                f"The driver for this database is not installed ({error.name}). Install it with pip."
            ) from None


def checked_operator(number: int) -> int:
    """Raises `BadInput` for a number that no operator can have."""
    if not 1 <= number <= MAX_OPERATOR:
        raise BadInput(f"Operators are numbered from 1 to {MAX_OPERATOR}, so {number} is none.")
    return number


def checked_name(name: str, of: str) -> str:
    """Raises `BadInput` for a name that cannot be shown or that nobody could type again."""
    if not name.isprintable() or name != name.strip() or not 0 < len(name) <= MAX_NAME:
        raise BadInput(f"The name of {of} is 1 to {MAX_NAME} printable characters, with no space at either end.")
    return name


def currency_of(ledger: SyncLedger[Any], operator: int) -> Currency:
    """Raises `UnknownOperator`."""
    certificate = ledger.operator_certificate(operator)
    return currencies.by_number(certificate.currency, certificate.exponent)


def operator_rows(ledger: Ledger) -> list[dict]:
    """The ledger's operators, as the devices they redeem with: each has one, with the operator's name."""
    rows = [row for row in ledger.devices() if row["kind"] >> 4 == OPERATOR_PAYEE]
    return sorted(rows, key=lambda row: row["operator"])


def ledger_currency(ledger: Ledger) -> Currency | None:
    """A ledger keeps one currency: that of its first operator, None before there is one."""
    rows = operator_rows(ledger)
    return currency_of(ledger, rows[0]["operator"]) if rows else None


def account_number(ledger: Ledger, operator: int, name: str) -> int:
    """The open account of this name. Raises `UnknownAccount`, with the names there are."""
    here = f"{operator}:"
    names = [key.removeprefix(here) for key in ledger.reconciliation()["accounts"] if key.startswith(here)]
    if name not in names:
        known = f"it has: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else "it has none yet"
        raise UnknownAccount(
            f"Operator {operator} has no account {name!r}; {known}",
            f"Open it with: jiaozi ledger account open {name!r}",
        )
    return ledger.open_account(operator, name)


def find_device(ledger: Ledger, text: str) -> dict:
    """The device of this name, or whose id begins so. Raises `UnknownDevice`, `BadInput` if there are several."""
    rows = ledger.devices(now())
    found = [row for row in rows if row["name"] == text] or [row for row in rows if row["id"].startswith(text.lower())]
    if not found:
        raise UnknownDevice(f"No device is called {text!r}, and no id begins so", "List them with: jiaozi report")
    if len(found) > 1:
        raise BadInput(
            f"{text!r} fits {len(found)} devices. Type more of the id: {', '.join(r['id'][:12] for r in found)}"
        )
    return found[0]


def blocked(device: dict) -> str:
    """Why a device gets nothing any more, for people; empty for a device in good standing."""
    if device["frozen"]:
        return f"frozen: {device['frozen']}"
    if device["lost_at"] is not None:
        return f"lost, reported on {output.day_text(device['lost_at'] // DAY_S)}"
    return "revoked by its operator" if device["revoked"] else ""
