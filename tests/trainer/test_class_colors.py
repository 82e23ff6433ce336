"""The file of class colours, and whose colours they are."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bundle import DataSource, HeadCard
from trainer.class_colors import in_order_of, read_class_colors
from trainer.data.tables import read_value_labels
from trainer.errors import HeadError, TableError

IGBP = Path(__file__).parents[2] / "trainer" / "configs" / "igbp.csv"
COLORS = st.integers(0, 256**3 - 1).map(lambda number: f"#{number:06x}")
LABELS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1, max_size=9)


@given(st.dictionaries(LABELS, COLORS, min_size=1, max_size=8), st.booleans())
def test_what_is_written_is_read_and_other_columns_do_not_matter(tmp_path_factory, colors, bom):
    path = tmp_path_factory.mktemp("colors") / "c.csv"
    with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["color", "note", "label"])
        writer.writerows([color, "x", label] for label, color in colors.items())
    assert read_class_colors(path) == colors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'color'"),
        ("label\nwater\n", "has no column 'color'"),
        ("value,color\n0,#1c0dff\n", "has no column 'label'"),
        ("label,color\n", "has no rows"),
        ("label,color\nwater,#1c0dff\nice,blue\n", "line 3: the color of 'ice' is 'blue'; write it as #1c0dff"),
        ("label,color\nwater,1c0dff\n", "'1c0dff'"),
        ("label,color\nwater,#1c0df\n", "'#1c0df'"),
        ("label,color\nwater,#1c0dffff\n", "'#1c0dffff'"),
        ('label,color\nwater,"#1c0dff\n"\n', "the color of 'water'"),
        ("label,color\nwater,#\u0661c0dff\n", "the color of 'water'"),
        ("label,color\nwater\n", "the color of 'water' is ''"),
        ("label,color\n,#1c0dff\n", "line 2 has no label"),
        ("label,color\nwater,#1c0dff\nwater,#000000\n", "line 3: 'water' has a color already"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_that_names_it(tmp_path, text, message):
    path = tmp_path / "c.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError) as raised:
        read_class_colors(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_no_text_or_not_there_cannot_be_read(tmp_path):
    (tmp_path / "c.csv").write_bytes(b"label,color\n\xff,#1c0dff\n")
    for path in (tmp_path / "c.csv", tmp_path / "none.csv", tmp_path):
        with pytest.raises(TableError, match="cannot be read"):
            read_class_colors(path)


def test_colours_are_in_the_order_of_classes_and_rare_labels_may_have_one():
    colors = {"rare": "#000000", "a": "#0000ff", "b": "#00ff00"}
    assert in_order_of(("b", "a"), colors, {"a", "b", "rare"}) == ("#00ff00", "#0000ff")


def test_a_class_without_a_colour_and_a_colour_without_a_label_are_named():
    with pytest.raises(HeadError, match="classes without a colour: 'c'; add a row"):
        in_order_of(("a", "c"), {"a": "#000000"}, {"a", "c"})
    with pytest.raises(HeadError, match="does not have: 'A'; correct or remove"):
        in_order_of(("a", "b"), {"a": "#000000", "b": "#111111", "A": "#222222"}, {"a", "b"})
    with pytest.raises(HeadError, match="'4' and 5 more"):
        in_order_of(tuple(map(str, range(10))), {}, set())


def test_the_igbp_file_has_a_colour_and_a_value_for_each_of_17_classes():
    """So that one file serves `data sample --labels` and `fit-head --class-colors`."""
    labels, colors = read_value_labels(IGBP), read_class_colors(IGBP)
    assert tuple(labels.values()) == tuple(colors)
    assert list(labels) == list(range(17))
    assert len(set(colors.values())) == 17
    source = DataSource(name="none", credit="nobody", license="CC0-1.0")
    card = {"id": "cover", "task": "classification", "file": "cover.onnx", "source": source}
    assert HeadCard(**card, classes=tuple(colors), class_colors=tuple(colors.values())).columns == 17
