"""How the ledger's tables came to be what they are, one file in `versions` per change; run by Alembic.

A change of `schema.py` needs a new one:

    .venv/bin/python -c 'from host_tools.ledger import opening; opening.draft("what changes")'

writes a draft, to be read and completed: what Alembic sees of a change is less than what there is to do. A published
migration is never changed. It names what it needs and imports nothing of `schema.py`, which goes on without it.
"""
