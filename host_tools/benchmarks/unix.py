"""The device's cryptography on this computer: in the real MicroPython, unix port, beside PyNaCl in the same minute.

Times are of this computer alone. The ratio says more, and the number of octets that live on the heap.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

from nacl.signing import SigningKey

from host_tools.images.compile import shared_build
from host_tools.simulator.device import HEAP, micropython

_BOARD = "sim-wallet"
_TIMEOUT_S = 120
_MESSAGE = bytes(100)
_SEED = bytes(range(32))
# The quickest of many rounds counts, because whatever else a computer does only ever adds. What is timed at once takes
# less than a millisecond: on a busy computer hardly anything longer is left alone from beginning to end.
_ROUNDS = 200
_TIMES = 10  # of each of PyNaCl's in a round; MicroPython's are timed one by one

# Prints a JSON object.
_SCRIPT = """
import gc, json, sys, time
gc.collect()
empty = gc.mem_alloc()
from crypto import ed25519
message = bytes(100)
key = ed25519.SigningKey(bytes(range(32)))
signature = key.sign(message)
known = ed25519.PreparedKey(key.public)
other = ed25519.PreparedKey(ed25519.public_key(bytes(32)))
good = ed25519.verify(key.public, message, signature) and known.verify(message, signature)
gc.collect()
heap = gc.mem_alloc() - empty

def time_us(action, *arguments):
    started = time.ticks_us()
    action(*arguments)
    return time.ticks_diff(time.ticks_us(), started)

rounds = [
    (
        time_us(key.sign, message),
        time_us(ed25519.verify, key.public, message, signature),
        time_us(known.verify, message, signature),
    )
    for _ in range(ROUNDS)
]
print(json.dumps({
    "backend": "viper" if "crypto.field_viper" in sys.modules else "int",
    "signature": signature.hex() if good else "",
    "heap_bytes_unix64": heap,
    "sign_us": min([times[0] for times in rounds]),
    "verify_us": min([times[1] for times in rounds]),
    "verify_known_key_us": min([times[2] for times in rounds]),
}))
""".replace("ROUNDS", str(_ROUNDS))


class UnixError(Exception):
    """MicroPython did not compute what it should have; the message says what it did."""


def measure() -> dict[str, Any]:
    """Microseconds, their ratios to PyNaCl's, and bytes on the heap (64-bit objects, a key, two prepared keys).

    Raises `UnixError`, `SimulatorError` without MicroPython, `CompileError`.
    """
    facts = _micropython()
    key = SigningKey(_SEED)
    signature = key.sign(_MESSAGE).signature
    if facts.pop("signature") != signature.hex():
        raise UnixError("MicroPython's signature is wrong, so its time says nothing.")
    rounds = [
        (_time_us(lambda: key.sign(_MESSAGE)), _time_us(lambda: key.verify_key.verify(_MESSAGE, signature)))
        for _ in range(_ROUNDS)
    ]
    pynacl_sign = min(sign for sign, _ in rounds)
    pynacl_verify = min(verify for _, verify in rounds)
    return facts | {
        "pynacl_sign_us": round(pynacl_sign, 1),
        "pynacl_verify_us": round(pynacl_verify, 1),
        "sign_ratio": round(facts["sign_us"] / pynacl_sign, 1),
        "verify_ratio": round(facts["verify_us"] / pynacl_verify, 1),
        "verify_known_key_ratio": round(facts["verify_known_key_us"] / pynacl_verify, 1),
    }


def _micropython() -> dict[str, Any]:
    command = [micropython(), "-X", f"heapsize={HEAP}", "-c", _SCRIPT]
    environment = {**os.environ, "MICROPYPATH": f"{shared_build(_BOARD)}:.frozen"}
    try:
        process = subprocess.run(command, env=environment, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise UnixError(f"MicroPython did not finish in {_TIMEOUT_S} s.") from None
    if process.returncode:
        said = (process.stdout + process.stderr).decode(errors="replace").split("\n")
        raise UnixError(f"MicroPython failed: {' '.join(said).strip()[-300:]}")
    return json.loads(process.stdout)


def _time_us(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    for _ in range(_TIMES):
        action()
    return (time.perf_counter() - started) / _TIMES * 1e6
