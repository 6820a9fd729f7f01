"""One endpoint: what it takes and answers, as data, and the way of a request through it.

The description is what `openapi` publishes and what is checked here, so that a request which the document allows is
one that the endpoint takes.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from host_tools.ledger.errors import LedgerError, LedgerUnavailable
from host_tools.server import errors, limits, tokens
from host_tools.server.errors import BadRequest, Forbidden, TooLarge, TooSlow, Unauthorized, UnsupportedMedia
from host_tools.server.framing import MEDIA
from host_tools.server.service import Call, Service
from host_tools.server.shapes import Hex, Number, Record, Shape
from host_tools.server.tokens import ROOT_SCOPES, Token

JSON = "application/json"

NOTHING = Record({})
PATH: dict[str, Shape] = {
    "device": Hex(16, about="A device's id"),
    "account": Number(1, about="An account's number"),
    "operator": Number(1, 0xFFFF, about="An operator's number"),
    "load": Number(1, 0xFFFF_FFFF, about="A load's number"),
    "statement": Hex(32, about="SHA-256 of the upload's Statement"),
}


class Answer(NamedTuple):
    """What an endpoint answers where it is not just JSON with its usual status."""

    value: Any
    status: int = 200
    headers: dict[str, str] = {}
    media: str = JSON


Handler = Callable[[Call], Any]
BodyHandler = Callable[[Call, AsyncIterator[bytes]], Awaitable[Answer]]


@dataclass(frozen=True)
class Endpoint:
    """A row of the table (`endpoints`).

    `run` is called in a worker thread; `stream` instead of it takes the body piece by piece on the event loop.
    `answers` has a shape for each status (None: no body). `refusals` are errors beside those that all have.
    """

    method: str
    path: str
    name: str
    about: str
    answers: dict[int, Shape | None]
    run: Handler | None = None
    stream: BodyHandler | None = None
    scope: str = ""
    query: Record = NOTHING
    body: Record | None = None
    refusals: tuple[type[LedgerError | errors.ServiceError], ...] = ()
    media: str = JSON

    @property
    def parameters(self) -> dict[str, Shape]:
        """Of the path, by name."""
        names = [part[1:-1] for part in self.path.split("/") if part.startswith("{")]
        return {name: PATH[name] for name in names}

    def all_refusals(self) -> list[type[LedgerError | errors.ServiceError]]:
        """Every error that it may answer."""
        kinds: list[type[LedgerError | errors.ServiceError]] = [errors.TooMany, errors.Defect, *self.refusals]
        if self.parameters or self.query.fields or self.body or self.stream:
            kinds.append(BadRequest)
        if self.body or self.stream:
            kinds += [UnsupportedMedia, TooSlow]
        if self.body:
            kinds.append(TooLarge)
        if self.scope:
            kinds += [Unauthorized, Forbidden]
        if self.path.startswith("/v1/"):
            kinds += [errors.Busy, LedgerUnavailable]
        return list(dict.fromkeys(kinds))


async def answer(endpoint: Endpoint, service: Service, request: Request, allow: "AllowToken") -> Response:
    """The endpoint's answer to a request. Raises `ServiceError`, `LedgerError`."""
    trail = request.scope["jiaozi.trail"]
    token = await _token(endpoint, service, request, allow) if endpoint.scope else None
    if token is not None:
        trail |= {"token": token.id, "operator": token.operator}
        _check_scope(endpoint, token)
    path = {name: shape.parse(request.path_params[name], name) for name, shape in endpoint.parameters.items()}
    call = Call(service, token, path, _query(endpoint, request), {}, trail)
    if endpoint.stream is not None:
        _check_media(request, MEDIA)
        made = await endpoint.stream(call, body_of(request))
    else:
        if endpoint.body is not None:
            call.body.update(await _json(endpoint.body, request))
        assert endpoint.run is not None
        run = endpoint.run
        made = await service.workers.run(lambda: run(call))
    value, status, headers, media = made if isinstance(made, Answer) else Answer(made)
    if value is None:
        return Response(None, status, headers)
    return Response(json.dumps(value) if media == JSON else value, status, headers, media)


AllowToken = Callable[[bytes], None]  # raises `TooMany`


async def _token(endpoint: Endpoint, service: Service, request: Request, allow: AllowToken) -> Token:
    """Who asks. An unknown, an expired and a revoked token are refused alike."""
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not 0 < len(text) <= tokens.TEXT_MAX:
        raise Unauthorized
    digest = tokens.digest_of(text)
    allow(digest)
    token = await service.workers.run(lambda: service.store.token(digest))
    if token is None or not token.good(service.now()):
        request.scope["jiaozi.trail"]["token"] = None if token is None else token.id
        raise Unauthorized
    return token


def _check_scope(endpoint: Endpoint, token: Token) -> None:
    """Operators' endpoints are for operators' tokens, the central bank's for its own."""
    of_root = endpoint.scope in ROOT_SCOPES
    if endpoint.scope not in token.scopes or of_root != (token.operator is None):
        raise Forbidden(f"This token has not the scope {endpoint.scope!r}", "Use one that has it")


def _query(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    given = request.query_params
    if len(given) != len(given.multi_items()):
        raise BadRequest("A query parameter stands there twice", "Give each once")
    known = endpoint.query.fields
    parsed = {name: known[name].parse(text, name) if name in known else text for name, text in given.items()}
    missing = known.keys() - endpoint.query.optional - parsed.keys()
    if missing or parsed.keys() - known.keys():
        odd = f"lacks {', '.join(sorted(missing))}" if missing else "has parameters that nobody knows"
        raise BadRequest(f"The query {odd}", "See the service's /openapi.json")
    return parsed


async def _json(shape: Record, request: Request) -> dict[str, Any]:
    _check_media(request, JSON)
    data = bytearray()
    async for piece in body_of(request):
        data += piece
        if len(data) > limits.JSON_MAX_BYTES:
            raise TooLarge(f"A JSON body has at most {limits.JSON_MAX_BYTES} bytes", "Send less")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise BadRequest("The body is no JSON", "Send a JSON object in UTF-8") from None
    return shape.check(value, "body")


def _check_media(request: Request, wanted: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != wanted:
        raise UnsupportedMedia(f"The body's media type is not {wanted}", f"Send Content-Type: {wanted}")


async def body_of(request: Request) -> AsyncIterator[bytes]:
    """The pieces of the body as they come. Raises `TooSlow`, and `ClientDisconnect` when no more will.

    The client's time runs while the service waits for it, and what comes gives some of it back: whoever sends a byte a
    minute holds a connection no longer than whoever sends none.
    """
    pieces = request.stream()
    left_s = float(limits.RECEIVE_TIMEOUT_S)
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise TooSlow from None
        left_s += began - time.monotonic() + len(piece) / limits.RECEIVE_BYTES_PER_S
        left_s = min(left_s, limits.RECEIVE_TIMEOUT_S)
        yield piece
