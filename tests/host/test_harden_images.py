"""From one's own MicroPython to images for an encrypting chip: what is refused, what is signed, what decrypts back."""

import re
from pathlib import Path

import pytest

from host_tools.hardening import images, layout, tools
from host_tools.hardening.build_options import NO_PROMPT, REQUIRED, missing_options
from host_tools.hardening.chips import CHIPS
from host_tools.hardening.errors import ImageNotFit, KeyNotFit, ToolFailed
from host_tools.hardening.keys import Keys
from host_tools.images import filesystem, partition_table
from host_tools.images.image import build_image
from tests.host import stand_in
from tests.host.harden_bench import MAC, OPTIONS, board_of, made_keys, own_build, padded, whole

DOCUMENT = Path(__file__).parents[2] / "docs" / "hardening.md"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return made_keys(tmp_path_factory.mktemp("keys"))


@pytest.mark.parametrize("chip", sorted(CHIPS))
def test_images_are_signed_and_encrypted_and_come_back_equal(chip: str, keys: Keys, tmp_path: Path) -> None:
    board, build = board_of(chip), own_build(tmp_path / "build", chip)
    contents = images.read_images(board, build)
    images.write_images(board, keys, contents)
    for place in layout.places(board):
        encrypted = Path(keys.own, place.encrypted).read_bytes()
        # Apart from the commands that the plan uses: espsecure with its own defaults, and a file of its own.
        options = [] if chip == "esp32" else ["--aes-xts"]
        words = ["--keyfile", str(keys.flash_key), "--address", hex(place.offset_bytes)]
        plain = tmp_path / f"{place.name}.bin"
        source = str(keys.own / place.encrypted)
        tools.run(("espsecure", "decrypt-flash-data", *options, *words, "--output", str(plain), source))
        decrypted = plain.read_bytes()
        assert decrypted.startswith(contents[place.name])
        assert len(encrypted) == len(decrypted) <= place.room_bytes
        assert encrypted != decrypted
        if place.name in layout.SIGNED:
            verify = ("verify-signature", "--version", "2", "--keyfile", str(keys.signing_key), str(plain))
            tools.run(("espsecure", *verify))
            assert len(decrypted) % 4096 == 0 and decrypted[-4096:-4094] == b"\xe7\x02"
    built = build_image(board.name, build)
    code = next(part for part in built.parts if part.name == "code")
    vfs = board.partition("vfs")
    assert contents[layout.CODE].ljust(vfs.size_bytes, b"\xff") == code.data
    assert filesystem.used_bytes(contents[layout.SETTINGS].ljust(board.partition("settings").size_bytes, b"\xff"))


@pytest.mark.parametrize("chip", sorted(CHIPS))
def test_the_table_says_what_the_chip_encrypts(chip: str) -> None:
    board = board_of(chip)
    table = {entry.name: entry for entry in partition_table.read_table(layout.table_bytes(board))}
    assert {name for name, entry in table.items() if entry.flags} == {"vfs", "settings", "journal", "nvs_keys"}
    assert all(entry.flags in (0, 1) for entry in table.values())
    keys, nvs = table["nvs_keys"], board.partition("nvs")
    assert (keys.type, keys.subtype, keys.size) == (1, 4, 4096)  # ESP-IDF: data, nvs_keys
    assert (table["nvs"].offset, table["nvs"].size + keys.size) == (nvs.offset_bytes, nvs.size_bytes)
    assert keys.offset == table["nvs"].offset + table["nvs"].size
    for partition in board.partitions:
        if partition.name != "nvs":
            entry = table[partition.name]
            assert (entry.offset, entry.size) == (partition.offset_bytes, partition.size_bytes)


def test_an_official_image_is_refused_and_all_that_is_missing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "ESP32_GENERIC_C3-v1.28.0.bin"
    path.write_bytes(stand_in.stand_in("esp32c3"))
    with pytest.raises(ImageNotFit) as refusal:
        images.read_images(board_of("esp32c3"), path)
    for option in (*REQUIRED, "CONFIG_ESP32C3_REV_MIN_FULL=3", "_boot.py without a prompt", "padding", "hardening.md"):
        assert option in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("option", OPTIONS[:-1])
def test_each_option_that_the_build_lacks_is_named(option: str, tmp_path: Path) -> None:
    config = tmp_path / "sdkconfig"
    config.write_text("\n".join(OPTIONS))
    assert missing_options(config, "esp32") == []
    name = option.partition("=")[0]
    config.write_text("\n".join(f"# {name} is not set" if line == option else line for line in OPTIONS))
    assert missing_options(config, "esp32") == [option]


def test_a_build_for_newer_chips_alone_is_taken(tmp_path: Path) -> None:
    config = tmp_path / "sdkconfig"
    lines = [*REQUIRED, "CONFIG_ESP32C3_REV_MIN_FULL=101"]
    config.write_text("\n".join(lines))
    assert missing_options(config, "esp32c3") == []
    config.write_text("\n".join([*REQUIRED, "CONFIG_ESP32C3_REV_MIN_FULL=2"]))
    assert missing_options(config, "esp32c3") == ["CONFIG_ESP32C3_REV_MIN_FULL=3"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"greeting": b"hello"}, "it lacks: the _boot.py without a prompt. Build"),
        ({"is_padded": False}, "it lacks: the padding of an app that is to be signed. Build"),
        ({"options": OPTIONS[1:]}, "it lacks: CONFIG_SECURE_BOOT=y. Build"),
    ],
)
def test_a_build_that_lacks_one_thing_is_refused(wrong: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFit, match=re.escape(words)):
        images.read_images(board_of("esp32c3"), own_build(tmp_path, "esp32c3", **wrong))


def signed_build(folder: Path, chip: str, key: Path) -> Path:
    """As the build signs with CONFIG_SECURE_BOOT_BUILD_SIGNED_BINARIES."""
    path = own_build(folder, chip)
    parts = {"bootloader": stand_in.bootloader(chip), "app": own_app(path, chip)}
    for name, data in parts.items():
        folder.joinpath(name).write_bytes(data)
        sign(folder / name, key)
    return whole(path, chip, folder.joinpath("bootloader").read_bytes(), folder.joinpath("app").read_bytes())


def sign(path: Path, key: Path) -> None:
    plain = path.rename(path.with_suffix(".unsigned"))
    words = ("--version", "2", "--keyfile", str(key), "--output", str(path), str(plain))
    tools.run(("espsecure", "sign-data", *words))


def own_app(path: Path, chip: str) -> bytes:
    return path.read_bytes()[stand_in.APP_OFFSET_BYTES - stand_in.BOOTLOADER_OFFSET_BYTES[chip] :]


def test_only_a_whole_signature_is_taken_for_one(keys: Keys, tmp_path: Path) -> None:
    """Code may begin a sector with the byte that signatures begin with."""
    app = own_app(own_build(tmp_path, "esp32c3"), "esp32c3")
    app = app[:-4096] + b"\xe7" + app[-4095:]
    assert not images.is_signed(app)
    path = tmp_path / "app"
    path.write_bytes(app)
    sign(path, keys.signing_key)
    assert images.is_signed(path.read_bytes()) and not images.is_signed(path.read_bytes()[:-1])


def test_a_build_signed_with_this_key_is_taken_as_it_is(keys: Keys, tmp_path: Path) -> None:
    board, path = board_of("esp32c3"), signed_build(tmp_path, "esp32c3", keys.signing_key)
    contents = images.read_images(board, path)
    images.write_images(board, keys, contents)
    for place, name in ((layout.BOOTLOADER, "bootloader"), (layout.MICROPYTHON, "app")):
        assert contents[place] == tmp_path.joinpath(name).read_bytes()
        assert keys.own.joinpath(f"{place}.signed.bin").read_bytes() == contents[place]


def test_a_build_signed_with_another_key_is_refused(keys: Keys, tmp_path: Path) -> None:
    board, path = board_of("esp32c3"), signed_build(tmp_path / "build", "esp32c3", keys.signing_key)
    with pytest.raises(ImageNotFit, match="bootloader is signed, but not by .*signing-key.pem"):
        images.write_images(board, made_keys(tmp_path / "others"), images.read_images(board, path))


def test_a_signed_build_for_another_size_of_flash_is_refused(keys: Keys, tmp_path: Path) -> None:
    """To put the board's size into its header would break the signature."""
    path = signed_build(tmp_path, "esp32c3", keys.signing_key)
    data = bytearray(path.read_bytes())
    smaller = tmp_path / "smaller"
    smaller.write_bytes(stand_in.bootloader("esp32c3", 2 * stand_in.MEGABYTE))
    sign(smaller, keys.signing_key)
    signed = smaller.read_bytes()
    data[: len(signed)] = signed
    path.write_bytes(data)
    with pytest.raises(ImageNotFit, match="signed for another size of flash"):
        images.read_images(board_of("esp32c3"), path)


def test_one_changed_byte_of_a_signed_build_is_noticed(keys: Keys, tmp_path: Path) -> None:
    """Where no checksum of the image reaches: in the padding before the signature."""
    path = signed_build(tmp_path, "esp32c3", keys.signing_key)
    data = bytearray(path.read_bytes())
    data[len(stand_in.bootloader("esp32c3")) + 3] ^= 1
    path.write_bytes(data)
    board = board_of("esp32c3")
    with pytest.raises(ImageNotFit, match="bootloader is signed, but not by"):
        images.write_images(board, keys, images.read_images(board, path))


def test_a_boot_loader_without_room_for_its_signature_is_refused(keys: Keys, tmp_path: Path) -> None:
    board = board_of("esp32")
    contents = images.read_images(board, own_build(tmp_path, "esp32"))
    contents[layout.BOOTLOADER] += bytes(4096)
    with pytest.raises(ImageNotFit, match="CONFIG_BOOTLOADER_LOG_LEVEL_NONE=y"):
        images.write_images(board, keys, contents)


def test_a_signing_key_that_these_chips_cannot_use_is_refused(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys", MAC)
    keys.folder.mkdir()
    tools.run(("espsecure", "generate-signing-key", "--version", "2", "--scheme", "ecdsa256", str(keys.signing_key)))
    keys.signing_key.chmod(0o600)
    keys.make_missing()
    board = board_of("esp32c3")
    contents = images.read_images(board, own_build(tmp_path / "build", "esp32c3"))
    with pytest.raises(KeyNotFit, match="is no RSA-3072 key"):
        images.write_images(board, keys, contents)


def test_a_repeat_keeps_the_signature_that_is_on_the_flash(keys: Keys, tmp_path: Path) -> None:
    """Each signing gives another signature; the image that was written must still be the one in the folder."""
    board = board_of("esp32c3")
    contents = images.read_images(board, own_build(tmp_path / "a", "esp32c3"))
    images.write_images(board, keys, contents)
    before = keys.own.joinpath("micropython.encrypted.bin").read_bytes()
    images.write_images(board, keys, contents)
    assert keys.own.joinpath("micropython.encrypted.bin").read_bytes() == before
    contents[layout.MICROPYTHON] = padded("esp32c3", stand_in.app("esp32c3", banner="MicroPython v1.29.0 of ours"))
    images.write_images(board, keys, contents)
    assert keys.own.joinpath("micropython.encrypted.bin").read_bytes() != before


def test_what_does_not_decrypt_as_it_was_is_not_burnt(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = board_of("esp32c3")
    contents = images.read_images(board, own_build(tmp_path, "esp32c3"))
    encrypt = layout.encrypt_command
    # An offset that is wrong by one block of encryption, as a mistake in the layout would make it.
    wrong = layout.Place(layout.BOOTLOADER, 16, 0x8000)
    monkeypatch.setattr(layout, "encrypt_command", lambda place, aes_xts: encrypt(wrong, aes_xts))
    with pytest.raises(ToolFailed, match="did not decrypt the bootloader as it was"):
        images.write_images(board, keys, contents)


def test_the_page_lists_every_option_and_the_program_that_is_looked_for() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    blocks = re.findall(r"```\w*\n(.*?)```", page, re.DOTALL)
    listed = next(block for block in blocks if block.startswith("CONFIG_SECURE_BOOT=y")).splitlines()
    assert set(REQUIRED) <= set(listed)
    program = next(block for block in blocks if NO_PROMPT.decode() in block)
    compile(program, "_boot.py", "exec")
    rows = dict(re.findall(r"^\| `(\w+)`[^|]*\| (\**\w+\**)", page, re.MULTILINE))
    flags = {name: flag == "yes" for name, flag in rows.items() if flag.strip("*") in ("yes", "no")}
    assert {name for name, flag in flags.items() if flag} == set(layout.ENCRYPTED)
    assert flags["nvs"] is False
