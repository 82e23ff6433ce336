"""A legend has the colours that the pixels have."""

import re

import numpy as np

from service.maps.legend import STOPS, legend_of
from service.maps.render import Style, colored

COLOR = re.compile("#[0-9a-f]{6}")


def pixel(value, layer, style):
    values = np.full((1, 1, layer.bands), value, np.float32)
    return "#" + bytes(colored(values, layer, style)[0, 0, :3]).hex()


def test_the_ends_of_a_scale_are_the_colours_of_its_lowest_and_highest_value(plain):
    style = Style("turbo", -3, 7)
    legend = legend_of(plain, style)
    assert legend["unit"] == "m"
    assert legend["colormap_name"] == "turbo"
    assert legend["range"] == [-3, 7]
    assert len(legend["colors"]) == STOPS
    assert all(COLOR.fullmatch(color) for color in legend["colors"])
    for value, color in ((-3, 0), (-9, 0), (7, -1), (99, -1)):
        assert pixel(value, plain, style) == legend["colors"][color]


def test_each_class_has_its_colour_and_no_two_the_same(kinds):
    style = Style.of(kinds)
    classes = legend_of(kinds, style)["classes"]
    assert [(entry["value"], entry["label"]) for entry in classes] == [(0, "low"), (1, "middle"), (2, "high")]
    assert [pixel(entry["value"], kinds, style) for entry in classes] == [entry["color"] for entry in classes]
    assert len({entry["color"] for entry in classes}) == 3


def test_classes_have_the_colours_that_their_layer_gives_them(kinds):
    kinds.category_colors = ("#1c0dff", "#009900", "#F9FFA4")
    classes = legend_of(kinds, Style.of(kinds))["classes"]
    assert [entry["color"] for entry in classes] == ["#1c0dff", "#009900", "#f9ffa4"]
    assert [pixel(entry["value"], kinds, Style.of(kinds)) for entry in classes] == ["#1c0dff", "#009900", "#f9ffa4"]


def test_red_green_and_blue_explain_themselves(plain):
    plain.bands = 3
    assert legend_of(plain, Style.of(plain)) == {"unit": None}
