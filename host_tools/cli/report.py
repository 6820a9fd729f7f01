"""`jiaozi report`: what the books say, in full, of one device, or of one account; or of some days (`activity`)."""

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from host_tools.cli import activity, control, journal_view, options, output, remote
from host_tools.cli import home as homes
from host_tools.cli.activity import Asked, By
from host_tools.cli.currencies import Currency
from host_tools.cli.device import kind_name
from host_tools.cli.exits import BadInput
from host_tools.cli.home import Home
from host_tools.cli.ledger import PARTS
from host_tools.ledger import Ledger
from host_tools.ledger.reports.span import Span
from protocol.errors import DecodeError
from protocol.objects import DAY_S, OPERATOR_PAYEE

_LONG_ID = re.compile(r"\b([0-9a-f]{64}|[0-9a-f]{32})\b")
_WHOLE_ID = re.compile("[0-9a-f]{32}")


def report(
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="DEVICE", show_default=False, help="One device, by name or beginning of its id."
        ),
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="NAME", show_default=False, help="One account, by name.")
    ] = None,
    by: Annotated[
        By | None,
        typer.Option(
            "--by", metavar="WHAT", show_default=False, help="What moved over some days: by operator, device or day."
        ),
    ] = None,
    positions: Annotated[bool, typer.Option("--positions", help="What operators owe each other, netted.")] = False,
    first: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="DAY", show_default=False, help="First day, like 2026-11-01 (UTC); 30 days up to --to."
        ),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DAY", show_default=False, help="Last day; today without it.")
    ] = None,
    csv: Annotated[
        str | None,
        typer.Option(
            "--csv", metavar="FILE", show_default=False, help="Write the lines as CSV to a new file, or - for stdout."
        ),
    ] = None,
    operator: Annotated[
        int | None,
        typer.Option(
            "--operator",
            metavar="NUMBER",
            show_default=False,
            help="Only this operator's; of --account whose, not needed if there is one key here.",
        ),
    ] = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    token_file: options.TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Where every issued unit is and the state of devices; or one device's payments; or one account's postings.

    With --by or --positions: what moved over some days, which a service tells as well (--ledger https://...).
    """
    here = Home(home, ledger)
    if positions and by:
        raise BadInput("Choose one: --by or --positions.")
    if positions or by:
        if account or (device and by is not By.DAY):
            raise BadInput("Of one device there is --by day, and --account goes with neither --by nor --positions.")
        span = activity.span_of(first, last, homes.now() // DAY_S)
        _tell_activity(here, Asked(by, span, operator, None, csv), device, token_file, as_json)
        return
    if first or last or csv:
        raise BadInput("--from, --to and --csv go with --by or --positions.")
    if device and account:
        raise BadInput("Choose one: --device or --account.")
    with here.ledger() as books:
        currency = homes.ledger_currency(books)
        if device:
            facts, parts = _of_device(books, device, currency)
        elif account:
            facts, parts = _of_account(books, here.operator_number(operator), account, currency)
        else:
            facts, parts = _of_all(books, currency)
    output.tell(as_json, {"currency": output.currency_facts(currency), **facts}, *parts)


def _tell_activity(here: Home, asked: Asked, device: str | None, token_file: Path | None, as_json: bool) -> None:
    """From the database, or from the service, which shows a token's own operator only."""
    if not here.is_service:
        with here.ledger() as books:
            who = bytes.fromhex(homes.find_device(books, device)["id"]) if device else None
            activity.tell(books, asked._replace(device=who), homes.ledger_currency(books), as_json)
        return
    if asked.operator is not None:
        raise BadInput("A service shows the figures of its token's operator. Leave --operator out.")
    if device and not _WHOLE_ID.fullmatch(device):
        raise BadInput("A service finds a device by its whole id only: type its 32 hex digits.")
    with remote.ledger(here, token_file, with_token=True) as service:
        (own,) = service.by_operator(Span(asked.span.last, asked.span.last))
        who = bytes.fromhex(device) if device else None
        activity.tell(service, asked._replace(device=who), homes.currency_of(service, own["operator"]), as_json)


def _of_all(books: Ledger, currency: Currency | None) -> tuple[dict, list[RenderableType]]:
    money = books.reconciliation()
    everybody = books.devices(homes.now())
    devices = [row for row in everybody if row["kind"] >> 4 != OPERATOR_PAYEE]
    letters, evidence = [_letter(row) for row in books.dead_letters()], books.evidence()
    names = {row["id"]: row["name"] for row in everybody}
    parts: list[RenderableType] = [_money(money, currency)]
    if devices:
        rows = [
            (
                row["name"],
                output.short(row["id"]),
                kind_name(row["kind"]),
                str(row["operator"]),
                _state(row),
                output.amount_text(row["held"], currency) if row["held"] else "",
            )
            for row in devices
        ]
        columns = ("name", "id", "kind", "operator", "state", "held back")
        parts += [output.heading("Devices"), output.listing(columns, rows, ("operator", "held back"))]
    waiting, decisions = books.suspense(), books.decisions()
    parts += _waiting(waiting, names, currency) + _decided(decisions, names, currency)
    if letters:
        rows = [
            (
                output.time_text(row["at"]),
                names.get(row["device"], output.short(row["device"])),
                "" if row["seq"] is None else str(row["seq"]),
                row["kind"] or "unreadable",
                row["reason"],
            )
            for row in letters
        ]
        columns = ("when", "device", "seq", "record", "why")
        parts += [output.heading("Records not taken"), output.listing(columns, rows, ("seq",))]
    if evidence:
        rows = [
            (output.time_text(row["at"]), names.get(row["device"], output.short(row["device"])), row["what"])
            for row in evidence
        ]
        parts += [output.heading("Evidence of fraud"), output.listing(("when", "device", "what"), rows)]
    facts = {"devices": devices, "waiting": waiting, "decisions": decisions}
    return {**money, **facts, "dead_letters": letters, "evidence": evidence}, parts


def _letter(letter: dict) -> dict:
    """With the record's `seq` and `kind`, as it says itself; None where it cannot be read."""
    try:
        said = journal_view.facts(bytes.fromhex(letter["record"]))
    except DecodeError:
        return letter | {"seq": None, "kind": None}
    return letter | {"seq": said["seq"], "kind": said["kind"]}


def _waiting(waiting: list[dict], names: dict[str, str], currency: Currency | None) -> list[RenderableType]:
    rows = [
        (
            output.short(row["hash"]),
            output.amount_text(row["amount"], currency),
            names.get(row["payer"], output.short(row["payer"])),
            names.get(row["payee"], output.short(row["payee"])),
            row["refusal"],
        )
        for row in waiting
    ]
    columns = ("payment", "amount", "payer", "payee", "refused because")
    return [output.heading("In suspense"), output.listing(columns, rows, ("amount",))] if rows else []


def _decided(decisions: list[dict], names: dict[str, str], currency: Currency | None) -> list[RenderableType]:
    rows = [
        (
            output.time_text(row["at"]),
            str(row["operator"]),
            f"payment {output.short(row['transfer'])} for the {row['what']}" if row["transfer"] else "dispute lifted",
            names[row["device"]],
            output.amount_text(row["amount"], currency),
            row["reason"],
        )
        for row in decisions
    ]
    columns = ("when", "operator", "what", "whose", "amount", "why")
    shown = output.listing(columns, rows, ("operator", "amount"))
    return [output.heading("Decided by people"), shown] if rows else []


def _money(money: dict, currency: Currency | None) -> RenderableType:
    rows = [
        (
            part.replace("_", " "),
            _LONG_ID.sub(lambda found: output.short(found[0]), name),
            output.amount_text(amount, currency),
        )
        for part in PARTS
        for name, amount in money[part].items()
        if amount or part in ("accounts", "purses")
    ]
    rows.append(("issued", "", output.amount_text(money["issued"], currency)))
    return output.listing(("where", "whose", "amount"), rows, ("amount",))


def _state(device: dict) -> str:
    state = homes.blocked(device) or ("disputed: for people to settle" if device["disputed"] else "good")
    if device["pay_back_day"] is None:
        return state
    return f"{state}; paid back from {output.day_text(device['pay_back_day'])} on"


def _of_device(books: Ledger, text: str, currency: Currency | None) -> tuple[dict, list[RenderableType]]:
    row = homes.find_device(books, text)
    who = bytes.fromhex(row["id"])
    names = {other["id"]: other["name"] for other in books.devices()}
    transfers, loads = books.transfers(who), books.loads(who)
    fields = {
        "device": row["id"],
        "name": row["name"],
        "kind": f"{kind_name(row['kind'])}, of operator {row['operator']}",
        "state": _state(row),
        "in the books": output.amount_text(row["purse"], currency),
    }
    if row["held"]:
        fields["held back"] = f"{output.amount_text(row['held'], currency)}, not to be redeemed now"
    if row["guaranteed"]:
        fields["guarantee bears"] = output.amount_text(row["guaranteed"], currency)
    fields |= control.limit_lines(row["limits"], currency)
    parts: list[RenderableType] = [output.fields(fields)]
    if loads:
        rows = [(str(load["number"]), output.amount_text(load["amount"], currency), load["state"]) for load in loads]
        parts += [output.heading("Loads"), output.listing(("load", "amount", "state"), rows, ("load", "amount"))]
    if transfers:
        rows = [_transfer_row(transfer, row["id"], names, currency) for transfer in transfers]
        parts += [output.heading("Payments"), output.listing(("payment", "amount", "with", "state"), rows, ("amount",))]
    return {"device": row, "loads": loads, "transfers": transfers}, parts


def _transfer_row(transfer: dict, own: str, names: dict[str, str], currency: Currency | None) -> tuple[str, ...]:
    paid = transfer["payer"] == own
    other = transfer["payee"] if paid else transfer["payer"]
    amount = -transfer["amount"] if paid else transfer["amount"]
    state = transfer["state"] + (f": {transfer['refusal']}" if transfer["refusal"] else "")
    state += f"; decided for the {transfer['decided']}" if transfer["decided"] else ""
    with_whom = f"{'to' if paid else 'from'} {names.get(other, output.short(other))}"
    return output.short(transfer["hash"]), output.amount_text(amount, currency), with_whom, state


def _of_account(
    books: Ledger, operator: int, name: str, currency: Currency | None
) -> tuple[dict, list[RenderableType]]:
    number = homes.account_number(books, operator, name)
    postings = books.postings(number)
    rows = [
        (
            output.time_text(row["at"]),
            row["reason"],
            output.amount_text(row["amount"], currency),
            output.amount_text(row["balance"], currency),
        )
        for row in postings
    ]
    shown = output.listing(("when", "what", "amount", "balance"), rows, ("amount", "balance"))
    facts = {"operator": operator, "account": name, "balance": books.balance(number), "postings": postings}
    return facts, [shown if rows else f"Nothing was posted to {name} yet."]
