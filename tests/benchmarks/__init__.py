"""How fast the ledger settles on real database servers: `make bench-settlement`, `make bench-settlement-flat`."""
