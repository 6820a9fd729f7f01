"""The ledger as an HTTP service (`app`, `run`), and its client for carriers (`client`)."""
