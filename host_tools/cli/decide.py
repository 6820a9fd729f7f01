"""What people decide in an operator's name: `jiaozi operator decide` and `clear`."""

from typing import Annotated

import typer

from host_tools.cli import home as homes
from host_tools.cli import options, output
from host_tools.cli.exits import BadInput
from host_tools.cli.home import Home
from host_tools.ledger import Ledger
from host_tools.ledger.errors import UnknownTransfer
from host_tools.ledger.transfers import FOR_PAYEE, FOR_PAYER

_Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the decision.")]


def decide(
    transfer: Annotated[
        str, typer.Argument(metavar="TRANSFER", help="The payment, by the beginning of its hash in jiaozi report.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="payee|payer", help="Who gets the money.")],
    reason: _Reason,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Give money in suspense to the payee that claims it, or back to the payer. This cannot be taken back.

    Needs the key of the payer's operator.
    """
    if to not in (FOR_PAYEE, FOR_PAYER):
        raise BadInput(f"--to must be {FOR_PAYEE} or {FOR_PAYER}, not {to!r}.")
    here = Home(home, ledger)
    with here.ledger() as books:
        payment = _find(books, transfer)
        signer = here.operator_signer(payment["operator"], passphrase_file)
        books.decide(signer, bytes.fromhex(payment["transfer"]), to, reason, homes.now())
        with output.telling():
            currency = homes.currency_of(books, payment["operator"])
            made = next(row for row in books.decisions() if row["transfer"] == payment["transfer"])
            name = books.device(bytes.fromhex(made["device"]))["name"]
    amount = output.amount_text(made["amount"], currency)
    hint = (
        "If that device has shown the payment as paid already, jiaozi ledger book-overdue passes the money on to its"
        " owner's account; else the device gets it back at its next sync."
    )
    output.tell(
        as_json,
        made | {"name": name, "currency": output.currency_facts(currency)},
        output.done(f"{amount} are {name}'s, the {to}'s."),
        hint if to == FOR_PAYER else "The money is in its purse. A void that the payee has signed would undo this.",
    )


def _find(books: Ledger, text: str) -> dict:
    """The operator and the hash of the payment in suspense, or decided already, that begins so."""
    known = {row["transfer"]: row["operator"] for row in books.decisions() if row["transfer"]}
    for row in books.suspense():
        known[row["hash"]] = books.device(bytes.fromhex(row["payer"]))["operator"]
    found = [hash_ for hash_ in known if hash_.startswith(text.lower())]
    if not found:
        raise UnknownTransfer(f"No payment in suspense begins with {text!r}", "List them with: jiaozi report")
    if len(found) > 1:
        raise BadInput(f"{text!r} fits {len(found)} payments. Type more of the hash: {', '.join(found)}")
    return {"transfer": found[0], "operator": known[found[0]]}


def clear(
    device: options.Device,
    reason: _Reason,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Lift the dispute over what a device took of frozen devices' money, up to what it has taken by now.

    Needs the key of the device's operator. See its owner's papers first.
    """
    here = Home(home, ledger)
    with here.ledger() as books:
        row = homes.find_device(books, device)
        signer = here.operator_signer(row["operator"], passphrase_file)
        amount = books.clear(signer, bytes.fromhex(row["id"]), reason, homes.now())
        with output.telling():
            currency = homes.currency_of(books, row["operator"])
    facts = {"device": row["id"], "name": row["name"], "amount": amount, "reason": reason}
    output.tell(
        as_json,
        facts | {"currency": output.currency_facts(currency)},
        output.done(f"{row['name']} is cleared up to {output.amount_text(amount, currency)}."),
        "It redeems again, and its next sync gives it a certificate, unless it takes more than that.",
    )
