"""Every test that takes `implementation` runs once with each of them."""

import pytest

from tests.crypto import vector_runners


@pytest.fixture(params=vector_runners.IMPLEMENTATIONS)
def implementation(request: pytest.FixtureRequest) -> vector_runners.Implementation:
    return vector_runners.implementation(request.param)
