"""A sweep is every variant by every combination and seed, or one line that names what is wrong with it."""

from pathlib import Path

import pytest
import yaml

from tests.synthetic_world import small_config, write_config
from trainer.config import read_config
from trainer.errors import ConfigError
from trainer.sweep.plan import read_plan

SHIPPED = Path(__file__).parents[3] / "trainer" / "configs" / "sweeps"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_sweeps_that_ship_are_read_and_choose_on_what_is_not_reported(path):
    plan = read_plan(path)
    assert plan.runs
    assert all(suite.exists() for suite in plan.suites)
    if len({run.variant for run in plan.runs}) > 1:  # between seeds alone there is nothing to choose
        assert not any(suite.stem == "six" for suite in plan.suites)
        assert plan.sweep.evaluate.first_seed >= 100


@pytest.fixture
def planned(tmp_path):
    write_config(tmp_path / "small.yaml", small_config())
    whole = {"name": "s", "base": "small.yaml", "evaluate": {"tasks": ["suite.yaml"]}}

    def read(**sweep):
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(whole | sweep, sort_keys=False))
        return read_plan(path)

    return read


def test_without_changes_it_is_the_config_for_each_seed(planned, tmp_path):
    plan = planned(seeds=[0, 4])
    assert [(run.name, run.variant, run.seed) for run in plan.runs] == [
        ("s-base-s0", "base", 0),
        ("s-base-s4", "base", 4),
    ]
    base = read_config(tmp_path / "small.yaml")
    assert plan.runs[0].config == base.model_copy(update={"name": "s-base-s0"})
    assert plan.suites == (tmp_path / "suite.yaml",)


def test_variants_by_combinations_by_seeds(planned):
    variants = {"plain": None, "wide": {"location_tower.network": {"hidden_dim": 64}}}
    vary = {"training.learning_rate": [1e-4, 1e-3], "refinement": [{"neighbours": 0}, {"neighbours": 2}]}
    plan = planned(variants=variants, vary=vary, seeds=[0, 1])
    assert len(plan.runs) == 2 * 4 * 2
    assert len({run.config.digest for run in plan.runs}) == 16
    assert plan.runs[0].variant == "plain-learning_rate-0.0001-refinement-0"
    last = plan.runs[-1].config
    assert plan.runs[-1].name == "s-wide-learning_rate-0.001-refinement-1-s1"
    assert (last.training.learning_rate, last.refinement.neighbours, last.training.seed) == (1e-3, 2, 1)
    assert (last.location_tower.network.hidden_dim, last.location_tower.network.hidden_layers) == (64, 2)
    assert last.refinement.sigma_deg == 0.18  # of the file: a section is merged key by key


def test_keys_of_one_name_are_told_apart(planned):
    vary = {"views.count": [1], "training.epochs": [2], "data.points.count": [200, 300]}
    assert [run.variant for run in planned(vary=vary).runs] == [
        f"views.count-1-epochs-2-data.points.count-{count}" for count in (200, 300)
    ]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"base": "none.yaml"}, "none.yaml cannot be read"),
        ({"colour": "red"}, "colour"),
        ({"variants": {"a": {"training.lr": 1}}}, "variant a: .*unknown key training.lr"),
        ({"variants": {"a": {"training.epochs": 0}}}, "variant a: .*training.epochs"),
        ({"variants": {"A B": {}}}, "variants"),
        ({"vary": {"training.epochs": []}}, "vary.training.epochs"),
        ({"vary": {"training.epochs": [2, 2]}}, "two variants are named 'epochs-2'"),
        ({"vary": {"training.seed": [2]}}, "training.seed is the sweep's own"),
        ({"variants": {"untrained": {}}}, "no variant can be named untrained"),
        ({"seeds": [1, 1]}, "seeds: one is there twice"),
        ({"reference": "b"}, "no variant is named 'b'; there are untrained, base"),
        ({"variants": {"v" * 64: {}}}, "longer than 64"),
        ({"evaluate": {"tasks": []}}, "evaluate.tasks"),
        ({"evaluate": {"tasks": ["a.yaml"], "probes": ["lasso"]}}, "evaluate.probes.0"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(planned, sweep, message):
    with pytest.raises(ConfigError, match=message) as raised:
        planned(**sweep)
    assert "\n" not in str(raised.value)
