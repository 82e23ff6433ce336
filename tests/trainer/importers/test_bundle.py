import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from service.bundle import BundleExists, read_bundle
from tests.trainer.importers.layouts import HIDDEN, lightning, onnx_encoder, places, save, siren
from trainer.cli.importing import import_
from trainer.errors import WeightsError
from trainer.export import embed_exactly, embed_with_graph, export_encoder
from trainer.importers import Choices, read_location_encoder
from trainer.importers.bundle import Said, import_bundle
from trainer.importers.comparison import EDGES, compare_variants

FEW = 50
app = Typer()
app.command("import")(import_)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save(lightning(siren(36)), tmp_path_factory.mktemp("weights") / "a.ckpt")


@pytest.fixture(scope="module")
def bundle(checkpoint):
    return import_bundle(checkpoint, checkpoint.parent / "bundle", snap_places=FEW)


def test_the_bundle_embeds_as_the_tower_does(checkpoint, bundle):
    tower = read_location_encoder(checkpoint).tower
    rows = embed_with_graph(read_bundle(bundle.path).read("encoder.onnx"), places())
    np.testing.assert_allclose(rows, embed_exactly(tower, places()), atol=1e-5)
    assert 0 < bundle.card.parity.max_abs_error < 1e-5


def test_the_card_says_what_it_is_and_what_nobody_wrote_down(bundle):
    card = bundle.card
    assert (card.name, card.version, card.license) == ("satclip-rn18-l6", "1", "MIT")
    assert (card.encoding.variant, card.encoding.legendre_polys) == ("exact", 6)
    assert card.encoding.m0_scale == math.pi
    assert (card.network.hidden_dim, card.network.hidden_layers, card.network.w0_initial) == (HIDDEN, 2, 30)
    assert card.training.method == "satclip"
    assert card.training.samples is None
    assert card.training.fusion_served is False
    assert len(card.snap_errors) == 9
    assert card.dimensions == (8,)


def test_large_embeddings_are_measured_in_their_own_size(tmp_path):
    state = siren(36)
    state["last_layer.weight"] *= 1000
    tower = read_location_encoder(save(lightning(state), tmp_path / "a.ckpt")).tower
    largest = np.abs(embed_exactly(tower, places())).max()
    assert largest > 500
    assert 2e-5 < export_encoder(tower, FEW).parity.max_abs_error < 2e-5 * largest


def test_maps_have_their_files(bundle):
    names = set(bundle.manifest.files)
    assert names >= {"encoder.onnx", "raster.onnx", "components.npy", "preview.png"}


def test_encoders_without_a_graph_over_grids_have_none(tmp_path):
    path = onnx_encoder(tmp_path / "waves.onnx")
    choices = Choices(order="latlon", dimensions=(4,), normalize=True)
    card = import_bundle(path, tmp_path / "bundle", choices, snap_places=FEW).card
    assert card.raster is None
    assert card.components is not None
    assert (card.name, card.encoding.kind, card.network.kind) == ("waves", "onnx", "onnx")
    assert (card.dimensions, card.normalization) == ((4, 12), "l2")
    assert len(card.snap_errors) == 9


def test_what_the_user_says_comes_before_what_is_known(checkpoint, tmp_path):
    said = Said("mine", "2", "Its description.", "CC0-1.0", "Its limits.", "Somebody", "https://example.org/x")
    card = import_bundle(checkpoint, tmp_path / "bundle", said=said, snap_places=FEW).card
    assert (card.name, card.version, card.description) == ("mine", "2", "Its description.")
    assert (card.license, card.limits) == ("CC0-1.0", "Its limits.")
    weights = card.training.sources[0]
    assert (weights.credit, weights.license, weights.url) == ("Somebody", "CC0-1.0", "https://example.org/x")


@pytest.mark.parametrize("said", [Said(name="Two Words"), Said(version=""), Said(version="x" * 65)])
def test_what_does_not_fit_in_a_card_is_refused_and_nothing_is_left(checkpoint, tmp_path, said):
    with pytest.raises(WeightsError) as refused:
        import_bundle(checkpoint, tmp_path / "bundle", said=said, snap_places=FEW)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_not_overwritten_unasked(checkpoint, tmp_path):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(BundleExists):
        import_bundle(checkpoint, tmp_path / "bundle", snap_places=FEW)


def test_the_command_writes_a_bundle_and_says_so(checkpoint, tmp_path):
    out = tmp_path / "bundle"
    done = run(checkpoint, "--out", out, "--name", "other", "--m0-scale", "1", "--snap-places", FEW)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{out}: other 1, parity ")
    assert json.loads((out / "card.json").read_text())["encoding"]["m0_scale"] == 1


@pytest.mark.parametrize(
    "content", [b"", b"not weights at all", b"PK\x03\x04 and nothing", b"\x80\x02.", b"\x08\x08\x12"]
)
def test_the_command_says_one_line_and_leaves_nothing(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    done = run(path, "--out", tmp_path / "bundle", "--order", "lonlat")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert [child.name for child in tmp_path.iterdir()] == ["file"]


def test_the_command_wants_a_folder_or_a_comparison(checkpoint):
    done = run(checkpoint)
    assert done.exit_code == 2
    assert "--out" in done.output


def test_the_command_wants_whole_numbers(tmp_path):
    done = run(onnx_encoder(tmp_path / "a.onnx"), "--out", tmp_path / "b", "--dimensions", "4,x")
    assert done.exit_code == 2
    assert "--dimensions" in done.output


def test_rounding_is_felt_towards_the_poles(tmp_path):
    path = save(lightning(siren(40**2), legendre_polys=40), tmp_path / "a.ckpt")
    bands = compare_variants(path)
    assert [(band.low, band.high) for band in bands] == list(pairwise(EDGES))
    assert bands[0].feature_max < 1e-9
    assert bands[-1].feature_max > 0.1
    assert [band.feature_max for band in bands] == sorted(band.feature_max for band in bands)
    assert all(band.cosine_median <= band.cosine_max for band in bands)


def test_few_polynomials_round_to_nothing(checkpoint):
    assert max(band.feature_max for band in compare_variants(checkpoint)) < 1e-10


def test_the_command_prints_the_comparison(checkpoint):
    done = run("--compare", checkpoint)
    assert done.exit_code == 0, done.output
    for low, high in pairwise(EDGES):
        assert f"{low}° to {high}°" in done.output


def test_only_harmonics_can_be_compared(tmp_path):
    state = siren(4)
    path = save(lightning(state, le_type="wrap"), tmp_path / "a.ckpt")
    done = run("--compare", path)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1


def test_the_comparison_of_a_file_that_is_not_there(tmp_path):
    assert "does not exist" in run("--compare", Path(tmp_path / "absent.ckpt")).stderr


def test_an_encoder_that_embeds_all_places_alike_is_refused(tmp_path):
    nothing = {name: 0 * value for name, value in siren(36).items()}
    with pytest.raises(WeightsError, match="embeds all places alike"):
        import_bundle(save(lightning(nothing), tmp_path / "a.ckpt"), tmp_path / "bundle", snap_places=FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]
