"""Devices as operators take them on: registered, personalised and loaded."""

from collections.abc import Sequence
from typing import NamedTuple

from host_tools.city.device import Device
from host_tools.crypto import Signer
from host_tools.ledger import Ledger, NewDevice
from host_tools.ledger.books import MAX_AMOUNT


class Bank(NamedTuple):
    """An operator: its number, its key, and the account that all of its devices here belong to."""

    operator: int
    signer: Signer
    account: int


class Entry(NamedTuple):
    """A device to enrol; `load` is what it starts with, 0 for nothing."""

    device: Device
    name: str
    kind: int
    mcc: int
    load: int


def open_bank(ledger: Ledger, signer: Signer, operator: int, name: str, funds: int, now: int) -> Bank:
    """An operator's account of this name, into which `funds` are issued."""
    account = ledger.open_account(operator, name)
    for issued in range(0, funds, MAX_AMOUNT):
        ledger.issue(account, min(MAX_AMOUNT, funds - issued), now)
    return Bank(operator, signer, account)


def enrol(ledger: Ledger, bank: Bank, entries: Sequence[Entry], now: int) -> None:
    """Register and personalise the devices, order their loads and let them take these.

    The ledger has the loads in transit, and a purse overdrawn by what its device pays, until that device syncs.
    """
    wanted = [NewDevice(entry.device.key, entry.kind, entry.mcc, bank.account, entry.name) for entry in entries]
    pairs = ledger.register_devices(bank.signer, bank.operator, wanted, now)
    for entry, pair in zip(entries, pairs, strict=True):
        entry.device.install(*pair, bank.signer.public)
    loaded = [entry for entry in entries if entry.load]
    loads = ledger.order_loads(bank.signer, [(entry.device.id, entry.load) for entry in loaded], now)
    for entry, load in zip(loaded, loads, strict=True):
        entry.device.take((load.encode(),), bank.signer.public)
