"""`jiaozi sync`: a device's journal to the ledger, the ledger's answers to the device."""

from rich.text import Text

from host_tools import carrier
from host_tools.causes import explain
from host_tools.cli import home as homes
from host_tools.cli import links, options, output
from host_tools.cli.exits import CheckFailed
from host_tools.cli.home import Home


def sync(
    operator: options.Operator = None,
    port: options.Port = None,
    reader: options.Reader = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Bring ledger and device up to date with each other. Cut off? Run it again: nothing counts twice."""
    links.check(port, reader)
    here = Home(home, ledger)
    number = here.operator_number(operator)
    with here.ledger() as books:
        currency = homes.currency_of(books, number)
        signer = here.operator_signer(number, passphrase_file)
        with links.device(port, reader) as client:
            carrier.own_certificate(client, number)
            with output.progress("Reading the journal") as report:
                result = carrier.sync(client, books, signer, homes.now(), report)
            said = carrier.last_info(client)
        with output.telling():
            row = books.device(result.device)
    facts = {
        "device": result.device.hex(),
        "name": row["name"],
        "records": result.records,
        "accepted": result.accepted,
        "objects": result.objects,
        "certified": result.certified,
        "dead_letters": list(result.dead_letters),
        "refused": [{"object": name, "why": str(explain(cause))} for name, cause in result.refused],
        "note": result.note,
        "device_balance": said.balance if said else None,
        "in_doubt": said.in_doubt if said else None,
        "purse": row["purse"],
        "currency": output.currency_facts(currency),
    }
    if not result.certified:
        raise _not_certified(row, result)
    held = output.amount_text(said.balance, currency) if said else "not known, it left too early"
    lines = {"records read": str(result.records), "device holds": held}
    if said and said.in_doubt:
        lines["in doubt"] = f"{output.amount_text(said.in_doubt, currency)}, until the payees sync"
    output.tell(as_json, facts, output.done(f"{row['name']} is synced."), output.fields(lines), *_warnings(result))


def _warnings(result: carrier.SyncReport) -> list[Text]:
    kept = [f"The ledger kept a record aside: {reason}. See: jiaozi report" for reason in result.dead_letters]
    left = [f"The device did not take {name}. {explain(cause)}" for name, cause in result.refused]
    return [output.warning(text) for text in kept + left]


def _not_certified(row: dict, result: carrier.SyncReport) -> Exception:
    """What was uploaded is in the books, but the device got no new certificate."""
    if row["frozen"] or row["revoked"]:
        claim = "Its owner's claim is for people to settle."
        if row["pay_back_day"] is not None and not row["frozen"]:
            claim = f"Its money goes to its owner's account from {output.day_text(row['pay_back_day'])} on."
        return carrier.Blocked(f"{row['name']} is {homes.blocked(row)}. What it uploaded is in the books. {claim}")
    return CheckFailed(
        f"{row['name']} got no new certificate: {result.note}. What it uploaded is in the books, and no money is lost."
    )
