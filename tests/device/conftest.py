"""Fixtures of the tests with real devices."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device.table import Table


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """An empty table with a bank and one operator."""
    with Table(tmp_path) as table:
        yield table
