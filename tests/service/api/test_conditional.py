"""ETags: equal for equal answers, and what becomes of those who have one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from service.api.conditional import etag_of, not_modified

parts = st.tuples(st.text(max_size=5), st.binary(max_size=5), st.integers(), st.floats(allow_nan=False))


class App:
    class state:  # noqa: N801 - as Starlette has it
        class settings:  # noqa: N801
            api_keys_file = None


def request(if_none_match: str | None) -> Request:
    headers = [] if if_none_match is None else [(b"if-none-match", if_none_match.encode("latin-1"))]
    return Request({"type": "http", "headers": headers, "app": App})


@given(first=parts, second=parts)
def test_equal_parts_and_they_alone_have_equal_etags(first, second) -> None:
    assert etag_of(first) == etag_of(first)
    assert (etag_of(first) == etag_of(second)) == (repr(first) == repr(second))


def test_an_etag_is_strong_and_quoted() -> None:
    tag = etag_of(["x"])
    assert tag[0] == tag[-1] == '"'
    assert len(tag) > 20


def test_whoever_has_it_is_told_so() -> None:
    for held in ('"a"', 'W/"a"', '"b", "a"', '"b" ,W/"a"', "*"):
        answer = not_modified(request(held), '"a"')
        assert answer is not None
        assert answer.status_code == 304
        assert answer.headers["etag"] == '"a"'
        assert answer.body == b""


def test_whoever_has_another_or_none_is_not() -> None:
    for held in (None, "", '"b"', "a", '"', "*, x", ",,", "W/", "\xff"):
        assert not_modified(request(held), '"a"') is None
