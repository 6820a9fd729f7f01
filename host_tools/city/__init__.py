"""A city of devices that pay offline and sync, as signed uploads: for benchmarks of the ledger and for its scale."""
