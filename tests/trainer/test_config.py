from pathlib import Path

import pytest
import yaml

import trainer
from tests.synthetic_world import small_config, write_config
from trainer.config import Config, read_config
from trainer.errors import ConfigError

CONFIGS = sorted((Path(trainer.__file__).parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_reads_is_named_as_its_file_and_opens_with_its_command(path):
    assert read_config(path).name == path.stem
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(("# make ", "# satcle "))


def test_the_papers_choices_are_the_defaults():
    given = small_config()
    for section in ("location_tower", "refinement", "training"):
        del given[section]
    config = Config.model_validate(given)
    assert (config.refinement.neighbours, config.refinement.sigma_deg, config.refinement.fusion_layers) == (5, 0.01, 2)
    assert (config.refinement.negative_slope, config.refinement.normalise_rows) == (0.2, False)
    assert (config.training.learning_rate, config.training.weight_decay) == (1e-4, 1e-2)
    assert (config.training.batch_size, config.training.epochs) == (512, 500)
    assert (config.training.temperature, config.training.max_logit_scale) == (0.07, 100)
    assert (config.location_tower.network.w0_initial, config.location_tower.network.w0) == (30, 1)


def change(keys: str, value: object) -> dict:
    """The small config with one value, named by a dotted path, put in."""
    config = small_config()
    *folders, last = (int(key) if key.isdigit() else key for key in keys.split("."))
    section = config
    for key in folders:
        section = section[key]
    section[last] = value
    return config


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        ("learning_rate", 1, "unknown key learning_rate"),
        ("training.learning_rte", 1, r"unknown key training\.learning_rte; remove it or correct its spelling"),
        ("data.sources.1.band", ["x"], r"unknown key data\.sources\.1\.band"),
        ("training.epochs", 0, r"training\.epochs: "),
        ("training.learning_rate", float("nan"), r"training\.learning_rate: "),
        ("training.accelerator", "tpu", r"training\.accelerator: "),
        ("data.points.land", "sea", "points.land names no source: sea"),
        ("data.points.min_lat", 90, "min_lat must be below max_lat"),
        ("data.sources.0.name", "greenness", "two sources share a name"),
        ("data.sources.0.bands", ["green", "y", "z"], "two bands share a name"),
        ("data.sources.0.package", "both==1", "give either a path or a package"),
        ("data.sources.0.path", None, "give either a path or a package"),
        ("data.sources.0.member", "a.tif", "package and member go together"),
        ("data.sources.0.bounds", [10, 0, -10, 5], "bounds are west, south, east, north"),
        ("card.probe_bands", ["green", "red"], "card.probe_bands names no band of data.sources: red"),
        ("image_tower", {"kind": "resnet18", "layers": 3}, r"unknown key image_tower\.layers;"),
        ("image_tower", {"kind": "resnet19"}, r"image_tower\.kind: resnet19 is none of random-features, statistics, v"),
        ("training.epochs", True, r"training\.epochs: must not be true or false"),
        ("training.learning_rate", True, r"training\.learning_rate: must not be true or false"),
        ("vision", {"max_steps": True}, r"vision\.max_steps: must not be true or false"),
        ("image_tower.scales", [1, True], r"image_tower\.scales: must not be true or false"),
        ("name", False, r"name: must not be true or false \(yes, no"),
        ("image_tower.filters", 0, r": image_tower\.filters: "),
        ("data", {"kind": "s2-100k", "min_byte": 3}, r"unknown key data\.min_byte;"),
        ("data", {"kind": "s2-100k", "min_bytes": -1}, r": data\.min_bytes: "),
        ("card.limits", None, r": card\.limits: "),
        ("training.warmup_epochs", 3, "warmup_epochs must be less than epochs"),
        ("refinement", {"fusion": "published", "serve_fusion": True}, "published has neither serve_fusion"),
        ("refinement", {"neighbours": 0, "serve_fusion": True}, "serve_fusion needs neighbours"),
        ("method", "satclip", "method satclip has no refinement"),
        ("method", ["satcle"], "method: Input should be 'satcle' or 'satclip'"),
        ("data", {"kind": "s3"}, r": data\.kind: s3 is none of mosaic, s2-100k$"),
        ("location_tower.encoding", {"kind": "s3"}, r": location_tower\.encoding\.kind: s3 is none of spherical_harm"),
        ("training", "long", ": training: must be a section of keys, not 'long'$"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path, keys, value, message):
    path = write_config(tmp_path / "mistaken.yaml", change(keys, value))
    with pytest.raises(ConfigError, match=message) as error:
        read_config(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "\ta: 1"])
def test_what_is_not_a_config_is_one_line_too(tmp_path, text):
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.yaml") as error:
        read_config(tmp_path / "broken.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ntraining:\n  epochs: 1\n  seed: 0\n  epochs: 2\n", "key epochs stands in line 3 and in line 5"),
        ("a: 1\n'a': 2\n", "key a stands in line 1 and in line 2; remove one"),
        ("data: {seed: 1, seed: 2}\n", "key seed stands in line 1 and in line 1"),
        ("extends: a.yaml\nextends: b.yaml\n", "key extends stands in line 1 and in line 2"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_lines(tmp_path, text, message):
    (tmp_path / "twice.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"twice\.yaml: {message}"):
        read_config(tmp_path / "twice.yaml")


def test_a_key_may_stand_once_in_every_section_and_in_what_is_merged_into_it(tmp_path):
    config = small_config()
    dumped = yaml.safe_dump(config | {"training": {}}).replace(
        "training: {}", f"training:\n  <<: {{epochs: 9, seed: 4}}\n  <<: {config['training']}\n  epochs: 7"
    )
    (tmp_path / "merged.yaml").write_text(dumped)
    training = read_config(tmp_path / "merged.yaml").training
    assert (training.epochs, training.seed, training.batch_size) == (7, 4, config["training"]["batch_size"])


def test_an_absent_config_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml cannot be read: No such file or directory"):
        read_config(tmp_path / "absent.yaml")


def test_the_digest_is_of_the_meaning_not_of_the_file(tmp_path):
    config = small_config()
    shuffled = dict(reversed(config.items()))
    explicit = {**config, "training": {**config["training"], "temperature": 0.07}}
    digests = {read_config(write_config(tmp_path / "c.yaml", each)).digest for each in (config, shuffled, explicit)}
    assert len(digests) == 1
    assert Config.model_validate(change("training.seed", 1)).digest not in digests


def test_a_config_survives_its_own_dump():
    config = Config.model_validate(small_config())
    assert Config.model_validate(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_a_config_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Config.model_validate(small_config()).training.seed = 3


def test_a_missing_key_is_named_as_it_would_stand_in_the_file(tmp_path):
    config = small_config()
    del config["data"]["points"]["count"]
    with pytest.raises(ConfigError, match=r": data\.points\.count: Field required"):
        read_config(write_config(tmp_path / "mistaken.yaml", config))


def test_the_published_fusion_brings_its_sigma():
    assert Config.model_validate(change("refinement", {"fusion": "published"})).refinement.sigma_deg == 0.18
    asked = {"fusion": "published", "sigma_deg": 0.5}
    assert Config.model_validate(change("refinement", asked)).refinement.sigma_deg == 0.5


def extending(folder: Path, changes: dict, base: dict | None = None) -> Config:
    write_config(folder / "base.yaml", small_config() if base is None else base)
    return read_config(write_config(folder / "changed.yaml", {"extends": "base.yaml", **changes}))


def test_an_extending_config_is_the_other_with_its_changes(tmp_path):
    changed = extending(tmp_path, {"name": "changed", "training": {"epochs": 7}, "views": {"count": 4}})
    whole = small_config(epochs=7) | {"name": "changed", "views": {"count": 4}}
    assert changed == Config.model_validate(whole)


def test_a_section_of_another_kind_takes_the_other_s_place(tmp_path):
    changed = extending(tmp_path, {"image_tower": {"kind": "resnet18"}, "card": {"probe_bands": []}})
    assert changed.image_tower.model_dump() == {"kind": "resnet18", "weights": "SENTINEL2_ALL_MOCO"}
    assert changed.card.probe_bands == ()


def test_a_chain_of_configs_is_merged_from_its_end(tmp_path):
    write_config(tmp_path / "first.yaml", small_config())
    write_config(tmp_path / "second.yaml", {"extends": "first.yaml", "training": {"epochs": 7, "patience": 2}})
    write_config(tmp_path / "third.yaml", {"extends": "second.yaml", "training": {"epochs": 8}})
    training = read_config(tmp_path / "third.yaml").training
    assert (training.epochs, training.patience) == (8, 2)
    assert training.batch_size == small_config()["training"]["batch_size"]


def test_null_takes_a_section_away(tmp_path):
    changed = extending(tmp_path, {"method": "satclip", "refinement": None, "training": {"batch_size": None}})
    assert (changed.refinement.neighbours, changed.training.batch_size) == (0, 8192)
    assert changed.training.epochs == small_config()["training"]["epochs"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extends": "none.yaml"}, r"none\.yaml cannot be read"),
        ({"extends": ["base.yaml"]}, "extends: name one file"),
        ({"extends": "changed.yaml"}, "a config cannot extend itself"),
        ({"training": {"epoch": 7}}, r"changed\.yaml: unknown key training\.epoch"),
        ({"data": {"points": {"count": 0}}}, r"changed\.yaml: data\.points\.count: "),
    ],
)
def test_a_mistake_in_extending_is_one_line(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        extending(tmp_path, changes)
    assert "\n" not in str(error.value)
