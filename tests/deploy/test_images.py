"""The image of the CPU: small, of nobody special, without tools, and whole after it was made slim."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.deploy.engine import IMAGE, Stack

MEGABYTE = 10**6


def in_image(stack: Stack, script: str) -> str:
    return stack.docker(f"run --rm --read-only --tmpfs /tmp --entrypoint sh {IMAGE} -c '{script}'").strip()


def test_it_is_under_700_mb(built):
    (image,) = json.loads(built.docker(f"image inspect {IMAGE}"))
    assert image["Size"] < 700 * MEGABYTE


def test_it_runs_as_nobody_special_and_holds_no_build_tools(built):
    assert in_image(built, "id -u; id -g") == "10001\n10001"
    tools = "cc gcc make strip node npm git curl"
    assert in_image(built, f"for tool in {tools}; do command -v $tool; done; true") == ""
    assert in_image(built, "ls /opt/satcle/bin | grep -c pip; true") == "0"


def test_it_has_the_map_page_and_the_shipped_bundle_and_no_tests(built):
    packages = "/opt/satcle/lib/python3.11/site-packages"
    assert in_image(built, f"ls {packages}/service/web/built/index.html")
    assert in_image(built, f"ls -d {packages}/tests {packages}/torch 2>/dev/null; true") == ""
    assert in_image(built, "satcle bundle verify earth-l30").startswith("ok ")


def test_every_module_that_it_holds_loads_its_libraries(built):
    """Slimming took some away."""
    script = (
        "cd /opt/satcle/lib/python3.11/site-packages && "
        'find . -name "*.cpython-*.so" -o -name "*.abi3.so" | xargs -n 1 ldd | grep "not found"; true'
    )
    missing = {line.split()[0] for line in in_image(built, script).splitlines()}
    assert missing == set()


def test_its_commands_read_and_write_every_kind_of_file(built):
    beijing_and_paris = 'set -e; printf "lon,lat\\n116.4,39.9\\n2.35,48.86\\n" > in.csv'
    tables = [f"satcle embed in.csv -o out.{suffix}" for suffix in ("parquet", "geoparquet", "csv.gz")]
    box = "--bbox 0,40,10,50 --reference 2.35,48.86"
    maps = [f"satcle map {box} --width 64 --height 64 -o out.{suffix}" for suffix in ("tif", "png")]
    cells = [f"satcle map {box} --h3-resolution 3 -o out.{suffix}" for suffix in ("geojson", "arrow")]
    written = in_image(built, "\n".join([beijing_and_paris, *tables, *maps, *cells, "ls out.* | wc -l"]))
    assert written.splitlines()[-1] == "7"


def test_kinds_of_services_are_what_compose_makes_of_the_file(built):
    config = json.loads(built.compose("--profile gpu --profile observability --profile train config --format json"))
    assert set(config["services"]) == {"api", "api-gpu", "redis", "prometheus", "grafana", "train"}
    (device,) = config["services"]["api-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"


def test_without_a_gpu_the_image_of_the_gpu_says_so_and_does_not_start(built):
    if not built.docker("image ls --quiet satcle:cuda").strip():
        pytest.skip("no image satcle:cuda: make images")
    command = ["docker", "run", "--rm", "satcle:cuda"]
    done = subprocess.run(command, env=built.environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "libcuda.so.1 is missing (install NVIDIA's driver, or give the container the GPU" in done.stderr
