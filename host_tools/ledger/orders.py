"""Orders: what an operator tells a device to do. Numbered per device, since a device takes only growing numbers."""

from sqlalchemy import Connection, func, select

from host_tools.crypto import Signer
from host_tools.ledger import registry
from host_tools.ledger.errors import InvalidInput
from host_tools.ledger.schema import orders
from protocol.errors import LocalError
from protocol.objects import Order


def sign(connection: Connection, signer: Signer, device: bytes, what: int, argument: int, now: int) -> Order:
    """The device's next Order. A device that is frozen or revoked is told what to do as any other."""
    row = registry.locked(connection, device)
    registry.signing_operator(connection, signer, row.operator, now)
    last = select(func.coalesce(func.max(orders.c.number), 0)).where(orders.c.device == device)
    number = connection.execute(last).scalar_one() + 1
    try:
        order = Order(operator=row.operator, device=device, number=number, what=what, argument=argument)
        signed = order.sign(signer.sign)
    except LocalError as error:
        raise InvalidInput(
            f"There is no order {what} with argument {argument}", "Choose one of the protocol's orders"
        ) from error
    connection.execute(orders.insert().values(device=device, number=number, order=signed.encode(), at=now))
    return signed
