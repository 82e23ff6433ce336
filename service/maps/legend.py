"""What the colours of a layer stand for, for those who draw a legend."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.maps.layers import Layer
from service.maps.render import Style, category_colors, gradient

STOPS = 33
"""Colours of a legend's gradient: more than an eye tells apart."""


def legend_of(layer: Layer, style: Style) -> dict[str, Any]:
    """`unit`, and `classes` with a colour each, or `range` with the `colors` that are evenly spaced over it.

    Of a layer that is red, green and blue there is nothing more to say.
    """
    if layer.categories is not None:
        classes = zip(layer.categories, category_colors(layer), strict=True)
        return {
            "unit": None,
            "classes": [
                {"value": value, "label": label, "color": _hex(color)} for value, (label, color) in enumerate(classes)
            ],
        }
    if layer.bands > 1:
        return {"unit": None}
    colors = gradient(style.colormap_name)
    stops = np.linspace(0, len(colors) - 1, STOPS).round().astype(int)
    return {
        "unit": layer.unit,
        "colormap_name": style.colormap_name,
        "range": [style.low, style.high],
        "colors": [_hex(colors[stop]) for stop in stops],
    }


def _hex(color: Any) -> str:  # noqa: ANN401 - three numbers, or four
    return "#" + "".join(f"{int(part):02x}" for part in color[:3])
