"""Plain records: the great majority of all, posted in sets.

A record is plain when every rule of `transfers`, `evidence` and `redeem` has nothing to say about it, because all that
it speaks of is in good standing (`standing`) and fits what the ledger knows. What is not plain is left to the rules,
one by one, and never decided here; so this package holds no rule of its own, and a test settles the same uploads with
and without it.

    installations   of Certificates: what is credited above them is judged by them
    credits         of Transfers that nobody has shown before, or that the payers have
    payments        debits and the closings that say they are paid, of Transfers that the payees have shown, or nobody

Each looks at all uploads of a batch together: what it reads and writes takes a few statements, however many there are.
"""

from host_tools.ledger.plain import credits, installations, payments

STAGES = (installations.post, credits.post, payments.post)  # most Transfers are shown by their payees first
