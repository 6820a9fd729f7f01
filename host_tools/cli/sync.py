"""`jiaozi sync`: a device's journal to the ledger, the ledger's answers to the device."""

from typing import TypeVar

from rich.text import Text

from host_tools import carrier
from host_tools.causes import explain
from host_tools.cli import home as homes
from host_tools.cli import links, options, output, remote
from host_tools.cli.exits import CheckFailed
from host_tools.cli.home import Home
from host_tools.devices.client import DeviceClient
from host_tools.ledger.carriers import SyncLedger
from protocol.info import DeviceInfo

Key = TypeVar("Key")


def sync(
    operator: options.Operator = None,
    port: options.Port = None,
    reader: options.Reader = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Bring ledger and device up to date with each other. Cut off? Run it again: nothing counts twice.

    With a service as --ledger no key is needed: what the device has signed proves itself.
    """
    links.check(port, reader)
    here = Home(home, ledger)
    if here.is_service:
        with remote.ledger(here) as books, links.device(port, reader) as client:
            currency = homes.currency_of(books, carrier.own_certificate(client, operator).operator)
            result, said = _carried(client, books, None)
        row, standing = None, books.standing
    else:
        number = here.operator_number(operator)
        with here.ledger() as books:
            currency = homes.currency_of(books, number)
            signer = here.operator_signer(number, passphrase_file)
            with links.device(port, reader) as client:
                carrier.own_certificate(client, number)
                result, said = _carried(client, books, signer)
            with output.telling():
                row = standing = books.device(result.device)
    name = row["name"] if row else f"Device {output.short(result.device.hex())}"
    facts = {
        "device": result.device.hex(),
        "name": row["name"] if row else None,
        "records": result.records,
        "accepted": result.accepted,
        "objects": result.objects,
        "certified": result.certified,
        "dead_letters": list(result.dead_letters),
        "refused": [{"object": name, "why": str(explain(cause))} for name, cause in result.refused],
        "note": result.note,
        "device_balance": said.balance if said else None,
        "in_doubt": said.in_doubt if said else None,
        "purse": row["purse"] if row else None,
        "currency": output.currency_facts(currency),
    }
    if not result.certified:
        raise _not_certified(name, standing, result)
    held = output.amount_text(said.balance, currency) if said else "not known, it left too early"
    lines = {"records read": str(result.records), "device holds": held}
    if said and said.in_doubt:
        lines["in doubt"] = f"{output.amount_text(said.in_doubt, currency)}, until the payees sync"
    output.tell(as_json, facts, output.done(f"{name} is synced."), output.fields(lines), *_warnings(result))


def _carried(client: DeviceClient, books: SyncLedger[Key], signer: Key) -> tuple[carrier.SyncReport, DeviceInfo | None]:
    with output.progress("Reading the journal") as report:
        result = carrier.sync(client, books, signer, homes.now(), report)
    return result, carrier.last_info(client)


def _warnings(result: carrier.SyncReport) -> list[Text]:
    kept = [f"The ledger kept a record aside: {reason}. See: jiaozi report" for reason in result.dead_letters]
    left = [f"The device did not take {name}. {explain(cause)}" for name, cause in result.refused]
    return [output.warning(text) for text in kept + left]


def _not_certified(name: str, standing: dict | None, result: carrier.SyncReport) -> Exception:
    """What was uploaded is in the books, but the device got no new certificate."""
    if standing and (standing["frozen"] or standing["revoked"]):
        claim = "Its owner's claim is for people to settle."
        if standing["pay_back_day"] is not None and not standing["frozen"]:
            claim = f"Its money goes to its owner's account from {output.day_text(standing['pay_back_day'])} on."
        return carrier.Blocked(f"{name} is {homes.blocked(standing)}. What it uploaded is in the books. {claim}")
    return CheckFailed(
        f"{name} got no new certificate: {result.note}. What it uploaded is in the books, and no money is lost."
    )
