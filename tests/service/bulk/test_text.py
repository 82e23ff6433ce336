from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bulk.text import NarrowestTypes, parse_numbers


def narrowed(*blocks: list[str], numbers: frozenset[str] = frozenset()) -> pa.Array:
    schema = pa.schema([("c", pa.string())])
    batches = [pa.RecordBatch.from_pydict({"c": block}, schema=schema) for block in blocks]
    types = NarrowestTypes(schema, numbers)
    for batch in batches:
        types.observe(batch)
    return pa.Table.from_batches([types.cast(batch) for batch in batches], types.schema)["c"].combine_chunks()


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", "-2", "0"], pa.int64(), [1, -2, 0]),
        (["1", "", " 3 "], pa.int64(), [1, None, 3]),
        (["999999999999999999"], pa.int64(), [999999999999999999]),
        (["1", "2.5", "", "-1e3", ".5"], pa.float64(), [1.0, 2.5, None, -1000.0, 0.5]),
        (["01", "2"], pa.string(), ["01", "2"]),
        (["12345678901234567890"], pa.string(), ["12345678901234567890"]),
        (["123456789012345678", "0.5"], pa.string(), ["123456789012345678", "0.5"]),
        (["nan", "1"], pa.string(), ["nan", "1"]),
        (["", ""], pa.string(), ["", ""]),
        (["a", "", "1"], pa.string(), ["a", "", "1"]),
    ],
)
def test_the_narrowest_type_loses_nothing(texts, kind, values):
    in_one_block, in_many = narrowed(texts), narrowed(*[[text] for text in texts])
    assert in_one_block.type == in_many.type == kind
    assert in_one_block.to_pylist() == in_many.to_pylist() == values


def test_columns_of_degrees_are_float_whatever_they_hold():
    assert narrowed(["1", "+02"], numbers=frozenset("c")).to_pylist() == [1.0, 2.0]
    assert narrowed(numbers=frozenset("c")).type == pa.float64()


@given(st.lists(st.integers(-(10**18) + 1, 10**18 - 1), min_size=1))
def test_integers_round_trip(integers):
    assert narrowed([str(i) for i in integers]).to_pylist() == integers


@given(st.lists(st.floats(-1e14, 1e14), min_size=1))
def test_floats_round_trip(floats):
    column = narrowed([*(str(x) for x in floats), "0.5"])
    if column.type == pa.float64():  # exponents below e-99 stay text
        assert column.to_pylist() == [*floats, 0.5]


@given(st.lists(st.floats(-360, 360), min_size=1), st.sampled_from(["{}", " {}", "{}\t", " {} "]))
def test_degrees_parse_as_python_parses_them(degrees, form):
    parsed = parse_numbers(pa.array([form.format(x) for x in degrees]), pa.float64())
    assert parsed.to_pylist() == degrees


@pytest.mark.parametrize("text", ["x", "+-5", "++5", "1_000", "1,5", "0x10", "5 N", "१२"])
def test_what_is_no_number_is_an_error(text):
    with pytest.raises(pa.ArrowInvalid):
        parse_numbers(pa.array([text]), pa.float64())
