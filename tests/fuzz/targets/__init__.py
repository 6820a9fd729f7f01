"""What is fuzzed: each target takes any bytes and raises only if the code behind it breaks a promise.

Runs on CPython and on MicroPython. A target lets through no exception of the code it tests but those it names; it
asserts what must hold besides: one encoding of each value, nothing durable changed by what was refused, memory bounded.
"""

import sys

from tests.fuzz.targets import device, driver, objects, storage

ON_DEVICE = {target.__name__: target for layer in (objects, device, storage, driver) for target in layer.TARGETS}
TARGETS = dict(ON_DEVICE)
if sys.implementation.name == "cpython":
    from tests.fuzz.targets import host

    TARGETS.update({target.__name__: target for target in host.TARGETS})
