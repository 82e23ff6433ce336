"""When the page is built again, and what happens where it cannot be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import pytest
from hatchling.bridge.app import Application

from service.web.build_hook import BUILT, DIGEST, NODE, SOURCE, PageBuildHook, digest_of, is_built


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / SOURCE
    (source / "node_modules").mkdir(parents=True)
    (source / "tests").mkdir()
    (source / "main.ts").write_text("let a")
    (source / "build.mjs").write_text("throw new Error('no luck')")
    return source


def built(root: Path) -> None:
    (root / BUILT).mkdir()
    (root / BUILT / DIGEST).write_text(digest_of(root / SOURCE))


def hook_of(root: Path) -> PageBuildHook:
    config: dict[str, Any] = {}
    nothing: Any = None
    return PageBuildHook(str(root), config, nothing, nothing, str(root), "wheel", Application())


@pytest.mark.parametrize(
    "change",
    [
        lambda source: (source / "main.ts").write_text("let b"),
        lambda source: (source / "main.ts").rename(source / "other.ts"),
        lambda source: (source / "more.ts").write_text(""),
        lambda source: (source / "main.ts").unlink(),
    ],
    ids=["content", "name", "addition", "removal"],
)
def test_any_change_of_the_sources_is_seen(source: Path, tmp_path: Path, change: Callable[[Path], object]) -> None:
    assert not is_built(tmp_path)
    built(tmp_path)
    assert is_built(tmp_path)
    change(source)
    assert not is_built(tmp_path)


def test_what_was_installed_and_tests_are_no_sources(source: Path, tmp_path: Path) -> None:
    built(tmp_path)
    (source / "node_modules" / "a.js").write_text("")
    (source / "tests" / "a.test.ts").write_text("")
    assert is_built(tmp_path)


def test_node_is_asked_for_only_where_there_is_something_to_build(source: Path, tmp_path: Path) -> None:
    assert hook_of(tmp_path).dependencies() == [NODE]
    built(tmp_path)
    assert hook_of(tmp_path).dependencies() == []
    hook_of(tmp_path).initialize("standard", {})  # and nothing is run


def test_an_editable_install_goes_on_without_the_page_and_a_wheel_is_not_made(
    source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a lock file npm refuses at once, and asks no registry."""
    hook_of(tmp_path).initialize("editable", {})
    assert "the map page could not be built" in capfd.readouterr().err
    assert not is_built(tmp_path)
    with pytest.raises(CalledProcessError):
        hook_of(tmp_path).initialize("standard", {})


def test_the_page_of_this_checkout_is_built() -> None:
    assert is_built(Path(sys.modules[PageBuildHook.__module__].__file__ or "").parents[2])
