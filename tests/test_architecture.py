"""What may import what: the shape of the project, checked."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TRAINING = {"torch", "lightning", "trainer", "onnx"}
BASE = {"numpy", "pydantic", "service"}
NEEDED_BY_PYDANTIC = {"annotated_types", "pydantic_core", "typing_extensions", "typing_inspection"}


def imports_of(path):
    """The top-level names that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def service_files_importing(*names):
    return {str(path.relative_to(ROOT)) for path in (ROOT / "service").rglob("*.py") if imports_of(path) & set(names)}


def loaded_by(module):
    """The top-level names of the modules that importing `module` in a fresh interpreter brings in."""
    program = f"""
import json, sys
before = set(sys.modules)
import {module}
print(json.dumps(sorted({{name.split(".")[0] for name in set(sys.modules) - before}})))
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


def test_the_contracts_of_import_linter_hold():
    run = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("module", ["service.app", "service.cli", "service.bulk"])
def test_the_service_loads_nothing_of_training(module):
    assert loaded_by(module) & TRAINING == set()


def test_the_bundle_loads_nothing_but_the_base_install():
    loaded = {name for name in loaded_by("service.bundle") if not name.startswith("_sysconfigdata")}
    assert loaded - sys.stdlib_module_names - NEEDED_BY_PYDANTIC == BASE


def test_the_bundle_imports_nothing_but_numpy_pydantic_and_itself():
    for path in (ROOT / "service" / "bundle").glob("*.py"):
        assert imports_of(path) <= BASE | sys.stdlib_module_names, path


@pytest.mark.parametrize(
    ("library", "file"),
    [
        ("h3", "service/embedding/cells.py"),
        ("onnxruntime", "service/embedding/backends/onnx.py"),
        ("ray", "service/bulk/ray_engine.py"),
        ("prometheus_client", "service/metrics.py"),
        ("pydantic_settings", "service/settings.py"),
    ],
)
def test_a_vendor_is_imported_in_one_file(library, file):
    assert service_files_importing(library) == {file}


def test_only_the_api_and_its_wiring_speak_http():
    for path in service_files_importing("fastapi", "starlette"):
        assert path == "service/app.py" or path.startswith("service/api/")


def test_from_service_the_trainer_imports_the_bundle_only():
    for path in (ROOT / "trainer").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "service":
                assert node.module.split(".")[:2] == ["service", "bundle"], path
