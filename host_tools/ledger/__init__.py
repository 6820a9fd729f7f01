"""The ledger: double-entry books of accounts, purses and what is in transit between them. `Ledger` is the way in."""

from host_tools.ledger.answer import Settlement
from host_tools.ledger.deadlines import Overdue
from host_tools.ledger.enrolment import NewDevice
from host_tools.ledger.errors import LedgerError
from host_tools.ledger.ledger import Ledger
from host_tools.ledger.settlement import Upload

__all__ = ["Ledger", "LedgerError", "NewDevice", "Overdue", "Settlement", "Upload"]
