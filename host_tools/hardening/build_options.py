"""What a MicroPython of one's own must be built with: ESP-IDF's options, as they stand in the build's `sdkconfig`, and
the program that leaves no prompt (docs/hardening.md has both in full).

Official images are built without any of it.
"""

import re
from pathlib import Path

from host_tools.hardening.chips import CHIPS

# The text that the `_boot.py` of docs/hardening.md carries into the image: a build that has it has no prompt.
NO_PROMPT = b"jiaozi: no prompt"

REQUIRED = (
    "CONFIG_SECURE_BOOT=y",
    "CONFIG_SECURE_BOOT_V2_ENABLED=y",
    "CONFIG_SECURE_SIGNED_APPS_RSA_SCHEME=y",
    "CONFIG_SECURE_FLASH_ENC_ENABLED=y",
    "CONFIG_SECURE_FLASH_ENCRYPTION_MODE_RELEASE=y",
    "CONFIG_NVS_ENCRYPTION=y",
    "CONFIG_NVS_SEC_KEY_PROTECT_USING_FLASH_ENC=y",
    "CONFIG_PARTITION_TABLE_OFFSET=0x8000",
)
_MAXIMUM_FILE_BYTES = 1 << 20  # an sdkconfig of ESP-IDF 5 has 80 KB


def missing_options(sdkconfig: Path, chip: str) -> list[str]:
    """Which options the build lacks, `[]` if none; all of them if there is no such file. Raises `OSError`."""
    try:
        with sdkconfig.open("rb") as file:
            lines = file.read(_MAXIMUM_FILE_BYTES).decode(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    there = {line.strip() for line in lines}
    missing = [option for option in REQUIRED if option not in there]
    minimum = CHIPS[chip].revision_minimum
    if minimum and not _at_least(there, f"CONFIG_{chip.upper()}_REV_MIN_FULL", minimum):
        missing.append(f"CONFIG_{chip.upper()}_REV_MIN_FULL={minimum}")
    return missing


def _at_least(lines: set[str], option: str, minimum: int) -> bool:
    found = (re.fullmatch(f"{option}=([0-9]+)", line) for line in lines)
    return any(match and int(match[1]) >= minimum for match in found)
