"""What happens when nobody comes: pending money is not left pending for ever."""

from sqlalchemy import Connection, select

from host_tools.ledger import registry, transfers
from host_tools.ledger.schema import devices
from protocol.limits import GRACE_DAYS
from protocol.objects import DAY_S


def book_overdue(connection: Connection, now: int) -> int:
    """Book what is pending to payees whose last Certificate expired GRACE_DAYS ago. Returns how many Transfers.

    To the payee, not back to the payer: a payee that was destroyed has most likely handed out the goods. Its Void or
    watermark, should one still come, moves the money from there to the payer.
    """
    booked = 0
    for device in connection.execute(select(devices)).all():
        last = registry.certificate_of(connection, device.id, device.issue)
        if last is not None and now // DAY_S > last[0].valid_until + GRACE_DAYS:
            booked += transfers.default_overdue(connection, device.id, now)
    return booked
