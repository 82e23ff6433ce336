import pytest
from pydantic import ValidationError

from tests.synthetic_world import small_config, write_config
from trainer.config import Config, read_config
from trainer.config.location import LocationTowerConfig, MultiscaleEncodingConfig, SirenConfig, SphericalHarmonicsConfig
from trainer.errors import ConfigError
from trainer.models.encodings import MULTISCALE, PLAIN
from trainer.models.location_tower import build_location_tower


def tower(**sections: object) -> LocationTowerConfig:
    return LocationTowerConfig.model_validate(sections)


def test_the_default_is_satclips():
    assert tower() == LocationTowerConfig(encoding=SphericalHarmonicsConfig(), network=SirenConfig(), embedding_dim=256)


def test_a_section_without_a_kind_is_of_the_usual_one():
    asked = tower(encoding={"legendre_polys": 40}, network={"hidden_layers": 1})
    assert asked.encoding == SphericalHarmonicsConfig(legendre_polys=40)
    assert asked.network == SirenConfig(hidden_layers=1)


def test_every_kind_has_an_encoding():
    (kinds,) = (MultiscaleEncodingConfig.model_fields["kind"].annotation.__args__,)
    assert set(kinds) == set(MULTISCALE)
    for kind in (*PLAIN, *kinds):
        assert build_location_tower(tower(encoding={"kind": kind}, embedding_dim=3)).embedding_dim == 3


def test_a_config_survives_json():
    config = Config.model_validate(small_config() | {"location_tower": {"encoding": {"kind": "utm_soft", "cells": 3}}})
    assert Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"encoding": {"kind": "hexagons"}}, r"location_tower\.encoding\.kind: hexagons is none of"),
        (
            {"encoding": {"kind": "grid", "frequencies": 1}},
            r"location_tower\.encoding\.frequencies: .*greater than or equal to 2",
        ),
        ({"encoding": {"kind": "grid", "legendre_polys": 4}}, r"unknown key location_tower\.encoding\.legendre_polys"),
        ({"network": {"kind": "fcnet", "dropout": 1}}, r"location_tower\.network\.dropout"),
        ({"network": {"kind": "linear"}, "untrained": {}}, r"location_tower: untrained goes with"),
        ({"untrained": {"legendre_polys": 11}}, r"location_tower: untrained\.legendre_polys: at most those"),
        ({"untrained": {"dimensions": 256}}, r"location_tower: untrained\.dimensions: fewer than embedding_dim"),
        ({"network": {"kind": "capsules"}}, r"location_tower: network\.kind: capsules go with"),
    ],
)
def test_errors_name_the_key_as_it_stands_in_the_file(tmp_path, section, said):
    path = write_config(tmp_path / "run.yaml", small_config() | {"location_tower": section})
    with pytest.raises(ConfigError, match=said):
        read_config(path)


def test_radii_are_positive():
    with pytest.raises(ValidationError, match="min_radius"):
        tower(encoding={"kind": "theory", "min_radius": 0})
