"""Large JSON bodies of pairs, parsed without holding the interpreter all the while.

A JSON parser that makes Python objects holds the interpreter until it is done, and a hundred thousand pairs set off
the garbage collector besides. Arrow's parser, which makes one array and lets go, reads the pairs; the rest of the body,
with a mark in their place, is parsed as ever.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json as pj
from numpy.typing import NDArray

MARK = secrets.token_hex(16)
"""Nobody else can know it: where it is found, the pairs were, and nothing in them can stand for it."""
PAIRS = pa.schema([(MARK, pa.list_(pa.list_(pa.float64())))])
MAX_BYTES = 2**31 - 2**10
"""What Arrow's parser takes at once."""


def split_pairs(body: bytes) -> tuple[NDArray[np.float64], dict[str, Any]] | None:
    """`input` as an array of shape (n, 2), and the other fields, of an object whose `input` is a list of pairs.

    None for any other body, sound or not: whoever parses it the slow way can say what is wrong with it.
    """
    start, end = body.find(b"[["), body.rfind(b"]]") + 2
    if not 0 <= start < end or len(body) > MAX_BYTES:
        return None
    try:
        fields = orjson.loads(b'%b"%b"%b' % (body[:start], MARK.encode(), body[end:]))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict) or fields.pop("input", None) != MARK:
        return None
    pairs = _parse_pairs(body[start:end])
    return None if pairs is None else (pairs, fields)


def _parse_pairs(text: bytes) -> NDArray[np.float64] | None:
    wrapped = b'{"%b":%b}' % (MARK.encode(), text)
    reading = pj.ReadOptions(use_threads=False, block_size=len(wrapped) + 1)
    parsing = pj.ParseOptions(explicit_schema=PAIRS, unexpected_field_behavior="error")
    try:
        rows = pj.read_json(pa.BufferReader(wrapped), reading, parsing)[MARK].combine_chunks()
    except pa.ArrowException:
        return None
    pairs = rows.flatten()
    numbers = pairs.flatten()
    if len(rows) != 1 or pairs.null_count or numbers.null_count or (np.diff(pairs.offsets.to_numpy()) != 2).any():
        return None
    return numbers.to_numpy().reshape(-1, 2)  # type: ignore[no-any-return]
