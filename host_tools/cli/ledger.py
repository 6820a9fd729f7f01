"""`jiaozi ledger`: make the ledger, look at it, check it, open accounts, issue money."""

from typing import Annotated

import typer
from rich.console import RenderableType

from host_tools.cli import home as homes
from host_tools.cli import money, options, output
from host_tools.cli.exits import BadInput, Exit
from host_tools.cli.home import Home
from host_tools.ledger import Ledger, opening
from host_tools.ledger.audit import Difference
from host_tools.ledger.errors import InvalidInput
from protocol.objects import OPERATOR_PAYEE

app = typer.Typer(no_args_is_help=True, help="The ledger: accounts, issued money, and whether the books balance.")
account_app = typer.Typer(no_args_is_help=True, help="Customer accounts.")
app.add_typer(account_app, name="account")

PARTS = ("accounts", "purses", "pending", "loads_in_transit", "guarantee", "suspense")
_Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the account at its operator.")]


@app.command()
def init(
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Make an empty ledger."""
    here = Home(home, ledger)
    here.check_url()
    if ledger is None:
        here.make_folder()
    Ledger.create(here.ledger_url).close()
    output.tell(as_json, {"ledger": here.shown_url}, output.done(f"Empty ledger made: {here.shown_url}"))


@app.command()
def migrate(
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Bring a ledger that an older version made to this one. End all programs that use it, and keep a copy, first."""
    here = Home(home, ledger)
    here.check_url()
    before, after = opening.migrate(here.ledger_url)
    facts = {"ledger": here.shown_url, "before": before, "after": after}
    migrated = f"migrated from version {before} of the tables to {after}"
    text = migrated if before != after else f"has version {after} of the tables already"
    output.tell(as_json, facts, output.done(f"{here.shown_url} {text}."))


@app.command()
def status(
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Where the issued money is, in sums."""
    with Home(home, ledger).ledger() as books:
        report = books.reconciliation()
        devices = [row for row in books.devices(homes.now()) if row["kind"] >> 4 != OPERATOR_PAYEE]
        currency = homes.ledger_currency(books)
        dead_letters = len(books.dead_letters())
    sums = {part: sum(report[part].values()) for part in PARTS}
    frozen = [row["name"] for row in devices if row["frozen"]]
    lost = [row["name"] for row in devices if row["lost_at"] is not None]
    revoked = [row["name"] for row in devices if row["revoked"] and row["lost_at"] is None]
    held = sum(row["held"] for row in devices)
    facts = {
        "currency": output.currency_facts(currency),
        "issued": report["issued"],
        **sums,
        "held": held,
        "difference": report["difference"],
        "devices": len(devices),
        "frozen": len(frozen),
        "lost": len(lost),
        "revoked": len(revoked),
        "dead_letters": dead_letters,
    }
    rows = [(part.replace("_", " "), output.amount_text(amount, currency)) for part, amount in sums.items()]
    rows.append(("issued", output.amount_text(report["issued"], currency)))
    parts: list[RenderableType] = [output.listing(("where", "amount"), rows, ("amount",)), ""]
    groups = (("frozen", frozen), ("lost", lost), ("revoked", revoked))
    parts.append(f"{len(devices)} devices")
    parts += [f"{len(names)} {state}: {', '.join(names)}" for state, names in groups if names]
    if held:
        parts.append(f"{output.amount_text(held, currency)} in purses cannot be redeemed now. See: jiaozi report")
    if dead_letters:
        parts.append(output.warning(f"{dead_letters} records were not taken. See: jiaozi report"))
    output.tell(as_json, facts, *parts)


@app.command()
def check(
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Recompute everything from what was signed, and compare: a full audit. Exit code 1 if anything differs.

    It reads one state of the ledger, which others may go on using, and changes nothing.
    """
    with Home(home, ledger).ledger() as books:
        with output.progress("Checking devices and payments") as progress:
            found = books.audit(progress)
        currency = None if found.total else homes.ledger_currency(books)
    facts = {
        "balanced": not found.total,
        "issued": found.issued,
        "currency": output.currency_facts(currency),
        "checked": dict(found.checked),
        "differences": found.total,
        "named": [difference._asdict() for difference in found.differences],
    }
    checked = output.fields({what: f"{count:,}" for what, count in sorted(found.checked.items())})
    if not found.total:
        issued = output.amount_text(found.issued, currency)
        output.tell(
            as_json, facts, checked, output.done(f"The books balance: of {issued} issued, every unit is there.")
        )
        return
    output.tell(as_json, facts, checked, output.heading("Differences"), *map(_difference, found.differences))
    more = found.total - len(found.differences)
    unnamed = f", {more:,} of them not named" if more else ""
    output.tell_failure(f"{found.total:,} differences{unnamed}. Stop, and keep a copy of the database.")
    raise typer.Exit(Exit.CHECK_FAILED)


def _difference(found: Difference) -> RenderableType:
    return f"{found.where}: {found.what} is {found.kept}, and should be {found.recomputed}"


@account_app.command("open")
def open_(
    name: _Name,
    operator: options.Operator = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Open an account; one of this name that is open already stays as it is."""
    here = Home(home, ledger)
    homes.checked_name(name, "an account")
    number = here.operator_number(operator)
    with here.ledger() as books:
        known = f"{number}:{name}" in books.reconciliation()["accounts"]
        account = books.open_account(number, name)
        facts = {"operator": number, "account": name, "number": account, "new": not known}
    output.tell(
        as_json, facts, output.done(f"Account {name} {'was open' if known else 'opened'} at operator {number}.")
    )


@account_app.command("list")
def list_(
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """List all accounts with their balances."""
    with Home(home, ledger).ledger() as books:
        accounts = [(*key.split(":", 1), amount) for key, amount in books.reconciliation()["accounts"].items()]
        currency = homes.ledger_currency(books)
    facts = {
        "currency": output.currency_facts(currency),
        "accounts": [
            {"operator": int(number), "account": name, "balance": amount} for number, name, amount in accounts
        ],
    }
    rows = [(number, name, output.amount_text(amount, currency)) for number, name, amount in accounts]
    shown = output.listing(("operator", "account", "balance"), rows, ("operator", "balance"))
    output.tell(as_json, facts, shown if rows else "No accounts yet. Run: jiaozi ledger account open NAME")


@app.command()
def issue(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Name of the account that receives the money.")],
    amount: options.Amount,
    operator: options.Operator = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Issue new money into an account, as the central bank: needs the root key."""
    here = Home(home, ledger)
    number = here.operator_number(operator)
    with here.ledger() as books:
        currency = homes.currency_of(books, number)
        units = money.parse(amount, currency, money.MAX_LEDGER_AMOUNT)
        target = homes.account_number(books, number, account)
        if here.root_signer(passphrase_file).public != books.root_key():
            raise BadInput(
                "This root key is not the ledger's. No money moved. Use the home of the ledger's central bank."
            )
        books.issue(target, units, homes.now())
        with output.telling():
            balance = books.balance(target)
    facts = {
        "operator": number,
        "account": account,
        "issued": units,
        "balance": balance,
        "currency": output.currency_facts(currency),
    }
    text = f"{output.amount_text(units, currency)} issued into {account}, which now holds"
    output.tell(as_json, facts, output.done(f"{text} {output.amount_text(balance, currency)}."))


@app.command("cancel-load")
def cancel_load(
    device: options.Device,
    number: Annotated[int, typer.Argument(metavar="LOAD", help="The load's number; see: jiaozi report --device.")],
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Stop offering a load that a device did not take. The money returns once syncs prove that it never will."""
    with Home(home, ledger).ledger() as books:
        row = homes.find_device(books, device)
        if not 0 < number < 1 << 32:
            raise InvalidInput(f"{number} is no load's number", "List them with: jiaozi report --device")
        books.cancel_load(bytes.fromhex(row["id"]), number)
    facts = {"device": row["id"], "cancelled_to": number}
    text = f"Load {number} of {row['name']}, and lower ones, are no longer offered."
    output.tell(as_json, facts, output.done(text), "Sync the device twice: then the money is back in the account.")


@app.command("book-overdue")
def book_overdue(
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Do what is due: book payments whose payee never came, freeze what nobody funded, pay lost devices back.

    Run it once a day. A payment that stays pending goes to its payee's owner, since a payee that was lost has most
    likely handed out the goods. A purse that stays below zero is booked to its operator's guarantee. The money of a
    lost device goes to its owner's account.
    """
    with Home(home, ledger).ledger() as books:
        done = books.book_overdue(homes.now())
    lines = [
        text
        for count, text in (
            (done.transfers, f"Overdue payments booked to their payees' accounts: {done.transfers}."),
            (done.unfunded, f"Devices frozen that nobody funded, booked to the guarantee: {done.unfunded}."),
            (done.paid_back, f"Lost devices whose money went back to their owners' accounts: {done.paid_back}."),
        )
        if count
    ]
    output.tell(as_json, done._asdict(), *[output.done(text) for text in lines or ["Nothing is overdue."]])
