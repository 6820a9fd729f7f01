"""docs/architecture.md: its table names every folder there is, and nobody imports what it does not allow."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
FIRMWARE = PROJECT / "firmware"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]
ALLOWED = {
    part.rstrip("/"): set(re.findall(r"`([^`]+)`", may_import))
    for parts, _, may_import in ROWS
    for part in re.findall(r"`([^`]+)`", parts)
}


def parts() -> Iterator[str]:
    """What has an owner: the folders of the firmware and of the host's tools, and modules beside them."""
    for root in (FIRMWARE, PROJECT / "host_tools"):
        for path in root.iterdir():
            if path.suffix == ".py" and path.stem != "__init__" or (path / "__init__.py").exists():
                yield str(path.relative_to(PROJECT))
    yield from ("protocol", "tests", "boards/<name>")


def names_of(module: str) -> set[str]:
    """How the table may call a module: by its folder, or more exactly. Nothing for what is not ours."""
    root, *below = module.split(".")
    if root == "host_tools":
        return {root, below[0], f"{below[0]}.py"} if below else set()
    if root == "protocol":
        return {root, ".".join([root, *below[:1]])}
    if (FIRMWARE / root).exists() or (FIRMWARE / f"{root}.py").exists():
        return {"firmware", root, ".".join([root, *below[:1]])}
    return set()


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_part_has_its_row_and_every_row_its_part() -> None:
    assert set(parts()) == set(ALLOWED)


def test_every_folder_of_tests_is_named() -> None:
    folders = {path.parent.name for path in (PROJECT / "tests").glob("*/*.py")}
    (row,) = [holds for part, holds, _ in ROWS if part == "`tests/`"]
    assert set(re.findall(r"`([^`]+)`", row)) == folders


@pytest.mark.parametrize("part", sorted(set(parts()) & set(ALLOWED) - {"tests", "boards/<name>"}))
def test_nobody_imports_what_the_table_does_not_allow(part: str) -> None:
    path = PROJECT / part
    allowed = ALLOWED[part] | {path.name}
    wrong = [
        f"{file.relative_to(PROJECT)}: {module}"
        for file in ([path] if path.is_file() else path.rglob("*.py"))
        for module in imported(file.read_text(encoding="utf-8"))
        if (names := names_of(module)) and not names & allowed
    ]
    assert wrong == []
