"""`jiaozi device`: look at one device, set it up, read its journal; moving money stands in `moving`."""

from typing import Annotated

import typer

from host_tools import carrier
from host_tools.cli import control, journal_view, links, moving, options, output, remote
from host_tools.cli import home as homes
from host_tools.cli.currencies import Currency
from host_tools.cli.exits import BadInput
from host_tools.cli.harden import harden
from host_tools.cli.home import Home
from host_tools.ledger import LedgerError
from protocol import apdu
from protocol.objects import TERMINAL, WALLET

app = typer.Typer(no_args_is_help=True, help="One device, at a serial port or on an NFC reader.")

KINDS = {f"wallet-{level}": WALLET << 4 | level for level in range(1, 5)} | {"terminal": TERMINAL << 4}
_FLAGS = (
    (apdu.BUSY, "busy"),
    (apdu.OUT_OF_SERVICE, "out of service"),
    (apdu.RETIRED, "retired"),
    (apdu.LOCKED, "locked: it waits for its PIN"),
)


@app.command()
def info(
    port: options.Port = None,
    reader: options.Reader = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """What the device says of itself. Needs no ledger; with one, amounts are shown in its currency."""
    with links.device(port, reader) as client:
        states = [name for flag, name in _FLAGS if client.flags & flag]
        epochs = {"epoch": client.epoch, "root_epoch": client.root_epoch}
        certificate = client.certificate
        if certificate is None:
            facts = {"personalised": False, "states": states}
            output.tell(as_json, facts, "A device that is not set up yet. Run: jiaozi device personalise")
            return
        said = client.info()
    currency = _known_currency(Home(home, ledger), certificate.operator)
    facts = {
        "personalised": True,
        "device": said.device.hex(),
        "operator": said.operator,
        "kind": kind_name(certificate.kind),
        "currency": output.currency_facts(currency),
        "balance": said.balance,
        "in_doubt": said.in_doubt,
        "payments_in_doubt": said.in_doubt_count,
        "states": states,
        "locked": bool(said.flags & apdu.LOCKED),
        "prompt_closed": bool(said.flags & apdu.CLOSED),
        **epochs,
        "records": said.head_seq,
        "records_since_sync": said.head_seq - said.base_seq,
        "certificate_issue": said.issue,
        "valid_until": output.day_text(certificate.valid_until),
        "balance_limit": certificate.balance_limit,
        "payment_limit": certificate.payment_limit,
    }
    output.tell(as_json, facts, output.fields(_info_lines(facts, currency)))


def _info_lines(facts: dict, currency: Currency | None) -> dict[str, str]:
    def amount(name: str) -> str:
        return output.amount_text(facts[name], currency)

    lines = {"device": facts["device"], "kind": f"{facts['kind']}, of operator {facts['operator']}"}
    lines["balance"] = amount("balance")
    if facts["payments_in_doubt"]:
        lines["in doubt"] = f"{amount('in_doubt')}, {facts['payments_in_doubt']} payments: sync to settle them"
    if facts["states"]:
        lines["state"] = ", ".join(facts["states"])
    if not facts["prompt_closed"]:
        lines["prompt"] = "open at every start, for development: jiaozi device lock closes it"
    lines["limits"] = f"holds {amount('balance_limit')}, pays {amount('payment_limit')} at once"
    lines["certificate"] = f"number {facts['certificate_issue']}, valid until {facts['valid_until']}"
    lines["blocked devices"] = f"knows list {facts['epoch']} of its operator, {facts['root_epoch']} of the root"
    lines["journal"] = f"{facts['records']} records, {facts['records_since_sync']} not yet synced"
    return lines


@app.command()
def personalise(
    account: Annotated[str, typer.Option("--account", metavar="NAME", help="The owner's account, opened before.")],
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help=f"{', '.join(KINDS)}. Class 1 has the highest limits.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What to call the device; else the account's name.")
    ] = None,
    mcc: Annotated[
        int, typer.Option("--mcc", metavar="MCC", help="A terminal's merchant category, four digits (ISO 18245).")
    ] = 0,
    operator: options.Operator = None,
    port: options.Port = None,
    reader: options.Reader = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    token_file: options.TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Set up a new device: it makes its key, the operator certifies it. Cut off? Run the same again.

    Over a service it needs a token: `read`, `devices`.
    """
    if kind not in KINDS:
        raise BadInput(f"{kind!r} is no kind of device. There are: {', '.join(KINDS)}.")
    if not 0 <= mcc <= 9999 or (kind == "terminal") != (mcc > 0):
        raise BadInput("A terminal needs --mcc, four digits like 5814 (ISO 18245); a wallet has none.")
    links.check(port, reader)
    title = homes.checked_name(account if name is None else name, "a device")
    here = Home(home, ledger)
    what = (KINDS[kind], mcc)
    if here.is_service:
        with remote.ledger(here, token_file, True) as books, links.device(port, reader) as client:
            row = books.account_called(account)
            number = row["operator"]
            currency = homes.currency_of(books, number)
            who = carrier.personalise(client, books, None, number, *what, row["account"], title, homes.now())
            certificate = carrier.own_certificate(client)
    else:
        number = here.operator_number(operator)
        with here.ledger() as books:
            currency = homes.currency_of(books, number)
            target = homes.account_number(books, number, account)
            signer = here.operator_signer(number, passphrase_file)
            with links.device(port, reader) as client:
                who = carrier.personalise(client, books, signer, number, *what, target, title, homes.now())
                certificate = carrier.own_certificate(client)
    facts = {
        "device": who.hex(),
        "name": title,
        "kind": kind,
        "operator": number,
        "account": account,
        "currency": output.currency_facts(currency),
        "valid_until": output.day_text(certificate.valid_until),
    }
    limits = f"holds {output.amount_text(certificate.balance_limit, currency)} at most"
    lines = {"device": who.hex(), "account": account, "limits": limits, "valid until": facts["valid_until"]}
    output.tell(as_json, facts, output.done(f"{title} is set up, a {kind} of operator {number}."), output.fields(lines))


app.command()(moving.load)
app.command()(moving.redeem)
app.command()(control.lost)
app.command()(control.lock)
app.command("unblock-pin", hidden=True)(control.unblock_pin)  # stands under `operator`, whose decision it is
app.command()(harden)


@app.command()
def journal(
    port: options.Port = None,
    reader: options.Reader = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Read the records that the device has made since its last sync. Changes nothing."""
    with links.device(port, reader) as client:
        certificate = carrier.own_certificate(client)
        said = client.info()
        first, count = said.base_seq + 1, said.head_seq - said.base_seq
        with output.progress("Reading the journal") as report:
            stored = client.journal(first, said.head_seq, lambda done: report(done, count))
    currency = _known_currency(Home(home, ledger), certificate.operator)
    rows = [journal_view.facts(data) for data in stored]
    facts = {"device": said.device.hex(), "currency": output.currency_facts(currency), "records": rows}
    output.tell(as_json, facts, journal_view.listing(rows, currency) if rows else "No records since the last sync.")


def kind_name(kind: int) -> str:
    """`wallet-3`, `terminal`."""
    return next((name for name, known in KINDS.items() if known == kind), f"kind {kind}")


def _known_currency(home: Home, operator: int) -> Currency | None:
    """Of the device's operator, if the ledger is here and knows it: looking at a device needs neither."""
    try:
        with remote.ledger(home) if home.is_service else home.ledger() as books:
            return homes.currency_of(books, operator)
    except LedgerError:
        return None
