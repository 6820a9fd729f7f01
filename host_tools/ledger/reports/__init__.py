"""What the books say, for people and for reconciliation. Reads only; amounts are integers in minor units.

    reconciliation   where every issued unit is
    devices, cases, account   one device, one matter, one account, as they stand
    activity         what moved over some days, by operator, by device or by day
    positions        what operators' devices paid each other's, netted

What moved is added up by the database from the postings (`figures`); no Transfer is looked at.
"""

from host_tools.ledger.reports.account import statement_of_account
from host_tools.ledger.reports.activity import MOST_DEVICES, by_day, by_device, by_operator
from host_tools.ledger.reports.cases import dead_letter_list, decision_list, evidence_list, suspense_list
from host_tools.ledger.reports.devices import device_list, load_list, transfer_list
from host_tools.ledger.reports.positions import positions
from host_tools.ledger.reports.reconciliation import reconciliation

__all__ = [
    "MOST_DEVICES",
    "by_day",
    "by_device",
    "by_operator",
    "dead_letter_list",
    "decision_list",
    "device_list",
    "evidence_list",
    "load_list",
    "positions",
    "reconciliation",
    "statement_of_account",
    "suspense_list",
    "transfer_list",
]
