"""The colours of a head's classes, from a CSV with the columns label and color."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from service.bundle.card import COLOR_PATTERN
from trainer.errors import HeadError, TableError


def read_class_colors(path: Path) -> dict[str, str]:
    """The color, #rrggbb, of each label; other columns do not matter. Raises TableError."""
    colors: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if missing := {"label", "color"} - set(rows.fieldnames or ()):
                raise TableError(
                    f"{path} has no column {min(missing)!r}; class colours have the columns label and color"
                )
            for row in rows:
                label, color = row["label"] or "", row["color"] or ""
                line = f"{path}: line {rows.line_num}"
                if not label:
                    raise TableError(f"{line} has no label")
                if label in colors:
                    raise TableError(f"{line}: {label!r} has a color already; leave one of the two out")
                if not re.fullmatch(COLOR_PATTERN, color):
                    raise TableError(f"{line}: the color of {label!r} is {color!r}; write it as #1c0dff")
                colors[label] = color
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} cannot be read: {error}") from error
    if not colors:
        raise TableError(f"{path} has no rows")
    return colors


def in_order_of(classes: Sequence[str], colors: Mapping[str, str], labels: Collection[str]) -> tuple[str, ...]:
    """The color of each of `classes`. Raises HeadError where one has none, or where a color is of none of `labels`.

    `labels` are all that the table has, of which those too rare to be classes may have a color.
    """
    if missing := [name for name in classes if name not in colors]:
        raise HeadError(f"classes without a colour: {_shown(missing)}; add a row to the class colours for each")
    if unknown := [label for label in colors if label not in labels]:
        raise HeadError(f"colours of labels that the table does not have: {_shown(unknown)}; correct or remove them")
    return tuple(colors[name] for name in classes)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
