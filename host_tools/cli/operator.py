"""`jiaozi operator`: the central bank's root key, and the operators that it certifies."""

from pathlib import Path
from typing import Annotated

import typer

from host_tools import keys
from host_tools.cli import control, currencies, decide, options, output, passphrase
from host_tools.cli import home as homes
from host_tools.cli.currencies import Currency
from host_tools.cli.exits import BadInput
from host_tools.cli.home import Home
from host_tools.crypto import Signer
from host_tools.ledger import Ledger
from host_tools.ledger.errors import AlreadyRegistered, UnknownOperator
from protocol.objects import DAY_S, OPERATOR_PAYEE, OperatorCertificate

app = typer.Typer(no_args_is_help=True, help="The central bank's root key, and the operators it certifies.")

_YEARS_MAX = 50
_Years = Annotated[int, typer.Option("--years", metavar="N", help="How long the certificate is valid.")]
_RootPassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--root-passphrase-file",
        metavar="FILE",
        show_default=False,
        help="Like --passphrase-file, for the root key where its passphrase is another.",
    ),
]


@app.command()
def root(
    home: options.Home = options.DEFAULT_HOME,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Make the central bank's root key: the one key that every device believes."""
    here = Home(home)
    here.make_folder()
    _check_free(here.root_key_file)
    signer = keys.create(here.root_key_file, "root", passphrase.read(passphrase_file, "the root key", new=True))
    facts = {"file": str(here.root_key_file), "public_key": signer.public.hex()}
    output.tell(
        as_json,
        facts,
        output.done(f"Root key made: {here.root_key_file}"),
        output.fields({"public key": signer.public.hex()}),
        "Keep a copy of this file and its passphrase offline. Without them no operator can ever be added.",
    )


@app.command()
def create(
    number: options.OperatorNumber,
    currency: Annotated[str, typer.Option("--currency", metavar="CODE", help="ISO 4217 code, like CNY or EUR.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the operator is called.")],
    years: _Years = 5,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    root_passphrase_file: _RootPassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Make an operator: its key, its payee's key for redeeming, and its certificate, signed by the root.

    Was it cut off, run it again: it goes on where it stopped.
    """
    here = Home(home, ledger)
    homes.checked_operator(number)
    _check_years(years)
    money = _currency(currency)
    homes.checked_name(name, "an operator")
    now = homes.now()
    with here.ledger() as books:
        if number in [row["operator"] for row in homes.operator_rows(books)]:
            raise AlreadyRegistered(f"Operator {number} exists already", "Choose another number")
        kept = homes.ledger_currency(books)
        if kept not in (None, money):
            raise BadInput(f"This ledger keeps {kept.code}, one currency only. Make another ledger for {money.code}.")
        root_signer = here.root_signer(root_passphrase_file or passphrase_file)
        signer, payee = _operator_keys(here, number, passphrase_file)
        books.set_root(root_signer.public)
        certificate = _certified(books, number, signer.public) or _sign(
            root_signer, number, signer, money, 1, years, now
        )
        books.add_operator(certificate)
        account = books.open_account(number, name)
        books.register_device(signer, number, payee.public, OPERATOR_PAYEE << 4, 0, account, name, now)
    facts = _facts(certificate, name, key_here=True)
    output.tell(
        as_json,
        facts,
        output.done(f"Operator {number}, {name}, certified for {money.code} until {facts['valid_until']}"),
        output.fields({"key": str(here.operator_key_file(number)), "payee's key": str(here.payee_key_file(number))}),
    )


@app.command()
def renew(
    number: options.OperatorNumber,
    years: _Years = 5,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Sign an operator's next certificate; its devices get it with their next sync."""
    here = Home(home, ledger)
    homes.checked_operator(number)
    _check_years(years)
    with here.ledger() as books:
        old = books.operator_certificate(number)
        root_signer = here.root_signer(passphrase_file)
        today = homes.now() // DAY_S
        new = OperatorCertificate(
            operator=number,
            issue=old.issue + 1,
            key=old.key,
            currency=old.currency,
            exponent=old.exponent,
            valid_from=min(today, old.valid_from),  # what was issued under the old one stays valid under this
            valid_until=_last_day(today, years),
        ).sign(root_signer.sign)
        books.add_operator(new)
        name = next((row["name"] for row in homes.operator_rows(books) if row["operator"] == number), "")
    facts = _facts(new, name, number in here.operators())
    output.tell(as_json, facts, output.done(f"Operator {number} certified until {facts['valid_until']}"))


@app.command()
def revoke(
    device: options.Device,
    operator: options.Operator = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Put a device, of any operator, on the operator's list of blocked devices. This cannot be taken back."""
    here = Home(home, ledger)
    number = here.operator_number(operator)
    with here.ledger() as books:
        row = homes.find_device(books, device)
        signer = here.operator_signer(number, passphrase_file)
        revocations = books.revoke(signer, number, bytes.fromhex(row["id"]), homes.now())
    facts = {
        "device": row["id"],
        "name": row["name"],
        "operator": number,
        "epoch": revocations.epoch,
    }
    output.tell(
        as_json,
        facts,
        output.done(f"{row['name']} is blocked by operator {number}, on its list number {revocations.epoch}."),
        "Other devices refuse it as soon as they know of the list, from a sync or by tap from one that knows. The"
        " operator's own device gets no new certificate and no loads any more. What it holds is not paid back: for"
        " that, report it lost (jiaozi device lost).",
    )


app.command()(control.withdraw)
app.command()(control.limits)
app.command("unblock-pin")(control.unblock_pin)
app.command()(decide.decide)
app.command()(decide.clear)


@app.command("list")
def list_(
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """List the operators of the ledger."""
    here = Home(home, ledger)
    with here.ledger() as books:
        facts = []
        for row in homes.operator_rows(books):
            certificate = books.operator_certificate(row["operator"])
            known = _facts(certificate, row["name"], certificate.operator in here.operators())
            facts.append(known | {"withdrawn": books.operator_revoked(certificate.operator)})
    columns = ("operator", "name", "currency", "valid until", "key here", "state")
    lines = [
        (
            str(row["operator"]),
            row["name"],
            row["currency"]["code"],
            row["valid_until"],
            "yes" if row["key_here"] else "no",
            "withdrawn" if row["withdrawn"] else "good",
        )
        for row in facts
    ]
    shown = output.listing(columns, lines, ("operator",)) if lines else "No operators yet. Run: jiaozi operator create"
    output.tell(as_json, {"operators": facts}, shown)


def _check_free(file: Path) -> None:
    """A key file is never overwritten; say so before a passphrase is asked for."""
    if file.exists():
        raise keys.KeyFileError(f"{file} exists, and a key is never overwritten. Use it, or move it away.")


def _check_years(years: int) -> None:
    if not 1 <= years <= _YEARS_MAX:
        raise BadInput(f"--years must be 1 to {_YEARS_MAX}, not {years}.")


def _currency(code: str) -> Currency:
    found = currencies.by_code(code)
    if found is None:
        known = ", ".join(currency.code for currency in currencies.CURRENCIES)
        raise BadInput(f"{code!r} is no currency known here. There are: {known}.")
    return found


def _operator_keys(here: Home, number: int, file: Path | None) -> tuple[Signer, Signer]:
    """Both keys, made if they are not there; the files of an earlier, cut run are used again."""
    paths = (here.operator_key_file(number), here.payee_key_file(number))
    word = passphrase.read(file, f"the keys of operator {number}", new=not paths[0].exists())
    first, second = [
        keys.load(path, "operator", word) if path.exists() else keys.create(path, "operator", word) for path in paths
    ]
    return first, second


def _certified(ledger: Ledger, number: int, key: bytes) -> OperatorCertificate | None:
    """The operator's certificate of an earlier, cut run."""
    try:
        known = ledger.operator_certificate(number)
    except UnknownOperator:
        return None
    if known.key != key:
        raise AlreadyRegistered(f"Operator {number} has another key", "Choose another number")
    return known


def _sign(
    root: Signer, number: int, operator: Signer, currency: Currency, issue: int, years: int, now: int
) -> OperatorCertificate:
    today = now // DAY_S
    return OperatorCertificate(
        operator=number,
        issue=issue,
        key=operator.public,
        currency=currency.number,
        exponent=currency.exponent,
        valid_from=today,
        valid_until=_last_day(today, years),
    ).sign(root.sign)


def _last_day(today: int, years: int) -> int:
    return today + years * 1461 // 4


def _facts(certificate: OperatorCertificate, name: str, key_here: bool) -> dict:
    return {
        "operator": certificate.operator,
        "name": name,
        "currency": currencies.by_number(certificate.currency, certificate.exponent)._asdict(),
        "issue": certificate.issue,
        "public_key": certificate.key.hex(),
        "valid_from": output.day_text(certificate.valid_from),
        "valid_until": output.day_text(certificate.valid_until),
        "key_here": key_here,
    }
