"""`jiaozi device load` and `redeem`: money between the owner's account and the device."""

from typing import Any, TypeVar

from host_tools import carrier
from host_tools.cli import home as homes
from host_tools.cli import links, money, options, output, remote
from host_tools.cli.currencies import Currency
from host_tools.cli.home import Home
from host_tools.devices.client import DeviceClient
from host_tools.ledger.carriers import CarrierLedger
from host_tools.ledger.errors import InsufficientFunds, NotRedeemable

Key = TypeVar("Key")


def load(
    amount: options.Amount,
    operator: options.Operator = None,
    port: options.Port = None,
    reader: options.Reader = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    token_file: options.TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Move money from the owner's account into the device. Over a service it needs a token: `read`, `load`."""
    links.check(port, reader)
    here = Home(home, ledger)
    if here.is_service:
        with remote.ledger(here, token_file, True) as books, links.device(port, reader) as client:
            number = carrier.own_certificate(client, operator).operator
            currency = homes.currency_of(books, number)
            units = money.parse(amount, currency)
            facts = _loaded(client, books, None, units, currency)
    else:
        number = here.operator_number(operator)
        with here.ledger() as books:
            currency = homes.currency_of(books, number)
            units = money.parse(amount, currency)
            signer = here.operator_signer(number, passphrase_file)
            with links.device(port, reader) as client:
                carrier.own_certificate(client, number)
                facts = _loaded(client, books, signer, units, currency)
    _tell_moved(as_json, facts, f"{output.amount_text(units, currency)} loaded into {facts['name']}.", currency)


def redeem(
    amount: options.Amount,
    operator: options.Operator = None,
    port: options.Port = None,
    reader: options.Reader = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    token_file: options.TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Move money from the device back into its owner's account. Over a service it needs a token: `read`, `redeem`."""
    links.check(port, reader)
    here = Home(home, ledger)
    if here.is_service:
        with remote.ledger(here, token_file, True) as books, links.device(port, reader) as client:
            number = carrier.own_certificate(client, operator).operator
            currency = homes.currency_of(books, number)
            units = money.parse(amount, currency)
            facts = _redeemed(client, books, (None, None), units, currency)
    else:
        number = here.operator_number(operator)
        with here.ledger() as books:
            currency = homes.currency_of(books, number)
            units = money.parse(amount, currency)
            signers = here.operator_signers(number, passphrase_file)
            with links.device(port, reader) as client:
                carrier.own_certificate(client, number)
                facts = _redeemed(client, books, signers, units, currency)
    _tell_moved(as_json, facts, f"{output.amount_text(units, currency)} redeemed from {facts['name']}.", currency)


def _loaded(client: DeviceClient, books: CarrierLedger[Key], signer: Key, units: int, currency: Currency) -> dict:
    try:
        moved = carrier.load(client, books, signer, units, homes.now())
    except InsufficientFunds:
        raise _short_account(books, carrier.own_id(client), units, currency) from None
    with output.telling():
        return _moved_facts(books, moved, currency)


def _redeemed(
    client: DeviceClient, books: CarrierLedger[Key], signers: tuple[Key, Key], units: int, currency: Currency
) -> dict:
    try:
        moved = carrier.redeem(client, books, *signers, units, homes.now())
    except InsufficientFunds:
        raise _short_purse(books, client, units, currency) from None
    except NotRedeemable as error:
        free = f"{error.what}. {output.amount_text(error.free, currency)} can be redeemed now"
        raise type(error)(free, error.advice, error.free) from None
    with output.telling():
        return _moved_facts(books, moved, currency)


def _moved_facts(ledger: CarrierLedger[Any], moved: carrier.Moved, currency: Currency) -> dict:
    row = ledger.device(moved.device)
    return {
        "device": moved.device.hex(),
        "name": row["name"],
        "amount": moved.amount,
        "finished_earlier_one": moved.earlier,
        "device_balance": moved.balance,
        "account_balance": ledger.balance(row["account"]),
        "currency": currency._asdict(),
    }


def _tell_moved(as_json: bool, facts: dict, text: str, currency: Currency) -> None:
    balance = facts["device_balance"]
    gone = "not known, it did not say: sync it"
    lines = {
        "device holds": gone if balance is None else output.amount_text(balance, currency),
        "account holds": output.amount_text(facts["account_balance"], currency),
    }
    parts = [output.done(text), output.fields(lines)]
    if facts["finished_earlier_one"]:
        parts.append(
            output.warning(
                "This finished an earlier run that was cut off; nothing new was begun. Run it again for more."
            )
        )
    output.tell(as_json, facts, *parts)


def _short_account(ledger: CarrierLedger[Any], device: bytes, amount: int, currency: Currency) -> InsufficientFunds:
    held = output.amount_text(ledger.balance(ledger.device(device)["account"]), currency)
    return InsufficientFunds(
        f"The account holds {held}, less than {output.amount_text(amount, currency)}", "Choose a smaller amount"
    )


def _short_purse(
    ledger: CarrierLedger[Any], client: DeviceClient, amount: int, currency: Currency
) -> InsufficientFunds:
    """What the books do not know yet a sync tells them; what the device does not hold nothing brings."""
    held = client.info().balance
    if held < amount:
        return InsufficientFunds(
            f"The device holds {output.amount_text(held, currency)}, less than {output.amount_text(amount, currency)}",
            "Choose a smaller amount",
        )
    known = output.amount_text(ledger.device(carrier.own_id(client))["purse"], currency)
    return InsufficientFunds(
        f"The ledger knows of {known} on this device so far", "Run: jiaozi sync, then redeem again"
    )
