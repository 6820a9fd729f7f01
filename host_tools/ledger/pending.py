"""What waits for a device at the ledger, in numbers: for a host that wonders whether a sync is worth it."""

from sqlalchemy import Connection

from host_tools.ledger import loads, registry, resolutions
from host_tools.ledger.revocation import current_epoch
from protocol.trust import ROOT_ISSUER


def counts(connection: Connection, device: bytes) -> dict[str, int]:
    """Loads, Resolutions, and the epochs of its operator's and the root's lists. Reads only; raises `UnknownDevice`."""
    row = registry.device(connection, device)
    offered = [load for load in loads.outstanding(connection, device) if load.number > row.next_load_floor]
    return {
        "loads": 0 if row.revoked else len(offered),
        "resolutions": len(resolutions.ended(connection, [device]).get(device, [])),
        "epoch": current_epoch(connection, row.operator),
        "root_epoch": current_epoch(connection, ROOT_ISSUER),
    }
