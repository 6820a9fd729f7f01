"""What runs on a computer beside the devices: links to them, the build of their firmware, the ledger, the simulator."""
