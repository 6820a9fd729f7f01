"""An empty ledger with a root and one operator, for uploads that are made outside any city."""

import pytest

from host_tools.ledger import Ledger
from tests.unit.world import NOW, Operator, signer


class Bench:
    """What a benchmark has before it begins."""

    def __init__(self, folder):
        self.ledger = Ledger.create(f"sqlite:///{folder / 'ledger.db'}")
        root = signer("root")
        self.ledger.set_root(root.public)
        self.operator = Operator(1, root)
        self.ledger.add_operator(self.operator.certificate)
        self.now = NOW


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.ledger.close()
