"""The service as an ASGI application: the table of endpoints made into routes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from host_tools.server import limits, openapi
from host_tools.server.endpoint import Endpoint, answer
from host_tools.server.endpoints import ENDPOINTS
from host_tools.server.errors import MethodNotAllowed, NotFound
from host_tools.server.guard import Guard
from host_tools.server.limits import Rate
from host_tools.server.logs import logger
from host_tools.server.service import Service

_TIDY_S = 3600  # how often old pieces of uploads are looked for


def application(
    service: Service,
    per_address: Rate = limits.PER_ADDRESS,
    per_token: Rate = limits.PER_TOKEN,
    started: Callable[[], None] = lambda: None,
) -> ASGIApp:
    """Runs and, at the end, closes `service`. `started` is called when a stop would be an orderly one."""
    service.document = openapi.document(ENDPOINTS)
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    routes = [Route(path, _Place(service, methods)) for path, methods in by_path.items()]
    router = Router(routes, redirect_slashes=False, default=_nothing_here, lifespan=_lifespan(service, started))
    return Guard(router, service.metrics, per_address, per_token)


class _Place:
    """The endpoints of one path, by method."""

    def __init__(self, service: Service, methods: dict[str, Endpoint]):
        self._service = service
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._methods.get(scope["method"])
        if endpoint is None:
            allowed = ", ".join(self._methods)
            raise MethodNotAllowed("This endpoint has not this method", f"Use {allowed}", {"Allow": allowed})
        scope["jiaozi.trail"]["endpoint"] = endpoint.path
        request = Request(scope, receive, send)
        response = await answer(endpoint, self._service, request, scope["jiaozi.allow"])
        await response(scope, receive, send)


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFound("There is no such endpoint", "See /openapi.json")


def _lifespan(service: Service, started: Callable[[], None]):
    @asynccontextmanager
    async def lifespan(_app: Router) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(service.poster.run()), asyncio.create_task(_tidy(service))]
        try:
            started()
            yield
        finally:  # no request is under way any more, or none that anybody waits for
            await asyncio.to_thread(service.close)
            for task in tasks:
                task.cancel()
            logger.info("stopped")

    return lifespan


async def _tidy(service: Service) -> None:
    while True:
        try:
            await service.workers.run(lambda: service.store.drop_old_uploads(service.now()))
        except Exception:  # noqa: BLE001 - it is tried again in an hour, and nothing depends on it
            logger.warning("old uploads could not be dropped", exc_info=True)
        await asyncio.sleep(_TIDY_S)
