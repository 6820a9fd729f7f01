"""The operators' keys that this process was started with. They are in its memory and nowhere else."""

from typing import NamedTuple

from host_tools.crypto import Signer
from host_tools.server.errors import KeyNotHere


class Keys(NamedTuple):
    """An operator's key and its payee's."""

    operator: Signer
    payee: Signer


class Keyring:
    """Keys by the operator's number."""

    def __init__(self, keys: dict[int, Keys]):
        self._keys = dict(keys)

    def of(self, operator: int) -> Keys:
        """Raises `KeyNotHere`."""
        keys = self._keys.get(operator)
        if keys is None:
            raise KeyNotHere
        return keys

    def __repr__(self) -> str:
        return f"Keyring(of operators {sorted(self._keys)})"
