"""Query parameters: what is read, and what is refused by name."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from service.api.query import Query, lon_lat, number
from service.errors import InvalidRequest

finite = st.floats(allow_nan=False, allow_infinity=False)


def query(*pairs: tuple[str, str]) -> Query:
    text = urlencode(pairs).encode()
    return Query(Request({"type": "http", "headers": [], "query_string": text}), ("reference", "model", "size"))


def pointer_of(error: pytest.ExceptionInfo[InvalidRequest]) -> str:
    return error.value.items[0].pointer


@given(lon=finite, lat=finite)
def test_every_finite_number_is_read_as_it_is_written(lon: float, lat: float) -> None:
    assert lon_lat(f"{lon!r},{lat!r}", "/x") == [lon, lat]
    assert lon_lat(f" {lon!r}, {lat!r} ", "/x") == [lon, lat]


@given(text=st.text(max_size=20))
def test_any_text_is_a_finite_number_or_none(text: str) -> None:
    value = number(text)
    assert value is None or value == float(text)
    assert value is None or abs(value) < float("inf")


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "-Infinity", "1e999", "1_0", "0x1", "1,2", "٣", "1e", ".", "1" * 61]
)
def test_what_only_python_or_nobody_takes_for_a_number_is_none(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize("text", ["", ",", "1", "1,2,3", "1,2,", "1;2", "a,b", "nan,1", "1" * 10_000])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="lon,lat") as error:
        lon_lat(text, "/reference/3")
    assert pointer_of(error) == "/reference/3"
    assert len(str(error.value)) < 200


def test_places_may_be_repeated_and_the_rest_may_not() -> None:
    given = query(("reference", "1,2"), ("reference", "3,4"), ("model", "a"))
    assert given.each("reference") == ["1,2", "3,4"]
    assert given.each("negative") == []
    assert given.one("model") == "a"
    assert given.one("size") is None
    with pytest.raises(InvalidRequest, match="2 times") as error:
        query(("model", "a"), ("model", "a"))
    assert pointer_of(error) == "/model"


def test_what_is_unknown_is_named_with_what_there_is() -> None:
    with pytest.raises(InvalidRequest, match="reference, model, size") as error:
        query(("a/b" * 100, "1"))
    assert pointer_of(error).startswith("/a~1b")


def test_a_choice_is_the_first_where_nothing_is_chosen() -> None:
    assert query().choice("size", ("1", "2")) == "1"
    assert query(("size", "2")).choice("size", ("1", "2")) == "2"
    with pytest.raises(InvalidRequest, match="1, 2"):
        query(("size", "3")).choice("size", ("1", "2"))
