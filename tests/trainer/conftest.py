from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from service.bundle import Bundle
from tests.synthetic_world import few_snap_places, train_small_bundle

settings.register_profile("trainer", deadline=None)  # a first call may wait for the machine's other work
settings.load_profile("trainer")


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle trained on the small world; read it, do not write to it."""
    return train_small_bundle(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def small_run(small_bundle: Bundle) -> Path:
    """The finished run that `small_bundle` was exported from."""
    return small_bundle.path.parents[1] / "runs" / "small"


@pytest.fixture
def quick_export() -> Iterator[None]:
    with few_snap_places():
        yield
