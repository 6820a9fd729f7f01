"""The device behind the port, before and after: what it says of its money, and that it runs again."""

import time
from dataclasses import dataclass

from host_tools.devices.client import DeviceClient
from host_tools.devices.errors import DeviceError, LinkGone
from host_tools.devices.serial_link import SerialLink
from protocol import apdu

_HELLO_TIMEOUT_S = 0.5  # of each try of `SerialLink`
_REOPEN_S = 0.5  # a chip's own USB port goes away while it starts


@dataclass(frozen=True)
class Said:
    """What a device says of itself. Amounts in minor units; without `device_id` and `key` it has no purse yet."""

    device_id: str | None
    operator: int | None
    flags: int
    key: bytes | None = None  # its public one
    balance: int = 0
    in_doubt: int = 0
    payments_in_doubt: int = 0
    unsynced_records: int = 0  # without the one by which the last sync took effect here, which nobody loses

    @property
    def is_empty(self) -> bool:
        """Whether nobody loses anything with it: no money, none in doubt, no record that the ledger lacks."""
        if self.flags & apdu.OUT_OF_SERVICE:
            return False
        return not (self.balance or self.in_doubt or self.payments_in_doubt or self.unsynced_records)


def ask(url: str, hello_tries: int) -> Said:
    """What the running device says. Raises `DeviceError` if none does."""
    with SerialLink(url, hello_resends=hello_tries - 1) as link:
        client = DeviceClient(link)
        if client.certificate is None:
            return Said(None, None, client.flags)
        said = client.info()
        return Said(
            said.device.hex(),
            said.operator,
            client.flags,
            client.certificate.key,
            said.balance,
            said.in_doubt,
            said.in_doubt_count,
            said.head_seq - said.base_seq - 1,
        )


def ask_if_there(url: str, hello_tries: int = 6) -> Said | None:
    """The same, None if nothing answers: it may be in download mode already, or have no firmware."""
    try:
        return ask(url, hello_tries)
    except DeviceError:
        return None


def wait_for(url: str, timeout_s: float) -> Said:
    """What the device says once it has started. Raises `DeviceError` after about `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            # One opening: on some boards each one is a reset.
            return ask(url, max(1, int((deadline - time.monotonic()) / _HELLO_TIMEOUT_S)))
        except LinkGone:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_REOPEN_S)
