"""Errors of the storage layer. Corrupt is never empty, and nothing here is mended by wiping."""


class StorageError(Exception):
    """Root of this layer."""


class JournalCorrupt(StorageError):
    """Committed records cannot be read back: the device stops signing and needs service. Nothing was changed."""


class JournalFull(StorageError):
    """No space for this record; nothing was written. The device needs to sync."""


class JournalUncertain(StorageError):
    """The flash failed in the middle of a change: it may have happened or not. Nothing may leave the device.

    A new `Journal` over the same flash finds out and settles it for good.
    """


class SettingsCorrupt(StorageError):
    """Both copies of the settings are damaged: the device needs service."""
