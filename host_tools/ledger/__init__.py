"""The ledger: double-entry books of accounts, purses and what is in transit between them. `Ledger` is the way in."""

from host_tools.ledger.deadlines import Overdue
from host_tools.ledger.errors import LedgerError
from host_tools.ledger.ledger import Ledger
from host_tools.ledger.settlement import Settlement

__all__ = ["Ledger", "LedgerError", "Overdue", "Settlement"]
