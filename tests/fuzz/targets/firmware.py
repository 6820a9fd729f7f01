"""Modules of `firmware/`, on CPython as on the device."""

import sys

try:
    from tests.micropython import import_on_cpython as module
except ImportError:  # on the device

    def module(name: str):
        __import__(name)
        return sys.modules[name]
