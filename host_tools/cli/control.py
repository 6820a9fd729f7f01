"""What an operator, or the root over operators, decides of a device that is out there: `jiaozi operator limits`,
`unblock-pin` and `withdraw`, `jiaozi device lost` and `lock`.
"""

from pathlib import Path
from typing import Annotated

import typer

from host_tools import carrier
from host_tools.cli import home as homes
from host_tools.cli import links, money, options, output, remote
from host_tools.cli.currencies import Currency
from host_tools.cli.exits import BadInput
from host_tools.cli.home import Home
from host_tools.ledger import loads
from protocol.limits import LIMIT_FIELDS, MAX_IN_DOUBT
from protocol.objects import CLOSE_PROMPT, UNBLOCK_PIN, Order

_KEEP_PIN, _FORGET_PIN = 0, 1  # arguments of the Order

# What the Certificate has room for and a device can use.
_COUNTS = {"record_limit": 0xFFFF, "days_limit": 0xFF, "in_doubt_limit": MAX_IN_DOUBT}
_WORDS = {
    "balance_limit": ("holds at most", "{}"),
    "payment_limit": ("pays at once", "{}"),
    "sum_limit": ("between syncs", "{}"),
    "record_limit": ("", "{} records of its journal"),
    "days_limit": ("", "{} days"),
    "no_confirm_sum": ("unconfirmed", "{}, then its holder confirms"),
    "in_doubt_limit": ("", "from {} payments in doubt on its holder confirms each"),
}


def _amount_option(name: str, text: str):
    return typer.Option(name, metavar="AMOUNT", show_default=False, help=text)


def _count_option(name: str, text: str):
    return typer.Option(name, metavar="N", show_default=False, help=text)


def limits(
    device: options.Device,
    balance_limit: Annotated[str | None, _amount_option("--balance-limit", "Most that it may hold.")] = None,
    payment_limit: Annotated[str | None, _amount_option("--payment-limit", "Most that one payment may be.")] = None,
    sum_limit: Annotated[str | None, _amount_option("--sum-limit", "Most that it may pay between two syncs.")] = None,
    no_confirm_sum: Annotated[
        str | None, _amount_option("--no-confirm-sum", "Most that it may pay before its holder must confirm again.")
    ] = None,
    record_limit: Annotated[
        int | None, _count_option("--record-limit", "Most records of its journal between two syncs.")
    ] = None,
    days_limit: Annotated[
        int | None, _count_option("--days-limit", "Days after a sync on which it still pays.")
    ] = None,
    in_doubt_limit: Annotated[
        int | None, _count_option("--in-doubt-limit", "Payments in doubt from which on its holder confirms each.")
    ] = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Show a device's limits, or change those that are given. They take effect with the device's next sync."""
    amounts = {
        "balance_limit": balance_limit,
        "payment_limit": payment_limit,
        "sum_limit": sum_limit,
        "no_confirm_sum": no_confirm_sum,
    }
    counts = {"record_limit": record_limit, "days_limit": days_limit, "in_doubt_limit": in_doubt_limit}
    with Home(home, ledger).ledger() as books:
        row = homes.find_device(books, device)
        currency = homes.currency_of(books, row["operator"])
        changes = {name: money.parse(text, currency, minimum=0) for name, text in amounts.items() if text is not None}
        changes |= {name: _count(name, count) for name, count in counts.items() if count is not None}
        current = books.set_limits(bytes.fromhex(row["id"]), changes) if changes else row["limits"]
    facts = {
        "device": row["id"],
        "name": row["name"],
        "changed": sorted(changes),
        "limits": {name: current[name] for name in LIMIT_FIELDS},
        "currency": output.currency_facts(currency),
    }
    lines = output.fields(limit_lines(current, currency))
    if not changes:
        output.tell(as_json, facts, lines)
        return
    text = f"{row['name']} has new limits from its next sync on; until then it keeps the old ones."
    output.tell(as_json, facts, output.done(text), lines)


def _count(name: str, count: int) -> int:
    if not 0 <= count <= _COUNTS[name]:
        raise BadInput(f"--{name.replace('_', '-')} must be 0 to {_COUNTS[name]}, not {count}.")
    return count


def limit_lines(limits: dict, currency: Currency | None) -> dict[str, str]:
    """A device's limits in words, those that belong together on one line."""
    lines: dict[str, str] = {}
    for name in LIMIT_FIELDS:
        label, form = _WORDS[name]
        value = form.format(limits[name] if name in _COUNTS else output.amount_text(limits[name], currency))
        if label:
            lines[label] = value
        else:
            last = next(reversed(lines))
            lines[last] += f"; {value}"
    return lines


def unblock_pin(
    device: options.Device,
    forget: Annotated[
        bool, typer.Option("--forget", help="Take the PIN away, instead of giving its holder new tries.")
    ] = False,
    port: options.Port = None,
    reader: options.Reader = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    token_file: options.TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Sign the operator's order that unblocks the PIN of the connected device. See its owner's papers first.

    Over a service it needs a token: `read`, `devices`.
    """
    what = (UNBLOCK_PIN, _FORGET_PIN if forget else _KEEP_PIN)
    row, signed = _ordered(Home(home, ledger), device, port, reader, passphrase_file, token_file, *what)
    facts = {"device": row["id"], "name": row["name"], "order": signed.number, "forgotten": forget}
    text = "has no PIN any more." if forget else "takes its PIN again, with all its tries."
    output.tell(as_json, facts, output.done(f"{row['name']} {text}"))


def lock(
    device: options.Device,
    port: options.Port = None,
    reader: options.Reader = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    token_file: options.TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Close MicroPython's prompt on a device for good: its cable then takes the protocol's commands and nothing else.

    Needs the key of the device's operator; over a service a token: `read`, `devices`. New code keeps it closed.
    docs/hardening.md says what is left open.
    """
    row, signed = _ordered(Home(home, ledger), device, port, reader, passphrase_file, token_file, CLOSE_PROMPT, 0)
    facts = {"device": row["id"], "name": row["name"], "order": signed.number}
    output.tell(
        as_json,
        facts,
        output.done(f"{row['name']} is locked: its prompt is closed for good."),
        "Who holds the board can still read its flash: jiaozi device harden ends that, on boards of your own build.",
    )


def _ordered(
    here: Home,
    device: str,
    port: str | None,
    reader: str | None,
    passphrase_file: Path | None,
    token_file: Path | None,
    what: int,
    argument: int,
) -> tuple[dict, Order]:
    """Have the connected device, which must be the one that is named, do an Order of its operator."""
    links.check(port, reader)
    if here.is_service:
        with remote.ledger(here, token_file, True) as books, links.device(port, reader) as client:
            row = books.device(carrier.own_id(client))
            if device != row["name"] and not row["id"].startswith(device.lower()):
                raise carrier.other_device(row["id"], device)
            return row, carrier.order(client, books, None, what, argument, homes.now())
    with here.ledger() as books:
        row = homes.find_device(books, device)
        signer = here.operator_signer(row["operator"], passphrase_file)
        with links.device(port, reader) as client:
            carrier.named_device(client, bytes.fromhex(row["id"]), row["name"])
            return row, carrier.order(client, books, signer, what, argument, homes.now())


def withdraw(
    number: options.OperatorNumber,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Put an operator on the root's list: every device refuses it and all its devices. This cannot be taken back."""
    here = Home(home, ledger)
    homes.checked_operator(number)
    with here.ledger() as books:
        books.operator_certificate(number)  # raises for one that is not there, before a passphrase is asked for
        revocations = books.revoke_operator(here.root_signer(passphrase_file), number, homes.now())
    facts = {"operator": number, "epoch": revocations.epoch}
    output.tell(
        as_json,
        facts,
        output.done(f"Operator {number} is withdrawn, on the root's list number {revocations.epoch}."),
        "Other devices refuse the operator's as soon as they know of the list, from a sync or by tap from one that"
        " knows. The operator's own get no new certificate and no loads any more; they still settle.",
    )


def lost(
    device: options.Device,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Report a device lost, stolen or broken: it is blocked, and later its money goes back to its owner's account.

    Needs the key of the device's operator. This cannot be taken back.
    """
    here = Home(home, ledger)
    with here.ledger() as books:
        who = bytes.fromhex(homes.find_device(books, device)["id"])
        signer = here.operator_signer(books.device(who)["operator"], passphrase_file)
        day = books.report_lost(signer, who, homes.now())
        with output.telling():
            row = books.device(who)
            currency = homes.currency_of(books, row["operator"])
            on_its_way = sum(load["amount"] for load in books.loads(who) if load["state"] == loads.OUTSTANDING)
    facts = {
        "device": row["id"],
        "name": row["name"],
        "operator": row["operator"],
        "purse": row["purse"],
        "loads_in_transit": on_its_way,
        "pay_back_day": day,
        "pay_back_from": output.day_text(day),
        "currency": output.currency_facts(currency),
    }
    lines = {
        "in the books": output.amount_text(row["purse"] + on_its_way, currency),
        "paid back": f"from {facts['pay_back_from']} on",
    }
    output.tell(
        as_json,
        facts,
        output.done(f"{row['name']} is reported lost, and blocked by operator {row['operator']}."),
        output.fields(lines),
        "What it paid before and surfaces until then comes off first. Then jiaozi ledger book-overdue pays the rest to"
        " its owner's account. What surfaces later is honoured too: from that account as far as it goes, else from the"
        " operator's guarantee. This cannot be taken back.",
    )
