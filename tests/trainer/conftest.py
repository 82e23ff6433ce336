from pathlib import Path

import pytest

from service.bundle import Bundle
from tests.synthetic_world import train_small_bundle


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle trained on the small world; read it, do not write to it."""
    return train_small_bundle(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def small_run(small_bundle: Bundle) -> Path:
    """The finished run that `small_bundle` was exported from."""
    return small_bundle.path.parents[1] / "runs" / "small"
