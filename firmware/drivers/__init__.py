"""Chips and the protocols they speak. One file per chip; no application knowledge."""
