"""Flash encryption, secure boot, no JTAG and a restricted download mode, burnt into a chip's eFuses for good.

Espressif's own tools do it (espefuse, espsecure, esptool); this package says what is burnt, in which order and why, and
refuses what would destroy a chip or money. The reasoning stands in docs/hardening.md.
"""
