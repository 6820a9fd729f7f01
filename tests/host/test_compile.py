"""host_tools.images.compile: a board's folder holds what it needs, no more, the same bytes every time, and
MicroPython loads it.
"""

import json
import subprocess
from pathlib import Path

import pytest

from host_tools.images import compile as images
from host_tools.images.boards import PROJECT, BoardError, board_names, load_board

# ISA of the header's feature byte, bits 2..5 (MicroPython py/persistentcode.h, MP_NATIVE_ARCH_*).
_ARCHITECTURE_CODES = {None: 0, "x64": 2, "xtensawin": 10, "rv32imc": 11}

# What all of a board's `.mpy` may take, so that flash and heap are left for money.
_BUDGET_BYTES = {"wallet": 64 * 1024, "terminal": 80 * 1024}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project of its own, compiled by the real mpy-cross: a test may write what it likes into it."""
    for name, text in {
        "firmware/boot.py": "import main\n",
        "firmware/apps/wallet.py": (
            "NAME = 'wallet'\n"
            "def run():\n"
            "    from drivers.ssd1306 import SSD1306\n"
            "    from protocol.apdu import f\n"
            "    return SSD1306, f()\n"
        ),
        "firmware/apps/terminal.py": "NAME = 'terminal'\ndef run():\n    from drivers.panel import PANEL_PART\n",
        "firmware/drivers/ssd1306.py": "SSD1306 = [1]\n",
        "firmware/drivers/panel.py": "PANEL_PART = [1]\n",
        "firmware/ports/unix.py": "",
        "firmware/ports/esp32.py": "",
        "firmware/ports/field_rv32.py": "import micropython\n@micropython.viper\ndef f(x: int):\n    pass\n",
        "firmware/ports/field_xtensa.py": "",
        "protocol/apdu.py": "def f():\n    return 1\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(images, "PROJECT", tmp_path)
    monkeypatch.setattr(images, "BUILD", tmp_path / "build")
    return tmp_path


def _built(board: str, folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in images.build_modules(board, folder)}


def test_a_board_gets_its_app_port_parts_and_native_code_only(project: Path):
    assert _built("esp32c3-card", project / "out") == {
        "boot.py",
        "board.mpy",
        "apps/wallet.mpy",
        "drivers.mpy",
        "ports/esp32.mpy",
        "ports/field_rv32.mpy",
        "protocol.mpy",
    }
    assert b"SSD1306" in (project / "out/drivers.mpy").read_bytes()
    assert _built("sim-terminal", project / "out") == {
        "boot.py",
        "board.mpy",
        "apps/terminal.mpy",
        "drivers.mpy",
        "ports/unix.mpy",
        "protocol.mpy",
    }
    linked = (project / "out/drivers.mpy").read_bytes()
    assert b"PANEL_PART" in linked and b"SSD1306" not in linked
    left = {path.relative_to(project / "out").as_posix() for path in (project / "out").rglob("*") if path.is_file()}
    assert "apps/wallet.mpy" not in left, "what another board left behind must not be importable"


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
    assert "protocol.mpy" in _built("sim-wallet", project / "out")


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


def test_nothing_is_compiled_twice_and_a_change_is_seen(project: Path, monkeypatch: pytest.MonkeyPatch):
    first = {path: path.read_bytes() for path in images.build_modules("sim-wallet", project / "out")}
    compiled = []
    run_compiler = images._run_compiler
    monkeypatch.setattr(images, "_run_compiler", lambda *a: compiled.append(a[1]) or run_compiler(*a))
    again = {path: path.read_bytes() for path in images.build_modules("sim-wallet", project / "out")}
    assert (again, compiled) == (first, [])
    (project / "protocol/apdu.py").write_text("def f():\n    return 2\n")
    images.build_modules("sim-wallet", project / "out")
    assert compiled == ["protocol"]


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
    total = sum(size for name, size in sizes.items() if name.endswith(".mpy"))
    assert lines[-1].split()[0] == f"{sum(sizes.values()):,}"
    assert 32 * 1024 < total <= _BUDGET_BYTES[load_board(board).app]


_IMPORT_ALL = """
import json, sys
found = {}
for name in NAMES:
    __import__(name)
    module = sys.modules[name]
    found[name] = {member: type(getattr(module, member)).__name__ for member in dir(module)}
from protocol import encode_frame
print(json.dumps([found, encode_frame(0, b"").hex()]))
"""


@pytest.mark.parametrize("board", [name for name in board_names() if load_board(name).port == "unix"])
def test_micropython_imports_every_module_that_was_built(board: str, tmp_path: Path, micropython: str):
    names = [
        path.relative_to(tmp_path).with_suffix("").as_posix().replace("/__init__", "").replace("/", ".")
        for path in images.build_modules(board, tmp_path)
        if path.suffix == ".mpy"
    ]
    assert {"apps.app", "board", "crypto", "drivers", "protocol", "storage", "ui"} <= set(names)
    run = subprocess.run(
        [micropython, "-X", "heapsize=320K", "-c", _IMPORT_ALL.replace("NAMES", repr(names))],
        env={"MICROPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found, frame = json.loads(run.stdout)
    assert frame == "000105d202ef8d00"
    assert found["protocol"]["Transfer"] == found["drivers"]["NfcPort"] == found["storage"]["Journal"] == "type"
    assert found["crypto"]["sha512"] == "function"


def test_the_command_prints_sizes_or_the_reason(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images.sys, "argv", ["compile", "esp32-pos", str(tmp_path)])
    assert images._main() == 0
    assert "protocol.mpy" in capsys.readouterr().out
    monkeypatch.setattr(images.sys, "argv", ["compile", "esp32-post", str(tmp_path)])
    assert images._main() == 1
    assert "there is no board 'esp32-post'" in capsys.readouterr().err
    with pytest.raises(BoardError):
        images.build_modules("../boards/esp32-pos", tmp_path)
