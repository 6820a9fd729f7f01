"""Runs after boot.py, or out of that of a device whose prompt is closed: the application."""

# First: its tables and machine code want large pieces of memory, of which there are enough only now.
import crypto.ed25519  # noqa: F401
from start import run

run()
