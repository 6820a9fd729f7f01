"""Around every request: its id, the rate limit, the log line, the metrics; and every exception becomes an answer."""

import asyncio
import logging
import secrets
import time
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from host_tools.ledger.errors import LedgerError
from host_tools.server import limits, logs
from host_tools.server.errors import Failure, ServiceError, TooMany, failure
from host_tools.server.limits import Buckets, Rate
from host_tools.server.metrics import Metrics

REQUEST_ID = b"x-request-id"
_DRAIN_MAX_BYTES = 1 << 20  # of a body that is refused: so much is read, so that the client gets to see why
_DRAIN_S = 5
_UNKNOWN = "none"  # the endpoint of a request that meets none, in logs and metrics


class Guard:
    """An ASGI application around another, whose scope gets `jiaozi.trail` (a dict for the log) and `jiaozi.allow`."""

    def __init__(self, app: ASGIApp, metrics: Metrics, per_address: Rate, per_token: Rate):
        self._app = app
        self._metrics = metrics
        self._addresses = Buckets(per_address)
        self._tokens = Buckets(per_token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Exchange(scope, receive, send).run(self)

    async def serve(self, exchange: "_Exchange") -> None:
        self._check(self._addresses, limits.client_of(exchange.address), "address")
        exchange.scope["jiaozi.allow"] = lambda digest: self._check(self._tokens, digest, "token")
        await self._app(exchange.scope, exchange.receive, exchange.send)

    def _check(self, buckets: Buckets, client: bytes | str, by: str) -> None:
        seconds = buckets.take(client)
        if seconds:
            self._metrics.limited.labels(by).inc()
            raise TooMany(seconds)

    def ended(self, exchange: "_Exchange") -> None:
        """Count it and write its line."""
        trail, seconds = exchange.trail, time.monotonic() - exchange.began
        endpoint = trail.get("endpoint", _UNKNOWN)
        known = exchange.scope["method"] if endpoint != _UNKNOWN else _UNKNOWN
        self._metrics.requests.labels(endpoint, known, str(exchange.status)).inc()
        self._metrics.seconds.labels(endpoint).observe(seconds)
        line = {"request_id": exchange.request_id, "method": known, "status": exchange.status, **trail}
        line |= {"ms": round(seconds * 1000, 1), "bytes": exchange.received, "client": exchange.address}
        level = logging.ERROR if exchange.status == 500 else logging.INFO
        logs.logger.log(level, "request", extra=line)


class _Exchange:
    """One request and its answer on their way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        self.scope = scope
        self._receive, self._send = receive, send
        self.request_id = secrets.token_hex(8)
        self.trail: dict[str, Any] = {}
        self.scope["jiaozi.trail"] = self.trail
        self.address: str = (scope.get("client") or ("none", 0))[0]
        self.began = time.monotonic()
        self.status = 0  # of an answer that nobody waited for
        self.received = 0
        self._more = True

    async def run(self, guard: Guard) -> None:
        try:
            await guard.serve(self)
        except ClientDisconnect:
            self.trail["error"] = "disconnected"
        except (LedgerError, ServiceError) as error:
            if isinstance(error.__cause__, Exception):
                self.trail |= logs.raised(error)
            await self._refuse(failure(error))
        except Exception as error:  # noqa: BLE001 - the last resort: one bad request must not end the service
            self.trail |= logs.raised(error)
            await self._refuse(failure(error))
        finally:
            guard.ended(self)

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (REQUEST_ID, self.request_id.encode())]
        await self._send(message)

    async def _refuse(self, refused: Failure) -> None:
        self.trail["error"] = refused.word
        if self.status:
            return  # too late: what was begun is cut off
        await self._drain()
        headers, body = refused.message(self.request_id)
        await self.send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _drain(self) -> None:
        """What is still coming of the body, within bounds."""
        until = self.received + _DRAIN_MAX_BYTES
        sent_something = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.scope["headers"])
        try:
            async with asyncio.timeout(_DRAIN_S):
                while sent_something and self._more and self.received < until:
                    await self.receive()
        except TimeoutError:
            pass
