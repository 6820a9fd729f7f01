"""Logs: one JSON object a line, on stderr.

What may stand in one is listed here: nothing that a client sent but the endpoint it met, and of an exception its type
and where it came from, never its text (a database's errors quote their parameters).
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

logger = logging.getLogger("jiaozi.server")

FIELDS = (
    "request_id",
    "method",
    "endpoint",
    "status",
    "error",
    "ms",
    "bytes",
    "client",
    "operator",
    "token",
    "uploads",
    "records",
    "dead_letters",
    "failed",
    "foreign",
    "raised",
    "where",
)
_FRAMES = 6


class JsonLines(logging.Formatter):
    """A record's event and its `FIELDS`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        if record.exc_info and record.exc_info[1] is not None:
            line |= raised(record.exc_info[1])
        return json.dumps(line)


def raised(error: BaseException) -> dict[str, Any]:
    """Type and place of an exception, and of what it came from."""
    kinds, frames = [], traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    cause: BaseException | None = error
    while cause is not None and len(kinds) < _FRAMES:
        kinds.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return {"raised": kinds, "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}


def begin(stream: TextIO | None = None) -> None:
    """Have everything in this process logged this way."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("jiaozi", "uvicorn"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.INFO)
    logging.getLogger("uvicorn.access").disabled = True  # ours has the request id, and no path or query
