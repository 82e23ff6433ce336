import re

import numpy as np
import pytest
import torch

from tests.golden import golden, golden_arrays
from trainer.baselines import AS_THEY_ARE, LEARNED, baseline_names, open_baseline
from trainer.checkpoint import read_checkpoint
from trainer.errors import BaselineError, WeightsError
from trainer.models.two_tower import untrained_location_tower
from trainer.snap import uniform_on_sphere

EDGES = np.array([[180.0, 0.0], [-180.0, 0.0], [0.0, 90.0], [0.0, -90.0], [0.0, 0.0]])
WIDTHS = {"sincos": 4, "onehot": 1202, "sinusoid": 64, "gps2vec": 1602, "geoclip": 512, "untrained:L3": 256}


@pytest.mark.parametrize("name", WIDTHS)
def test_rows_that_need_only_their_name(name):
    baseline = open_baseline(name)
    embeddings = baseline.embed(np.concatenate([EDGES, uniform_on_sphere(100, seed=0)]))
    assert embeddings.shape == (105, WIDTHS[name])
    assert embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()
    assert baseline.name.startswith(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sincos", "nothing is learned"),
        ("onehot", "the encoding alone"),
        ("geoclip", "published weights"),
        ("untrained:L3:5", "untrained: .* as seed 5 draws it"),
    ],
)
def test_notes_say_what_a_row_is(name, said):
    assert re.search(said, open_baseline(name).note)


def test_sincos_at_known_places():
    rows = open_baseline("sincos").embed(np.array([[90.0, 0.0], [0.0, 90.0]]))
    np.testing.assert_allclose(rows, [[0, 1, 1, 0], [1, 0, 0, 1]], atol=1e-7)


def test_untrained_towers_are_those_of_their_seed():
    lonlat = uniform_on_sphere(20, seed=0)
    first, again, other = (
        open_baseline(name).embed(lonlat) for name in ("untrained:L4", "untrained:L4:0", "untrained:L4:1")
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_opening_an_untrained_row_draws_nothing_from_the_default_generator():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    open_baseline("untrained:L2")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("polys", [10, 40])
def test_published_weights_from_a_file(polys):
    reference = golden_arrays(f"satclip_L{polys}.npz")
    baseline = open_baseline(f"satclip-vit16-l{polys}={golden(f'satclip_L{polys}.ckpt')}")
    made, expected = baseline.embed(reference["lonlat"]), reference["emb_analytic"]
    unit_made, unit_expected = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (made, expected))
    assert 0.5 * np.square(unit_made - unit_expected).sum(axis=1).max() <= 5e-6
    assert baseline.note == f"published weights, from satclip_L{polys}.ckpt"


def test_weights_that_were_trained_here(small_run):
    baseline = open_baseline(f"satcle={small_run / 'best.ckpt'}")
    assert baseline.embed(EDGES).shape == (5, 16)
    assert baseline.note.startswith("trained here, as small, on positions, greenness: ")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("nonsense", "there is no baseline nonsense; there are sincos, "),
        ("csp", "baseline csp is learned: say csp=FILE"),
        ("csp=/nowhere.ckpt", "there is no such file"),
        ("untrained:L0", "L from 1 to 100"),
        ("untrained:big", "say untrained:L10"),
        ("mosaiks", r"say mosaiks=CONFIG@IMAGERY"),
    ],
)
def test_what_cannot_be_opened_is_told_in_a_line(asked, said):
    with pytest.raises(BaselineError, match=said):
        open_baseline(asked)


def test_a_file_without_weights_is_told_in_a_line(tmp_path):
    file = tmp_path / "notes.ckpt"
    file.write_text("no weights")
    with pytest.raises(WeightsError, match=r"notes\.ckpt"):
        open_baseline(f"csp={file}")


def test_every_row_is_listed():
    names = {name.partition("=")[0].partition(":")[0] for name in baseline_names()}
    assert names == {*AS_THEY_ARE, *LEARNED, "untrained", "mosaiks"}


def test_a_run_before_its_first_step_is_the_tower_of_its_own_seed(small_run):
    config = read_checkpoint(small_run / "best.ckpt").config
    lonlat = uniform_on_sphere(20, seed=0)
    with torch.inference_mode():
        drawn = untrained_location_tower(config)(torch.from_numpy(lonlat)).numpy()
    baseline = open_baseline(f"untrained={small_run / 'best.ckpt'}")
    np.testing.assert_allclose(baseline.embed(lonlat), drawn, atol=1e-6)
    assert "small as its seed 0 draws it" in baseline.note
