"""What is burnt into each chip: eFuses by espefuse's names, and from which revision on the chip can do it.

Sources: ESP-IDF Programming Guide, "Security Features Enablement Workflows", "Flash Encryption" and "Secure Boot v2" of
each chip, and espefuse's own tables. It is what the first of these asks for, without SECURE_BOOT_AGGRESSIVE_REVOKE:
that revokes the key at the first image that does not verify, so a flashing that was cut would be the device's end.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple


class Purpose(NamedTuple):
    """What a key block is for, on chips that write it down."""

    fuse: str
    value: int
    name: str


@dataclass(frozen=True)
class ChipFuses:
    """The part of the plan that differs between chips. The dictionaries are eFuse -> value in the end."""

    revision_minimum: int  # major * 100 + minor, of secure boot v2 with RSA
    key_block: str
    key_purpose: Purpose | None
    key_burn: tuple[str, ...]  # espefuse's words around the key's file
    digest_block: str
    digest_purpose: Purpose | None
    digest_burn: tuple[str, ...]
    closed: dict[str, int]  # side doors, shut before anything is switched on
    protected: tuple[str, ...]  # cannot be changed any more; others that share the bit are protected with them
    switched_on: dict[str, int]
    last: dict[str, int]
    free_blocks: tuple[str, ...]  # other key blocks, which must hold nothing
    aes_xts: bool  # how its flash is encrypted (ESP32 has a scheme of its own)
    jtag_title: str
    closed_too: str  # what else the side doors are, in words
    download_title: str
    download_does: str


_SECURE_DOWNLOAD = (
    "The boot loader in ROM takes only simple commands for the flash from now on: no program in RAM, no registers, no"
    " eFuses. Flash can still be written by cable, encrypted with this device's key and signed with yours."
)


def _with_key_blocks(*caches: str) -> ChipFuses:
    """ESP32-S3 and ESP32-C3: six blocks with purposes."""
    return ChipFuses(
        revision_minimum=0,
        key_block="BLOCK_KEY0",
        key_purpose=Purpose("KEY_PURPOSE_0", 4, "XTS_AES_128_KEY"),
        key_burn=("burn-key", "BLOCK_KEY0", "{}", "XTS_AES_128_KEY"),
        digest_block="BLOCK_KEY1",
        digest_purpose=Purpose("KEY_PURPOSE_1", 9, "SECURE_BOOT_DIGEST0"),
        digest_burn=("burn-key-digest", "BLOCK_KEY1", "{}", "SECURE_BOOT_DIGEST0"),
        closed={
            "DIS_PAD_JTAG": 1,
            "DIS_USB_JTAG": 1,
            "SOFT_DIS_JTAG": 7,
            **dict.fromkeys(caches, 1),
            "DIS_DOWNLOAD_MANUAL_ENCRYPT": 1,
            "DIS_DIRECT_BOOT": 1,
            "SECURE_BOOT_KEY_REVOKE1": 1,
            "SECURE_BOOT_KEY_REVOKE2": 1,
        },
        protected=("RD_DIS", "DIS_ICACHE"),
        switched_on={"SPI_BOOT_CRYPT_CNT": 7, "SECURE_BOOT_EN": 1},
        last={"ENABLE_SECURITY_DOWNLOAD": 1},
        free_blocks=tuple(f"BLOCK_KEY{number}" for number in range(2, 6)),
        aes_xts=True,
        jtag_title="pins and USB",
        closed_too="there is no second and no third signing key",
        download_title="Restrict the download mode",
        download_does=_SECURE_DOWNLOAD,
    )


CHIPS = {
    "esp32": ChipFuses(
        revision_minimum=300,
        key_block="BLOCK1",
        key_purpose=None,
        key_burn=("burn-key", "flash_encryption", "{}"),
        digest_block="BLOCK2",
        digest_purpose=None,
        digest_burn=("burn-key-digest", "{}"),
        closed={
            "JTAG_DISABLE": 1,
            "DISABLE_DL_ENCRYPT": 1,
            "DISABLE_DL_DECRYPT": 1,
            "DISABLE_DL_CACHE": 1,
            "CONSOLE_DEBUG_DISABLE": 1,
            "FLASH_CRYPT_CONFIG": 15,
        },
        protected=("RD_DIS", "DIS_CACHE"),
        switched_on={"FLASH_CRYPT_CNT": 127, "ABS_DONE_1": 1},
        last={"UART_DOWNLOAD_DIS": 1},
        free_blocks=(),
        aes_xts=False,
        jtag_title="pins",
        closed_too="all of the encryption key is used for every address",
        download_title="Close the download mode",
        download_does=(
            "The boot loader in ROM takes no commands any more. This chip knows nothing between open and closed: its"
            " flash can never be written by cable again, so its program stays what it is for good."
        ),
    ),
    "esp32s3": _with_key_blocks("DIS_DOWNLOAD_ICACHE", "DIS_DOWNLOAD_DCACHE"),
    "esp32c3": replace(_with_key_blocks("DIS_DOWNLOAD_ICACHE"), revision_minimum=3),
}
