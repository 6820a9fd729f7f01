"""The OpenAPI 3.1 document, made from the table of endpoints."""

from typing import Any

from host_tools.server import errors
from host_tools.server.endpoint import JSON, Endpoint
from host_tools.server.errors import OF_LEDGER, UNKNOWN, Said, ServiceError
from host_tools.server.framing import MEDIA, OFFSET
from host_tools.server.shapes import Shape
from host_tools.server.tokens import OPERATOR_SCOPES, ROOT_SCOPES

_ERROR = "#/components/schemas/Error"
_HEADERS = {
    errors.TooMany.said.status: ("Retry-After", "Seconds to wait"),
    errors.Unauthorized.said.status: ("WWW-Authenticate", "RFC 6750"),
}


def document(endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    """The whole document, as JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jiaozi ledger",
            "version": "1",
            "summary": "Settles what offline devices bring, and does what their operators order.",
            "description": "Amounts are whole minor units, binary values lower-case hex. Each answer has X-Request-Id.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": _error()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": _scopes()}},
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    parameters = [_parameter(name, "path", shape, True) for name, shape in endpoint.parameters.items()]
    parameters += [
        _parameter(name, "query", shape, name not in endpoint.query.optional)
        for name, shape in endpoint.query.fields.items()
    ]
    described: dict[str, Any] = {"operationId": endpoint.name, "summary": endpoint.about, "responses": {}}
    if parameters:
        described["parameters"] = parameters
    if endpoint.stream is not None:
        described["requestBody"] = {"required": True, "content": {MEDIA: {}}}
    elif endpoint.body is not None:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": endpoint.body.schema()}}}
    if endpoint.scope:
        described["security"] = [{"token": []}]
        described["description"] = f"Needs a token with the scope `{endpoint.scope}`."
    media = JSON if endpoint.stream is not None else endpoint.media
    for status, shape in endpoint.answers.items():
        described["responses"][str(status)] = _answer(status, shape, media, endpoint)
    for status, words in _refusals(endpoint).items():
        if str(status) not in described["responses"]:
            described["responses"][str(status)] = _refusal(status, words)
    return described


def _parameter(name: str, place: str, shape: Shape, required: bool) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": shape.schema()}


def _answer(status: int, shape: Shape | None, media: str, endpoint: Endpoint) -> dict[str, Any]:
    described: dict[str, Any] = {"description": endpoint.about if status == 200 else "As the schema says"}
    if shape is None or endpoint.stream is not None and status == 202:
        described["headers"] = {OFFSET: {"required": True, "schema": {"type": "integer"}}}
    if shape is not None:
        described["content"] = {media: {"schema": shape.schema()}}
    return described


def said_of(kind: type[Exception]) -> Said:
    """The row of an error's class."""
    return kind.said if issubclass(kind, ServiceError) else OF_LEDGER[kind]  # pyright: ignore[reportArgumentType]


def _refusals(endpoint: Endpoint) -> dict[int, list[str]]:
    """The words by status, in order."""
    found: dict[int, list[str]] = {}
    for said in sorted({said_of(kind) for kind in endpoint.all_refusals()}):
        found.setdefault(said.status, []).append(said.word)
    return found


def _refusal(status: int, words: list[str]) -> dict[str, Any]:
    only = {"properties": {"error": {"enum": words}}}
    described: dict[str, Any] = {
        "description": ", ".join(words),
        "content": {JSON: {"schema": {"allOf": [{"$ref": _ERROR}, only]}}},
    }
    if status in _HEADERS:
        name, about = _HEADERS[status]
        described["headers"] = {name: {"required": True, "description": about, "schema": {"type": "string"}}}
    return described


def _error() -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    fields = {
        "error": text | {"description": "For programs; never changes its meaning"},
        "what": text | {"description": "What happened"},
        "advice": text | {"description": "What to do next"},
        "money_moved": {"enum": [False, None], "description": f"null, of {UNKNOWN}: nobody knows"},
        "request_id": text | {"description": "Names the request in the service's log"},
    }
    free = {"free": {"type": "integer", "minimum": 0, "description": "What can be redeemed now, in minor units"}}
    return {"type": "object", "required": list(fields), "properties": fields | free, "additionalProperties": False}


def _scopes() -> str:
    rows = [f"`{name}`: {about}" for name, about in (OPERATOR_SCOPES | ROOT_SCOPES).items()]
    return "Scopes: " + "; ".join(rows) + "."
