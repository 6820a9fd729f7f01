"""Small scenes that several rules need, over the devices of `tests.unit.world` and the town of `tests.ledger.world`."""

from collections.abc import Callable

import pytest

from protocol.errors import Refused
from protocol.objects import Request, Transfer, Void
from tests.ledger.world import Town
from tests.unit.world import Device, Link, LinkLost, World, meet, sale, sale_tap

NewTown = Callable[[], Town]


def shop(balance: int = 1_000) -> tuple[World, Device, Device]:
    """A world with a terminal and a wallet."""
    world = World()
    return world, world.device("terminal", "terminal"), world.device("wallet", balance=balance)


def tap(terminal: Device, wallet: Device, cut_at: int = -1) -> str:
    """One tap for the open Request; what the reader can say of it: where the money is."""
    this = sale_tap(terminal)
    try:
        meet(this, wallet, Link(cut_at))
    except (LinkLost, Refused):
        wallet.card.reset()
    return this.moved


def commit(terminal: Device, wallet: Device, amount: int) -> Transfer:
    """A Transfer for the terminal's new Request, committed by the wallet and not yet shown to the terminal."""
    request = Request.decode(terminal.open(amount))
    paid = wallet.payer.pay(terminal.certificate, request, False, by_user=True, settle_older=False)
    return Transfer.decode(wallet.perform(paid))


def receive(payee: Device, transfer: Transfer, payer: Device) -> int:
    """The type byte of the payee's answer to a Transfer, 0 if it refuses."""
    try:
        return payee.perform(payee.payee.receive(transfer, payer.certificate))[0]
    except Refused:
        return 0


def refused(function: Callable, *arguments: object) -> bool:
    """Whether a device refuses it."""
    try:
        function(*arguments)
    except Refused:
        return True
    return False


def give_void(payee: Device, payer: Device, transfer_hash: bytes) -> None:
    """A Void that the payee signs, whatever it has credited, and the payer takes."""
    payer.perform(payer.payer.close(Void(transfer=transfer_hash).sign(payee.party.sign)))


def town_with_shop(new_town: NewTown) -> tuple[Town, Device, Device]:
    """A town with a terminal and a wallet, both through the ledger."""
    town = new_town()
    return town, town.device("shop", "terminal"), town.device("wallet", balance=900)


def torn_sale(terminal: Device, wallet: Device, amount: int, cut_at: int) -> None:
    with pytest.raises(LinkLost):
        sale(terminal, wallet, amount, link=Link(cut_at))
