"""One data set and one teacher for all tests of sweeps."""

import pytest


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep")
