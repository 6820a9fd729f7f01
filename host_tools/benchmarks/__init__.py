"""What the device's cryptography costs: counted on emulated chips, timed on this computer. `docs/benchmarks.md`."""
