"""The PIN of a device with digits: checking it, and typing it. Boards without a keypad do not carry this.

A check is counted before anything is compared, and its verdict is durable before it is shown or has any effect; both
verdicts take the same writes. What power ends in between is no verdict (`vault.PinState`).
"""

from micropython import const

from protocol import effects
from protocol.errors import MISMATCH, NOT_FOUND, Refused
from protocol.objects import TAKE_PIN_AWAY
from storage.vault import SALT_BYTES, PinState, new_pin, seal, stretch, unseal, wipe
from ui.screens import show_pin, show_pin_menu

_PIN = "pin"
_VAULT = "vault"
_MINIMUM_DIGITS = const(4)
_MAXIMUM_DIGITS = const(8)

# What is typed
_MENU = const(0)
_PRESENT = const(1)
_NEW = const(2)
_AGAIN = const(3)

# Keys of the menu
_CHANGE = "1"
_REMOVE = "2"
_POWER_ON = "3"


class Pin:
    """The PIN of one device. What touches its secret is called by `Device.guarded`."""

    def __init__(self, device):
        self._device = device

    @property
    def state(self) -> PinState | None:
        """None while no PIN is set."""
        stored = self._device.settings.get(_PIN)
        return PinState(stored) if stored else None

    def check(self, digits: str) -> bytes | None:
        """What the right PIN gives (`vault.stretch`), None if it is wrong or blocked."""
        device = self._device
        state = self.state
        if state is None or not state.tries_left:
            return None
        stretched = stretch(digits, state.salt)
        state.begun += 1
        device.perform([effects.Save({_PIN: state.encode()})])
        right = state.is_proof(device.port.device_secret(False), stretched)
        if right:
            state.wrong = state.begun = 0
        else:
            state.wrong += 1
            state.begun -= 1
        device.perform([effects.Save({_PIN: state.encode()})])
        return stretched if right else None

    def change(self, present: bytes, digits: str, at_power_on: bool) -> None:
        """Set another PIN (none: "") in one atomic step; `present` is what `check` gave of the present one."""
        device = self._device
        port = device.port
        secret, public = port.device_secret(False), device.party.public_key
        state, under, stored = self.state, b"", None
        if digits:
            salt = port.random_bytes(SALT_BYTES)
            stretched = stretch(digits, salt)
            stored = new_pin(secret, stretched, salt, at_power_on).encode()
            under = stretched if at_power_on else b""
        sealed = device.settings.get(_VAULT) or b""
        seed = unseal(secret, present if state and state.at_power_on else b"", public, sealed)
        try:
            sealed = seal(secret, under, port.random_bytes(SALT_BYTES), public, seed)
        finally:
            wipe(seed)
        device.perform([effects.Save({_PIN: stored, _VAULT: sealed})])

    def unblock(self, argument: int) -> dict:
        """The settings with which an operator's order takes effect. Raises `Refused`."""
        state = self.state
        if state is None:
            raise Refused(NOT_FOUND)
        if argument == TAKE_PIN_AWAY:
            if state.at_power_on:
                raise Refused(MISMATCH)  # without the PIN nobody opens the key again
            return {_PIN: None}
        state.wrong = state.begun = 0
        return {_PIN: state.encode()}


class PinPad:
    """Asks for digits on the screen, for one purpose at a time, until `press` says that it is over."""

    def __init__(self, device, screen):
        self._device = device
        self._screen = screen
        self._pin = device.pin = Pin(device)

    @property
    def is_set(self) -> bool:
        return self._pin.state is not None

    def menu(self) -> None:
        self.ask("", "", _MENU)

    def ask(self, title: str, choice: str = "", step: int = _PRESENT) -> None:
        """For the PIN, if nothing else is named: a choice of the menu, or what is typed first."""
        self._title = title
        self._choice = choice
        self._step = step
        self._note = self._digits = self._new = ""
        self._present = b""
        self.draw()

    def draw(self) -> None:
        state = self._pin.state
        if self._step == _MENU:
            show_pin_menu(self._screen, state and state.at_power_on)
        else:
            tries = state.tries_left if state and self._step == _PRESENT else None
            title = "NEW PIN" if self._step == _NEW else "NEW PIN AGAIN" if self._step == _AGAIN else self._title
            show_pin(self._screen, title, len(self._digits), tries, self._note)

    def press(self, key: str) -> bool | None:
        """True: it is done; False: given up; None: more is to be typed."""
        if key == "*" and not self._digits and not self._device.locked:
            return False
        if self._step == _MENU:
            if key == _CHANGE or key in (_REMOVE, _POWER_ON) and self.is_set:
                self.ask("PRESENT PIN", key, _PRESENT if self.is_set else _NEW)
            return None
        self._note = ""
        if key == "#":
            if self._device.guarded(self._enter):
                return True
        elif key == "*":
            self._digits = self._digits[:-1]
        elif "0" <= key <= "9" and len(self._digits) < _MAXIMUM_DIGITS:
            self._digits += key
        self.draw()
        return None

    def _enter(self) -> bool:
        """OK after the digits. True if that was all."""
        digits, self._digits = self._digits, ""
        state = self._pin.state
        at_power_on = bool(state and state.at_power_on)
        if len(digits) < _MINIMUM_DIGITS:
            self._note = "4 to 8 digits"
        elif self._step == _NEW:
            self._new, self._step = digits, _AGAIN
        elif self._step == _AGAIN:
            if digits == self._new:
                self._pin.change(self._present, digits, at_power_on)
                self._present, self._new = b"", ""
                return True
            self._note, self._step = "not the same", _NEW
        else:
            stretched = self._pin.check(digits)
            if not stretched:
                self._note = "wrong PIN"
            elif self._choice == _CHANGE:
                self._present, self._step = stretched, _NEW
            else:
                if self._choice:
                    is_kept = self._choice == _POWER_ON
                    self._pin.change(stretched, digits if is_kept else "", is_kept and not at_power_on)
                elif self._device.locked:
                    self._device.unlock(stretched)
                return True
        return False
