from __future__ import annotations

from pathlib import Path

import pytest

from service.bulk.replace import replacing
from service.errors import OutputExists


def test_the_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "out"
    with replacing(target, overwrite=False) as staging:
        staging.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    target = tmp_path / "out"
    target.write_text("old")
    with pytest.raises(error), replacing(target, overwrite=True) as staging:
        _stop_half_way(staging, error)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_exists_is_replaced_only_when_asked(tmp_path):
    target = tmp_path / "out"
    target.write_text("old")
    with pytest.raises(OutputExists, match="--overwrite"), replacing(target, overwrite=False):
        pass
    with replacing(target, overwrite=True) as staging:
        staging.write_text("new")
    assert target.read_text() == "new"


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with replacing(tmp_path / "out", overwrite=False) as staging:
        staging.write_text("new")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_there_must_be_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such folder"), replacing(tmp_path / "no" / "out", overwrite=False):
        pass


def _stop_half_way(staging: Path, error: type[BaseException]) -> None:
    staging.write_text("half")
    raise error
