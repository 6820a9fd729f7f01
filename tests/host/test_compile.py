"""host_tools.images.compile: a board's folder holds what it needs, no more, the same bytes every time, and
MicroPython loads it.
"""

import ast
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.images import compile as images
from host_tools.images.boards import PROJECT, BoardError, board_names, load_board
from host_tools.machine_code import mpy
from host_tools.machine_code.modules import generated_modules, generated_source

# ISA of the header's feature byte, bits 2..5 (MicroPython py/persistentcode.h, MP_NATIVE_ARCH_*).
_ARCHITECTURE_CODES = {None: 0, "x64": 2, "xtensawin": 10, "rv32imc": 11}

# What a board's `.mpy` may take, so that flash and heap are left for money: those of `crypto`, which are mostly machine
# code and differ by architecture, and all others.
_CRYPTO_BUDGET_BYTES = 32 * 1024
_BUDGET_BYTES = {"wallet": 64 * 1024, "terminal": 80 * 1024}

_ASSEMBLER = "import micropython\n@micropython.asm_rv32\ndef f(a0, a1):\n    data(4, 0x4505)\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project of its own, compiled by the real mpy-cross: a test may write what it likes into it."""
    for name, text in {
        "firmware/boot.py": "import main\n",
        "firmware/start.py": (
            "from protocol.apdu import f\n"
            "def oled():\n    from drivers.ssd1306 import SSD1306\n    return SSD1306, f()\n"
            "def front():\n    from drivers.panel import PANEL_PART\n    return PANEL_PART\n"
            "def pad():\n    from apps.pin import ask\n    return ask()\n"
        ),
        "firmware/apps/pin.py": "from storage.vault import stretch\ndef ask():\n    return stretch()\n",
        "firmware/storage/vault.py": "def stretch():\n    return 'for digits only'\n",
        "firmware/drivers/ssd1306.py": "SSD1306 = ['oled part']\n",
        "firmware/drivers/panel.py": "PANEL_PART = ['panel part']\n",
        "firmware/ports/unix.py": "",
        "firmware/ports/esp32.py": "",
        "firmware/crypto/__init__.py": "",
        "firmware/crypto/ed25519.py": "def sign():\n    pass\n",
        "firmware/crypto/scalar_int.py": "",
        "firmware/crypto/scalar_viper.py": "import micropython\n@micropython.viper\ndef f(x: int):\n    pass\n",
        "protocol/apdu.py": "def f():\n    return 1\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(images, "PROJECT", tmp_path)
    monkeypatch.setattr(images, "BUILD", tmp_path / "build")
    generated = {"rv32imc": ("crypto/field_rv32.py",)}
    monkeypatch.setattr(images, "generated_modules", lambda architecture: generated.get(architecture, ()))
    monkeypatch.setattr(images, "generated_source", lambda name, architecture: _ASSEMBLER)
    return tmp_path


def _built(board: str, folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in images.build_modules(board, folder)}


def test_a_board_gets_its_app_port_parts_and_native_code_only(project: Path, monkeypatch: pytest.MonkeyPatch):
    assert _built("esp32c3-card", project / "out") == {
        "boot.py",
        "board.mpy",
        "crypto/__init__.mpy",
        "crypto/ed25519.mpy",
        "crypto/field_rv32.mpy",
        "crypto/scalar_viper.mpy",
        "jiaozi.mpy",
        "ports/esp32.mpy",
        "start.mpy",
    }
    linked = (project / "out/jiaozi.mpy").read_bytes()
    assert b"for digits only" not in linked, "a board with one button has no PIN"
    assert b"oled part" in linked and b"panel part" not in linked
    monkeypatch.setattr(images, "native_architecture", lambda board: None)
    assert _built("sim-terminal", project / "out") == {
        "boot.py",
        "board.mpy",
        "crypto/__init__.mpy",
        "crypto/ed25519.mpy",
        "crypto/scalar_int.mpy",
        "jiaozi.mpy",
        "ports/unix.mpy",
        "start.mpy",
    }
    linked = (project / "out/jiaozi.mpy").read_bytes()
    assert b"for digits only" in linked
    assert b"panel part" in linked and b"oled part" not in linked
    left = {path.relative_to(project / "out").as_posix() for path in (project / "out").rglob("*") if path.is_file()}
    assert "ports/esp32.mpy" not in left, "what another board left behind must not be importable"


def test_other_peoples_files_in_the_folder_are_not_touched(project: Path):
    (project / "out").mkdir()
    (project / "out/notes.py").write_text("mine")
    images.build_modules("sim-wallet", project / "out")
    assert (project / "out/notes.py").read_text() == "mine"


def test_an_error_names_file_and_line_and_builds_again_after_the_repair(project: Path):
    (project / "protocol/apdu.py").write_text("x = 1\ny = = 2\n")
    with pytest.raises(images.CompileError, match=r"^protocol/apdu\.py:2: SyntaxError: invalid syntax$"):
        images.build_modules("sim-wallet", project / "out")
    (project / "protocol/apdu.py").write_text("def f():\n    return 3\n")
    assert "jiaozi.mpy" in _built("sim-wallet", project / "out")


def test_what_only_micropython_refuses_is_named_by_the_file_a_person_wrote(project: Path):
    (project / "protocol/apdu.py").write_text("def f(x=1):\n    match x:\n        case 1: return 1\n")
    with pytest.raises(images.CompileError, match=r"^protocol/apdu\.py:2: SyntaxError"):
        images.build_modules("sim-wallet", project / "out")


def test_what_cannot_be_linked_is_an_error_of_the_build(project: Path):
    (project / "protocol/apdu.py").write_text("print('at import')\n")
    with pytest.raises(images.CompileError, match=r"^protocol\.apdu, line 1: only imports and plain definitions"):
        images.build_modules("sim-wallet", project / "out")


def test_a_file_that_ships_as_source_may_not_reach_into_a_linked_package(project: Path):
    (project / "firmware/main.py").write_text("import gc\nfrom protocol.apdu import f\n")
    with pytest.raises(images.CompileError, match=r"^firmware/main\.py:2: this package is linked"):
        images.build_modules("sim-wallet", project / "out")


def test_a_syntax_error_in_a_file_that_ships_as_source_is_found_too(project: Path):
    (project / "firmware/boot.py").write_text("import\n")
    with pytest.raises(images.CompileError, match=r"^firmware/boot\.py:1: "):
        images.build_modules("sim-wallet", project / "out")


def test_native_code_for_another_architecture_is_a_different_build(project: Path):
    module = project / "firmware/ports/both.py"
    module.write_text("import micropython\n@micropython.native\ndef f(x):\n    return x + 1\n")
    outputs = {}
    for board in ("esp32-pos", "esp32c3-card"):
        images.build_modules(board, project / board)
        outputs[board] = (project / board / "ports/both.mpy").read_bytes()
        assert outputs[board][0:1] == b"M"
        assert outputs[board][2] >> 2 & 15 == _ARCHITECTURE_CODES[load_board(board).mpy_architecture]
    assert outputs["esp32-pos"] != outputs["esp32c3-card"]


def _kinds(raw_code: mpy.RawCode) -> Iterator[int]:
    yield raw_code.kind
    for child in raw_code.children:
        yield from _kinds(child)


def test_assembler_functions_get_the_kind_that_stock_micropython_loads_wherever_they_stand(project: Path):
    (project / "firmware/ports/esp32.py").write_text(_ASSEMBLER)
    images.build_modules("esp32c3-card", project / "out")
    for name in ("ports/esp32.mpy", "crypto/field_rv32.mpy"):
        module = mpy.read_module((project / "out" / name).read_bytes())
        assert list(_kinds(module.body)) == [mpy.BYTECODE, mpy.VIPER]
        assert module.architecture == _ARCHITECTURE_CODES["rv32imc"]


def test_machine_code_that_cannot_be_converted_is_an_error_of_the_build(project: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(data: bytes) -> bytes:
        raise mpy.MpyError("relocations are not understood")

    monkeypatch.setattr(mpy, "to_native_convention", refuse)
    with pytest.raises(images.CompileError, match=r": relocations are not understood$"):
        images.build_modules("esp32c3-card", project / "out")


@pytest.fixture
def conversion(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`machine_code.mpy` as the build sees its text: a copy that a test may change."""
    copy = project / "mpy.py"
    shutil.copy(mpy.__file__, copy)
    monkeypatch.setattr(mpy, "__file__", str(copy))
    return copy


def test_the_shared_folder_is_named_after_all_that_makes_it(
    project: Path, conversion: Path, monkeypatch: pytest.MonkeyPatch
):
    shared_build = images.shared_build.__wrapped__  # without its memory
    folders = [shared_build("esp32c3-card")]
    assert shared_build("esp32c3-card") == folders[0]
    for changed in (conversion, project / "firmware/crypto/ed25519.py"):
        changed.write_text(changed.read_text() + "\n")
        folders.append(shared_build("esp32c3-card"))
    monkeypatch.setattr(images, "generated_source", lambda name, architecture: _ASSEMBLER + "SLOT = 32\n")
    folders.append(shared_build("esp32c3-card"))
    assert len(set(folders)) == 4
    assert b"SLOT" in (folders[-1] / "crypto/field_rv32.mpy").read_bytes()


def test_another_conversion_converts_again(project: Path, conversion: Path, monkeypatch: pytest.MonkeyPatch):
    images.build_modules("esp32c3-card", project / "out")
    conversion.write_text("# changed\n")
    monkeypatch.setattr(mpy, "to_native_convention", lambda data: b"M converted otherwise")
    images.build_modules("esp32c3-card", project / "out")
    assert (project / "out/crypto/field_rv32.mpy").read_bytes() == b"M converted otherwise"


def test_nothing_is_compiled_twice_and_a_change_is_seen(project: Path, monkeypatch: pytest.MonkeyPatch):
    first = {path: path.read_bytes() for path in images.build_modules("sim-wallet", project / "out")}
    compiled = []
    run_compiler = images._run_compiler
    monkeypatch.setattr(images, "_run_compiler", lambda *a: compiled.append(a[1]) or run_compiler(*a))
    again = {path: path.read_bytes() for path in images.build_modules("sim-wallet", project / "out")}
    assert (again, compiled) == (first, [])
    (project / "protocol/apdu.py").write_text("def f():\n    return 2\n")
    images.build_modules("sim-wallet", project / "out")
    assert compiled == ["jiaozi"]


@pytest.mark.parametrize(("system", "machine", "expected"), [("darwin", "arm64", None), ("linux", "x86_64", "x64")])
def test_simulated_boards_get_native_code_where_the_host_loads_it(monkeypatch, system: str, machine: str, expected):
    monkeypatch.setattr(images.sys, "platform", system)
    monkeypatch.setattr(images.platform, "machine", lambda: machine)
    assert images.native_architecture(load_board("sim-wallet")) == expected
    assert images.native_architecture(load_board("esp32-pos")) == "xtensawin"


@pytest.mark.parametrize("board", board_names())
def test_the_real_firmware_builds_and_is_reproducible(board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = images.build_modules(board, tmp_path / "one")
    monkeypatch.setattr(images, "BUILD", tmp_path / "cold")
    second = images.build_modules(board, tmp_path / "two")
    assert [(path.relative_to(tmp_path / "one"), path.read_bytes()) for path in first] == [
        (path.relative_to(tmp_path / "two"), path.read_bytes()) for path in second
    ]
    assert str(PROJECT).encode() not in b"".join(path.read_bytes() for path in first), "a path of this computer went in"
    assert f"in {len(first)} files" in images.size_report(first, tmp_path / "one")


@pytest.mark.parametrize("board", board_names())
def test_the_real_firmware_keeps_its_size(board: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    """By the number that the command prints."""
    monkeypatch.setattr(images.sys, "argv", ["compile", board, str(tmp_path)])
    assert images._main() == 0
    lines = capsys.readouterr().out.splitlines()
    sizes = {name: int(size.replace(",", "")) for size, name in (line.split() for line in lines[:-1])}
    assert sizes == {str(path.relative_to(tmp_path)): path.stat().st_size for path in tmp_path.rglob("*.*")}
    assert lines[-1].split()[0] == f"{sum(sizes.values()):,}"
    # The unix port drives this computer and its simulated faults; no chip carries it.
    left_out = ("crypto/", "ports/unix.mpy", "ports/flash_faults.mpy")
    others = [size for name, size in sizes.items() if name.endswith(".mpy") and not name.startswith(left_out)]
    assert 32 * 1024 < sum(others) <= _BUDGET_BYTES[load_board(board).app]


_CRYPTO = {
    "rv32imc": {"field_rv32", "sha512_rv32", "scalar_viper", "schedule_viper"},
    "xtensawin": {"field_xtensa", "sha512_xtensa", "scalar_viper", "schedule_viper"},
    "x64": {"field_viper", "sha512_viper", "scalar_viper", "schedule_viper"},
    "armv7m": {"field_viper", "sha512_viper", "scalar_viper", "schedule_viper"},
    None: {"field_int", "sha512_int", "scalar_int", "schedule_int"},
}


@pytest.mark.parametrize("architecture", _CRYPTO)
def test_crypto_has_the_modules_of_its_architecture(architecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those that the device's own choice, `crypto.backend`, imports; the rest goes to all boards."""
    monkeypatch.setattr(images, "native_architecture", lambda board: architecture)
    images.build_modules("sim-wallet", tmp_path)
    carried = {path.stem for path in (tmp_path / "crypto").glob("*.mpy")}
    for_some = {name for names in _CRYPTO.values() for name in names}
    assert carried & for_some == _CRYPTO[architecture]
    written = {path.stem for path in (PROJECT / "firmware/crypto").glob("*.py")}
    assert carried - for_some == written - for_some


@pytest.mark.parametrize("architecture", _CRYPTO)
def test_crypto_keeps_its_size(architecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images, "native_architecture", lambda board: architecture)
    images.build_modules("sim-wallet", tmp_path)
    total = sum(path.stat().st_size for path in (tmp_path / "crypto").iterdir())
    assert 8 * 1024 < total <= _CRYPTO_BUDGET_BYTES


@pytest.mark.parametrize("board", board_names())
def test_no_board_carries_what_only_a_loader_for_assembler_understands(board: str, tmp_path: Path):
    expected = _ARCHITECTURE_CODES[images.native_architecture(load_board(board))]
    found = set()
    for path in images.build_modules(board, tmp_path):
        if path.suffix == ".mpy":
            module = mpy.read_module(path.read_bytes())  # refuses the header's flags for extensions of an architecture
            found |= set(_kinds(module.body))
            assert module.architecture in (0, expected), path
    assert mpy.BYTECODE in found and mpy.ASM not in found


@pytest.mark.parametrize("architecture", ["rv32imc", "xtensawin", "x64"])
def test_generated_modules_offer_what_their_stubs_say(architecture: str):
    for name in generated_modules(architecture):
        stub = PROJECT / "firmware" / name.replace(".py", ".pyi")
        assert _bound(ast.parse(stub.read_text())) <= _bound(ast.parse(generated_source(name, architecture))), name


def _bound(module: ast.Module) -> set[str]:
    bound = set()
    for node in module.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                bound.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                bound.add(name)
            case ast.ImportFrom(names=aliases):
                bound |= {alias.asname or alias.name for alias in aliases}
    return bound


_OFFERED = {
    "jiaozi": ["Transfer", "NfcPort", "Journal", "Settings", "PinPad"],
    "crypto.ed25519": ["SigningKey"],
}
_IMPORT_ALL = """
import json, sys
found = {}
for name in NAMES:
    __import__(name)
    found[name] = {member: type(getattr(sys.modules[name], member)).__name__ for member in OFFERED.get(name, ())}
from jiaozi import encode_frame
print(json.dumps([found, encode_frame(0, b"").hex()]))
"""


@pytest.mark.parametrize("board", [name for name in board_names() if load_board(name).port == "unix"])
def test_micropython_imports_every_module_that_was_built(board: str, tmp_path: Path, micropython: str):
    names = [
        path.relative_to(tmp_path).with_suffix("").as_posix().replace("/__init__", "").replace("/", ".")
        for path in images.build_modules(board, tmp_path)
        if path.suffix == ".mpy"
    ]
    assert {"board", "crypto.ed25519", "jiaozi", "start"} <= set(names)
    script = _IMPORT_ALL.replace("NAMES", repr(names)).replace("OFFERED", repr(_OFFERED))
    run = subprocess.run(
        [micropython, "-X", "heapsize=320K", "-c", script],
        env={"MICROPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found, frame = json.loads(run.stdout)
    assert frame == "000105d202ef8d00"
    assert sorted(found) == sorted(names)
    assert {kind for members in found.values() for kind in members.values()} == {"type"}


def test_the_command_prints_sizes_or_the_reason(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images.sys, "argv", ["compile", "esp32-pos", str(tmp_path)])
    assert images._main() == 0
    assert "jiaozi.mpy" in capsys.readouterr().out
    monkeypatch.setattr(images.sys, "argv", ["compile", "esp32-post", str(tmp_path)])
    assert images._main() == 1
    assert "there is no board 'esp32-post'" in capsys.readouterr().err
    with pytest.raises(BoardError):
        images.build_modules("../boards/esp32-pos", tmp_path)


def test_the_command_says_in_one_line_that_the_disk_is_full(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    """No write of more than ten kilobytes works, as on a disk with no more room than that."""
    write_bytes = Path.write_bytes

    def write(path: Path, data: bytes) -> int:
        if len(data) > 10_000:
            write_bytes(path, data[:10_000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", write)
    monkeypatch.setattr(images.sys, "argv", ["compile", "esp32-pos", str(tmp_path)])
    assert images._main() == 1
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1
    assert f"{tmp_path} cannot be used: No space left on device." in told.err and "then repeat" in told.err
    assert not list(tmp_path.rglob("*.part"))
