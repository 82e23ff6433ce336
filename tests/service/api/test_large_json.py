"""Large bodies parsed by Arrow: what it accepts is what the parser for small ones reads, to the bit; else None."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.large_json import MARK, split_pairs

NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
PAIRS = st.lists(st.tuples(NUMBER, NUMBER).map(list), min_size=1, max_size=20)
SCALAR = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8")).filter(lambda text: "[[" not in text and "]]" not in text)
FIELD = SCALAR | TEXT | st.dictionaries(TEXT, SCALAR) | st.lists(SCALAR, min_size=1)
NAME = TEXT.filter(lambda name: name != "input")
ANYTHING = st.recursive(SCALAR | st.floats() | TEXT, lambda inner: st.lists(inner), max_leaves=20)


@given(PAIRS, st.dictionaries(NAME, FIELD), st.randoms())
def test_pairs_and_fields_are_what_a_json_parser_reads(pairs, others, random):
    fields = [*others.items(), ("input", pairs)]
    random.shuffle(fields)
    body = json.dumps(dict(fields)).encode()
    found, rest = split_pairs(body)
    np.testing.assert_array_equal(found, np.array(pairs, np.float64))
    assert rest == others


@given(st.lists(ANYTHING, max_size=6))
def test_what_is_read_at_all_is_a_list_of_pairs_of_numbers(value):
    if split := split_pairs(json.dumps({"input": value}).encode()):
        assert value
        assert all(type(pair) is list and len(pair) == 2 for pair in value)
        assert {type(number) for pair in value for number in pair} <= {int, float}
        np.testing.assert_array_equal(split[0], np.array(value, np.float64))


@pytest.mark.parametrize(
    "text",
    [
        "[[1,2]]",
        '{"input":[[1,2]]',
        '{"input":[[1,2]]}}',
        '{"input":[[1,2]]} {"input":[[3,4]]}',
        '{"input":[[1,2],[3]]}',
        '{"input":[[1,2],[3,4,5]]}',
        '{"input":[[1,2],null]}',
        '{"input":[[1,null]]}',
        '{"input":[["1","2"]]}',
        '{"input":[[true,1]]}',
        '{"input":[[1,2],{"a":[[3,4]]}]}',
        '{"input":[[[1,2]]]}',
        '{"input":[[]]}',
        '{"input":[[01,2]]}',
        '{"input":[[1,2]],"other":[[3,4]]}',
        '{"input":[[1,2]],"input":[[3,4]]}',
        '{"input":null,"other":[[3,4]]}',
        '{"other":{"input":[[3,4]]}}',
        '{"other":"[[1,2]]"}',
        '{"input":"[[1,2]]"}',
        '{"input":[[1,2]]]]}',
        '{"input":[[1,2]],,"a":1}',
        '{"input":[[1,2]]\n[[3,4]]}',
        '{"input":[[1,2]]}\n{"input":[[3,4]]}',
        '{"input":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"input":[[1,2]],"a":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_any_other_body_is_left_to_the_slow_parser(text):
    assert split_pairs(text.encode()) is None


def test_the_mark_of_another_process_is_a_name_like_any_other():
    assert split_pairs(b'{"input":"0123456789abcdef0123456789abcdef","a":[[1,2]]}') is None
    assert len(MARK) == 32


def test_bytes_that_are_not_utf_8_are_left_to_the_slow_parser():
    assert split_pairs(b'{"input":[[1,2]],"model":"\xff"}') is None
    assert split_pairs(b'{"input":[[1,\xff2]]}') is None
