"""The bytes of what devices write most, compiled from the tables of `protocol`.

Owns speed only: every layout is read from `protocol.objects` and `protocol.records`, so it cannot drift from them. The
packers take a layout's fields by position and check nothing; whoever calls them gives what a device would.
"""

import struct
from collections.abc import Callable
from functools import partial

from protocol.layout import VERSION, Layout
from protocol.objects import Receipt, Request, Statement, Transfer, Void
from protocol.records import Closing, Installation, Loading, SnapshotHead

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def compiled(layout: type[Layout]) -> Callable[..., bytes]:
    """A function of the layout's fields, in their order, that returns its body."""
    fields = (_CODES[size] if size > 0 else f"{-size}s" for _, size in layout.FIELDS)
    return partial(struct.Struct(">BB" + "".join(fields)).pack, layout.TYPE, VERSION)


transfer_body = compiled(Transfer)
receipt_body = compiled(Receipt)
void_body = compiled(Void)
request_body = compiled(Request)
statement_body = compiled(Statement)
loading_body = compiled(Loading)
closing_body = compiled(Closing)
installation_body = compiled(Installation)
snapshot_body = compiled(SnapshotHead)

seq_bytes = struct.Struct(">I").pack  # what a stored record begins with
currency_bytes = struct.Struct(">H").pack  # what a Request's hash ends with
