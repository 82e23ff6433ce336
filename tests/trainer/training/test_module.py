import math

import pytest
import torch

from tests.synthetic_world import small_config
from trainer.config import Config
from trainer.data.kept import KeptTiles
from trainer.losses.contrastive import contrastive_loss
from trainer.losses.csp import draw_elsewhere
from trainer.sphere import unit_vectors
from trainer.training.module import ContrastiveTraining, decay_groups, initial_model

PLACES, VIEWS, FEATURES = 200, 3, 6


def config(**training: object) -> Config:
    return Config.model_validate(small_config(**training))


def kept(views: int = VIEWS) -> KeptTiles:
    """Features that tell the place and the view; rows of NaN, as of tiles that cannot be read, are in no part."""
    rng = torch.Generator().manual_seed(0)
    drawn = torch.rand(PLACES, 2, generator=rng, dtype=torch.float64)
    lonlat = torch.stack((360 * drawn[:, 0] - 180, torch.rad2deg(torch.asin(2 * drawn[:, 1] - 1))), dim=1)
    plain = torch.cat((unit_vectors(lonlat).float(), torch.randn(PLACES, 3, generator=rng)), dim=1)
    features = torch.stack([plain + number for number in range(views)])
    features[:, :4] = torch.nan
    rows = torch.arange(4, PLACES)
    return KeptTiles(lonlat, features, features[0, :, :1], rows[:150], rows[150:])


def module(tiles: KeptTiles, asked: Config) -> ContrastiveTraining:
    return ContrastiveTraining(initial_model(asked, tiles), tiles, asked, ())


def test_each_epoch_has_its_own_order_and_covers_all_but_a_remainder():
    training = module(kept(), config(batch_size=64))
    rows = torch.cat(list(training.train_dataloader()))
    assert len(rows) == len(rows.unique()) == 128
    assert set(rows.tolist()) <= set(training.tiles.train_rows.tolist())


def test_image_features_are_standardised_by_the_plain_view_of_the_training_tiles():
    tiles = kept()
    projection = initial_model(config(), tiles).image_projection
    plain = tiles.features[0, tiles.train_rows]
    torch.testing.assert_close(projection.mean, plain.mean(dim=0))
    torch.testing.assert_close(projection.deviation, plain.std(dim=0, correction=0))


def test_a_step_contrasts_places_with_the_views_that_it_drew():
    """Without neighbours nothing else is drawn: the loss is that of some view of each row, and not of view 0 alone."""
    asked = Config.model_validate({**small_config(), "refinement": {"neighbours": 0}})
    tiles, rows = kept(), torch.arange(10, 20)
    training = module(tiles, asked)
    model = training.model

    def loss(views: torch.Tensor) -> torch.Tensor:
        return contrastive_loss(
            model.location(tiles.lonlat[rows][:, None]), model.image(tiles.features[views, rows]), model.logit_scale
        )

    rng = torch.Generator().manual_seed(0)
    views = torch.randint(VIEWS, (10,), generator=rng)
    torch.testing.assert_close(training._loss(rows, views, rng), loss(views))
    assert not torch.isclose(loss(views), loss(torch.zeros_like(views)))


def test_the_contrast_alone_is_bit_for_bit_what_it_is_without_any_other_objective():
    tiles, rows, views = kept(), torch.arange(10, 74), torch.zeros(64, dtype=torch.int64)
    training = module(tiles, config())
    model, rng, other = training.model, *(torch.Generator().manual_seed(0) for _ in range(2))
    around = model.neighbourhoods.draw(tiles.lonlat[rows], other)
    expected = contrastive_loss(model.location(around), model.image(tiles.features[views, rows]), model.logit_scale)
    assert torch.equal(training._loss(rows, views, rng), expected)
    assert torch.equal(rng.get_state(), other.get_state())


def csp(neighbours: int = 0) -> ContrastiveTraining:
    network = {"kind": "fcnet", "hidden_dim": 16, "residual_layers": 1}
    sections = {"location_tower": {"network": network, "embedding_dim": 8}, "refinement": {"neighbours": neighbours}}
    asked = Config.model_validate({**small_config(objective="csp"), **sections})
    return module(kept(), asked)


def test_csp_adds_random_places_and_a_second_pass():
    """Of two tiles, by hand: without dropout the second pass is the first."""
    training, rows = csp().eval(), torch.tensor([10, 20])
    model, tiles, scale = training.model, training.tiles, training.model.logit_scale
    elsewhere = draw_elsewhere(2, 1, torch.Generator().manual_seed(0))[:, 0]
    given = model.location_tower(tiles.lonlat[rows]), model.image(tiles.features[0, rows])
    (l0, l1), (v0, v1), (e0, e1) = (
        each / each.norm(dim=1, keepdim=True) for each in (*given, model.location_tower(elsewhere))
    )

    def costs(right: torch.Tensor, wrong: torch.Tensor) -> torch.Tensor:
        return torch.log(1 + torch.exp(scale * (wrong - right)))

    in_batch = costs(l0 @ v0, l0 @ v1) + costs(l1 @ v1, l1 @ v0) + costs(l0 @ v0, l1 @ v0) + costs(l1 @ v1, l0 @ v1)
    from_elsewhere = costs(l0 @ v0, e0 @ v0) + costs(l1 @ v1, e1 @ v1)
    again = costs(l0 @ l0, l0 @ l1) + costs(l1 @ l1, l1 @ l0)
    found = training._loss(rows, torch.zeros_like(rows), torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, in_batch / 4 + from_elsewhere / 2 + again / 2)


@pytest.mark.parametrize("neighbours", [0, 3])
def test_csp_draws_its_dropout_from_where_in_the_run_it_is(neighbours):
    training, rows = csp(neighbours), torch.arange(10, 40)
    views = torch.zeros_like(rows)
    one, same, other = (training._loss(rows, views, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.isclose(one, other)


def test_csp_has_a_gradient_for_all_that_it_trains():
    training, rows = csp(neighbours=3), torch.arange(10, 40)
    training._loss(rows, torch.zeros_like(rows), torch.Generator().manual_seed(0)).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in training.model.parameters())


def test_bfloat16_lowers_the_networks_and_neither_angles_nor_loss():
    tiles, rows, views = kept(), torch.arange(10, 74), torch.zeros(64, dtype=torch.int64)
    exact, lowered = (
        module(tiles, config(precision=precision))._loss(rows, views, torch.Generator().manual_seed(0))
        for precision in ("float32", "bfloat16")
    )
    assert lowered.dtype == torch.float32
    assert not torch.equal(lowered, exact)
    torch.testing.assert_close(lowered, exact, rtol=0.05, atol=0)


def test_decay_is_on_matrices_alone():
    model = initial_model(config(), kept())
    decayed, free = decay_groups(model, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all(names[id(p)].endswith("weight") for p in decayed["params"])
    assert {"log_scale"} | {n for n in names.values() if n.endswith("bias")} == {names[id(p)] for p in free["params"]}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(free["params"]) == len(names)


def test_the_learning_rate_follows_the_schedule():
    training = module(kept(), config(batch_size=50, epochs=10, warmup_epochs=1, learning_rate=0.4))
    (optimizer,), (schedule,) = training.configure_optimizers()
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule["scheduler"].step()
    assert rates == pytest.approx([0.4 / 3, 0.8 / 3, 0.4, 0.4, 0.4])
    assert schedule["interval"] == "step"


def test_the_first_loss_is_that_of_chance_or_worse():
    training = module(kept(), config())
    rows = training.tiles.train_rows[:64]
    loss = training._loss(rows, torch.zeros_like(rows), torch.Generator().manual_seed(0))
    assert float(loss.detach()) > 0.8 * math.log(64)
