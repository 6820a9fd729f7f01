"""From `boards/<name>`, `firmware/` and `protocol/` to what runs on a device."""
