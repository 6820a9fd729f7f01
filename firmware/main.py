"""Runs after boot.py: the application."""

from apps.start import run

run()
