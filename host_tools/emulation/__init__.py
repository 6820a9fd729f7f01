"""Runs a board's native code on the host, with exact instruction counts."""
