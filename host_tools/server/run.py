"""From a ledger's URL and opened keys to a process that serves until it is told to stop."""

import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from host_tools.ledger import Ledger
from host_tools.ledger.errors import WrongSigner
from host_tools.ledger.opening import open_existing
from host_tools.server import limits, logs
from host_tools.server.app import application
from host_tools.server.connections import Connection
from host_tools.server.keyring import Keyring, Keys
from host_tools.server.service import Service
from host_tools.server.store import Store

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None

_KEEP_ALIVE_S = 30  # longer than a carrier pauses between two requests
_HEAD_MAX_BYTES = 16_384  # of a request: its line and headers
_BACKLOG = 1024  # connections that the system keeps while we are busy
_FILES = limits.CONNECTIONS_MAX + 200  # with the database's, the log and what Python has open


@dataclass(frozen=True)
class Place:
    """Where to listen. `certificate` and `key` are TLS's; `proxy` is whose word counts for a client's address."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    proxy: str | None = None


def open_service(url: str, keys: dict[int, Keys]) -> Service:
    """Raises what opening a ledger does, and `WrongSigner`, `UnknownOperator` for keys that are not its operators'."""
    engine = open_existing(url)
    ledger = Ledger(engine)
    for operator, pair in keys.items():
        if ledger.operator_certificate(operator).key != pair.operator.public:
            raise WrongSigner(f"The key is not operator {operator}'s in this ledger", "Use that operator's key file")
    return Service(ledger, Store(engine), Keyring(keys))


def serve(service: Service, place: Place, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then end what is under way and return. `ready` is told the URL.

    Raises OSError if nobody can listen there.
    """
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    listener = socket.create_server((place.host, place.port), family=family, backlog=_BACKLOG)
    host = f"[{place.host}]" if family == socket.AF_INET6 else place.host
    url = f"{'https' if place.certificate else 'http'}://{host}:{listener.getsockname()[1]}"
    logs.begin()
    _allow_files()
    server = uvicorn.Server(_config(application(service, started=lambda: ready(url)), place))

    def stop(*_: object) -> None:
        """Before uvicorn listens to signals, and after it, when it raises again the one that ended it."""
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run(sockets=[listener])


def _allow_files() -> None:
    """A descriptor for each connection: systems give a process 1,024 until it asks for more."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _config(app: ASGIApp, place: Place) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=place.proxy is not None,
        forwarded_allow_ips=place.proxy or "",
        ssl_certfile=place.certificate,
        ssl_keyfile=place.key,
        h11_max_incomplete_event_size=_HEAD_MAX_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=limits.GRACE_S,
        backlog=_BACKLOG,
    )
