"""How much one client may ask for: token buckets, one for each address and each bearer token, in this process's memory.

A host that syncs a device makes three requests. A shop's hosts share one address behind its router; 200 of them may
come at once.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

JSON_MAX_BYTES = 4096  # four times the longest request to an operator endpoint

WORKERS = 8  # threads that may wait for the database at once: the engine's pool has as many connections, and a few more
WAITING_MAX = 1000  # calls that wait for a thread
CONNECTIONS_MAX = 2000
CONNECTIONS_PER_ADDRESS = 500  # each of a shop's 200 hosts may have two, and nobody has all
UPLOADS_WAITING_MAX = 1000  # whole uploads that wait to be settled
RECEIVE_TIMEOUT_S = 60  # a client of which nothing comes for so long has gone
RECEIVE_BYTES_PER_S = 200  # and one that is slower than this for so long; a modem of 2,400 baud is not
GRACE_S = 30  # how long a stop waits for what is under way


class Rate(NamedTuple):
    """`burst` requests at once, then `per_second`."""

    burst: int
    per_second: float


PER_ADDRESS = Rate(burst=1200, per_second=60.0)
PER_TOKEN = Rate(burst=600, per_second=30.0)
CLIENTS_MAX = 20_000  # whoever has asked for nothing the longest is forgotten


class Buckets:
    """One bucket for each client. Not for several threads: the event loop's."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic):
        self._rate = rate
        self._clock = clock
        self._left: OrderedDict[bytes | str, tuple[float, float]] = OrderedDict()

    def take(self, client: bytes | str) -> int:
        """0, or after how many seconds the client may ask again."""
        now = self._clock()
        left, at = self._left.pop(client, (float(self._rate.burst), now))
        left = min(self._rate.burst, left + (now - at) * self._rate.per_second)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        if len(self._left) > CLIENTS_MAX:
            self._left.popitem(last=False)
        return 0 if allowed else max(1, round((1 - left) / self._rate.per_second + 0.5))


def client_of(address: str) -> str:
    """Who is behind an address: an IPv6 customer has a whole /64 of them."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a socket without addresses
        return address
    return str(IPv6Address(int(parsed) >> 64 << 64)) if isinstance(parsed, IPv6Address) else address
