"""The location encoder on one thread: against this machine's SGEMM peak, its own network, other batch sizes.

Every figure is a ratio of runs interleaved in one process, the median over rounds of each round's ratio, so that
what else the machine does falls on both sides. Set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1 before numpy is
imported, as `python -m tests.benchmarks` does: the peak is that of one thread.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trainer.graphs.encoder import encoder_graph, network_graph
from trainer.models.location_tower import harmonics_tower
from trainer.snap import uniform_on_sphere

Run = Callable[[], object]
Floats = NDArray[np.float64]

HEADER = "| what | L | measured | limit |\n|---|---:|---:|---:|"
NETWORK_LIMITS = {10: 1.15, 40: 1.30}
CHUNKS = (64, 128, 256, 512, 1024, 2048)
SERVED_CHUNKS = (128, 256, 512)
PEAK_SIDE = 1536
MANY = 16384


def machine() -> str:
    """What the figures were measured on, as one line."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cpu = named[0] if named else platform.processor()
    names = ("numpy", "torch", "onnxruntime", "onnxruntime-gpu")
    libraries = ", ".join(f"{name} {version(name)}" for name in names if any(metadata.distributions(name=name)))
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {libraries}."


def table(rounds: int = 40) -> str:
    """Every measurement at L = 10 and 40, with the limit it is held to."""
    torch.set_num_threads(1)
    rows = [HEADER]
    for legendre_polys in NETWORK_LIMITS:
        encoder = Encoder(legendre_polys)
        for measure in (_peak_shares, _against_network, _against_one_run, _two_threads):
            for what, measured, limit in measure(encoder, rounds):
                rows.append(f"| {what} | {legendre_polys} | {measured} | {limit} |")
    return "\n".join(rows)


class Encoder:
    """Untrained weights, exported: what it computes costs the same."""

    def __init__(self, legendre_polys: int) -> None:
        torch.manual_seed(0)
        self.legendre_polys = legendre_polys
        self.tower = harmonics_tower(legendre_polys=legendre_polys).eval()
        self.session = open_session(encoder_graph(self.tower))
        self.network = open_session(network_graph(self.tower))
        layers = [*self.tower.network.hidden, self.tower.network.last]
        self.flops = 2 * sum(layer.get_parameter("weight").numel() for layer in layers)

    def embedding(self, lonlat: Floats) -> Run:
        return lambda: self.session.run(None, {"lonlat": lonlat})


def open_session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def interleaved(runs: dict[str, Run], rounds: int) -> dict[str, Floats]:
    """Seconds of each run in each of `rounds` rounds, after one to warm up; every other round goes backwards."""
    seconds = {name: np.empty(rounds) for name in runs}
    for run in runs.values():
        run()
    for index in range(rounds):
        order = list(runs) if index % 2 == 0 else list(reversed(runs))
        for name in order:
            started = perf_counter()
            runs[name]()
            seconds[name][index] = perf_counter() - started
    return seconds


def _peak_shares(encoder: Encoder, rounds: int) -> Iterator[tuple[str, str, str]]:
    """Share of the best library's SGEMM rate; a chunk is repeated until it takes about as long as the product."""
    peaks = sgemm_runs()
    repeats = {n: max(1, round(2 * PEAK_SIDE**3 / (encoder.flops * n))) for n in CHUNKS}
    chunks = {str(n): repeated(encoder.embedding(uniform_on_sphere(n, seed=n)), repeats[n]) for n in CHUNKS}
    seconds = interleaved({**peaks, **chunks}, rounds)
    product = np.min([seconds[name] for name in peaks], axis=0)
    for n in CHUNKS:
        share = encoder.flops * n * repeats[n] / seconds[str(n)] / (2 * PEAK_SIDE**3 / product)
        yield f"share of SGEMM peak, chunks of {n}", f"{np.median(share):.2f}", "≥ 0.55" if n <= 512 else "-"
    rates = {name: 2 * PEAK_SIDE**3 / np.median(seconds[name]) / 1e9 for name in peaks}
    yield "SGEMM, " + ", ".join(rates), ", ".join(f"{rate:.0f}" for rate in rates.values()) + " GFLOP/s", "-"


def _against_network(encoder: Encoder, rounds: int) -> Iterator[tuple[str, str, str]]:
    lonlat = uniform_on_sphere(1024, seed=0)
    with torch.inference_mode():
        features = encoder.tower.encoding(torch.from_numpy(lonlat)).numpy()
    runs = {"graph": encoder.embedding(lonlat), "network": lambda: encoder.network.run(None, {"features": features})}
    seconds = interleaved(runs, 3 * rounds)
    ratio = np.median(seconds["graph"] / seconds["network"])
    yield "whole graph / network alone, n = 1024", f"{ratio:.2f}", f"≤ {NETWORK_LIMITS[encoder.legendre_polys]:.2f}"


def _against_one_run(encoder: Encoder, rounds: int) -> Iterator[tuple[str, str, str]]:
    lonlat = uniform_on_sphere(MANY, seed=0)
    sizes = {"one run": MANY, **{f"chunks of {n}": n for n in SERVED_CHUNKS}}
    runs: dict[str, Run] = {name: _chunked(encoder, lonlat, n) for name, n in sizes.items()}
    repeats = MANY // 512
    runs["512"] = repeated(encoder.embedding(lonlat[:512]), repeats)
    seconds = interleaved(runs, rounds // 4)
    for name in sizes:
        ratio = np.median(seconds[name] / seconds["512"])
        limit = "-" if name == "one run" else "≤ 1.10"
        yield f"n = {MANY} in {name} / n = 512, a point", f"{ratio:.2f}", limit


def _two_threads(encoder: Encoder, rounds: int) -> Iterator[tuple[str, str, str]]:
    lonlat = uniform_on_sphere(MANY // 2, seed=0)
    chunks = np.split(lonlat, len(lonlat) // 512)

    def embed(chunk: Floats) -> object:
        return encoder.session.run(None, {"lonlat": chunk})

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(2) as two:
        runs: dict[str, Run] = {
            "one": lambda: list(one.map(embed, chunks)),
            "two": lambda: list(two.map(embed, chunks)),
        }
        seconds = interleaved(runs, rounds // 2)
    ratio = np.median(seconds["two"] / seconds["one"])
    yield "two threads on one session, wall / one", f"{ratio:.2f}", "≤ 0.60"


def sgemm_runs() -> dict[str, Run]:
    """One large square float32 product in each library, on one thread."""
    a, b = np.random.default_rng(0).random((2, PEAK_SIDE, PEAK_SIDE), dtype=np.float32)
    torch_a, torch_b = torch.from_numpy(a), torch.from_numpy(b)
    shape = ["n", PEAK_SIDE]
    left, product = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("a", "product"))
    node = helper.make_node("MatMul", ["a", "b"], ["product"])
    graph = helper.make_graph([node], "product", [left], [product], [numpy_helper.from_array(b, "b")])
    session = open_session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    return {
        "numpy": lambda: a @ b,
        "torch": lambda: torch_a @ torch_b,
        "onnxruntime": lambda: session.run(None, {"a": a}),
    }


def _chunked(encoder: Encoder, lonlat: Floats, size: int) -> Run:
    runs = [encoder.embedding(lonlat[i : i + size]) for i in range(0, len(lonlat), size)]
    return lambda: [run() for run in runs]


def repeated(run: Run, times: int) -> Run:
    return lambda: [run() for _ in range(times)]
