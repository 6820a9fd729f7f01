"""A new town for every run of a scenario."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ledger.world import Town


@pytest.fixture
def new_town(tmp_path: Path) -> Callable[[], Town]:
    def make() -> Town:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return Town(folder)

    return make
