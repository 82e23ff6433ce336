import numpy as np
import pytest
import torch
from matplotlib.image import imread

from tests.synthetic_world import small_config, write_world
from trainer.config import Config
from trainer.errors import CheckpointError, ConfigError, ImageryError
from trainer.evaluation.attention_figure import attention_figure, colours, read_rows
from trainer.vision.training import pretrain_vision

TINY = {
    **{"patch": 2, "dim": 12, "depth": 1, "heads": 3, "head_dim": 16, "bottleneck_dim": 8, "output_dim": 32},
    **{"batch_size": 32, "max_steps": 1, "crops": {"local_crops": 0}, "accelerator": "cpu"},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Imagery and runs, a vision pretraining of one step among them."""
    folder = tmp_path_factory.mktemp("world")
    imagery = write_world(folder / "imagery")
    pretrain_vision(config(), imagery, folder / "runs")
    return imagery, folder / "runs"


def config(**sections: object) -> Config:
    return Config.model_validate({**small_config(), "vision": TINY, **sections})


def test_a_picture_has_a_row_a_tile(world, tmp_path):
    shapes = []
    for rows, count in (([], 4), ([7, 3], 2)):
        out = attention_figure(config(causal={"share": 0.3}), *world, rows, tmp_path / f"{count}.png")
        pixels = imread(out)
        shapes.append(pixels.shape[:2])
        assert len(np.unique(pixels)) > 50
    (tall, width), (short, same) = shapes
    assert width == same
    assert tall / short == pytest.approx((4 * 2.4 + 0.3) / (2 * 2.4 + 0.3), rel=0.01)


def test_a_config_without_a_causal_section_is_drawn_with_the_paper_s(world, tmp_path):
    default = attention_figure(config(), *world, [3], tmp_path / "default.png").read_bytes()
    asked = attention_figure(config(causal={"share": 0.1}), *world, [3], tmp_path / "asked.png").read_bytes()
    other = attention_figure(config(causal={"share": 0.5}), *world, [3], tmp_path / "other.png").read_bytes()
    assert default == asked != other


def test_what_cannot_be_drawn_is_one_line(world, tmp_path):
    imagery, runs = world
    with pytest.raises(ImageryError, match=r"^row 400 is none of the 400 tiles"):
        attention_figure(config(), imagery, runs, [3, 400], tmp_path / "out.png")
    with pytest.raises(CheckpointError, match=r"vision\.ckpt does not exist; make it by satcle pretrain-vision"):
        attention_figure(config(), imagery, tmp_path, [3], tmp_path / "out.png")
    with pytest.raises(CheckpointError, match=r"^small has no vision pretraining: add a section .*pretrain-vision"):
        attention_figure(Config.model_validate(small_config()), imagery, tmp_path, [3], tmp_path / "out.png")
    with pytest.raises(ConfigError, match=r"^--out .*out\.xyz cannot be written"):
        attention_figure(config(), imagery, runs, [3], tmp_path / "out.xyz")
    with pytest.raises(ConfigError, match=r"^--out .* cannot be written"):
        attention_figure(config(), imagery, runs, [3], tmp_path / "none" / "out.png")


def test_rows_are_whole_numbers_with_commas():
    assert read_rows("") == []
    assert read_rows("3, 17") == [3, 17]
    with pytest.raises(ConfigError, match=r"^--rows 3;17: give whole numbers with commas"):
        read_rows("3;17")


@pytest.mark.parametrize(
    ("bands", "shown"),
    [
        (("B02", "B03", "B04", "B08"), (2, 1, 0)),
        (("ndvi", "red", "green", "blue"), (1, 2, 3)),
        (("a", "b"), (0, 1, 1)),
        (("only",), (0, 0, 0)),
    ],
)
def test_colours_are_the_visible_bands_stretched(bands, shown):
    image = torch.rand(len(bands), 40, 40, generator=torch.Generator().manual_seed(0))
    image[:, 0, 0] = torch.nan
    found = colours(image, bands, image)
    assert found.shape == (40, 40, 3)
    assert (found[0, 0] == 0).all()
    for channel, band in enumerate(shown):
        values = image[band].numpy()
        low, high = np.nanquantile(values, [0.02, 0.98])
        expected = np.nan_to_num(((values - low) / (high - low)).clip(0, 1))
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-5)


def test_a_smoothed_image_is_stretched_as_its_original():
    image = torch.linspace(0, 1, 101)[:100].view(1, 10, 10)
    smoothed = torch.full_like(image, float(image.mean()))
    np.testing.assert_allclose(colours(smoothed, ["only"], image), 0.5, atol=1e-5)
