"""What the endpoints that need no token do, but for uploads (`uploads`)."""

from typing import Any

from host_tools.ledger.errors import UnknownDevice
from host_tools.server import metrics as counters
from host_tools.server.endpoint import Answer
from host_tools.server.service import Call
from host_tools.server.shapes import Choice, Flag, Record, Shape

METRICS_MEDIA = counters.CONTENT_TYPE
HEALTH = Record({"status": Choice(("ok", "unavailable")), "database": Flag("Whether it answers")})


class _Anything(Shape):
    def schema(self) -> dict[str, Any]:
        return {"type": "object"}


ANYTHING = _Anything()


def health(call: Call) -> Answer:
    answers = call.store.answers()
    return Answer({"status": "ok" if answers else "unavailable", "database": answers}, 200 if answers else 503)


def metrics(call: Call) -> Answer:
    return Answer(call.service.metrics.text(), media=METRICS_MEDIA)


def document(call: Call) -> dict:
    return call.service.document


def root(call: Call) -> dict:
    return {"key": call.ledger.root_key().hex()}


def operator(call: Call) -> dict:
    return {"certificate": call.ledger.operator_certificate(call.path["operator"]).encode().hex()}


def begin_sync(call: Call) -> dict:
    nonce, first = call.ledger.begin_sync(_registered(call), call.now)
    return {"nonce": nonce.hex(), "first_seq": first}


def pending(call: Call) -> dict:
    return call.store.pending(_registered(call))


def _registered(call: Call) -> bytes:
    device = call.path["device"]
    if call.store.party(device) is None:  # kept in memory: who tries ids finds nothing, and costs little
        raise UnknownDevice(f"Device {device.hex()} is not registered", "Personalise it first")
    return device
