"""Content negotiation."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.formats import ARROW_STREAM, ENCODERS, JSON, NPY, OCTET_STREAM, PARQUET, media_type_for
from service.errors import NotAcceptable


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("APPLICATION/JSON", JSON),
        ("application/octet-stream", OCTET_STREAM),
        ("application/octet-stream, */*", JSON),
        ("application/octet-stream, */*;q=0.8", OCTET_STREAM),
        ("application/json;q=0.5, application/x-npy;q=0.9", NPY),
        ("text/html, application/vnd.apache.parquet;q=0.1", PARQUET),
        ("application/json;q=0, */*", OCTET_STREAM),
        ("application/vnd.apache.arrow.stream;q=1.0;v=2", ARROW_STREAM),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
    ],
)
def test_the_best_served_media_type_is_chosen(accept: str | None, chosen: str) -> None:
    assert media_type_for(accept) == chosen


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "*/*;q=0", "text/*", "application/json;q=no"])
def test_an_accept_that_rules_all_out_names_what_is_served(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=JSON):
        media_type_for(accept)


@given(st.text(max_size=80))
def test_any_accept_header_is_answered_or_refused(accept: str) -> None:
    with contextlib.suppress(NotAcceptable):
        assert media_type_for(accept) in ENCODERS
