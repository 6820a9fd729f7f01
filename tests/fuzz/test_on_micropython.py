"""What a run on MicroPython finds is named by the line that shows it again."""

import shlex

from tests.fuzz import on_micropython

BROKEN = """

def pcd(data):
    assert len(data) < 3, "three bytes"
TARGETS["pcd"] = pcd
"""


def test_what_is_found_is_found_again_by_its_replay_line(monkeypatch, capsys):
    whole = on_micropython.device_folder

    def broken(root):
        folder = whole(root)
        targets = folder / "tests" / "fuzz" / "targets" / "__init__.py"
        targets.write_text(targets.read_text() + BROKEN)
        return folder

    monkeypatch.setattr(on_micropython, "device_folder", broken)
    assert on_micropython.run(20, 1, ("pcd",))["violations"] == 1
    line = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("Replay: "))
    arguments = shlex.split(line)[3:]
    assert arguments[0] == "tests.fuzz.on_micropython"
    monkeypatch.setattr("sys.argv", arguments)
    assert on_micropython.main() == 1
    assert "three bytes" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.setattr("sys.argv", arguments)
    assert on_micropython.main() == 0
