"""Columns of text that hold numbers: reading them, and finding the narrowest type that loses nothing."""

from __future__ import annotations

from collections.abc import Set

import pyarrow as pa
import pyarrow.compute as pc

# A number that keeps its meaning as int64 or float64, or nothing. Leading zeros mean a code, not a number,
# and more digits than the type holds mean an identifier: both stay text.
PATTERNS = {
    pa.int64(): r"^\s*(-?(0|[1-9][0-9]{0,17}))?\s*$",
    pa.float64(): r"^\s*(-?((0|[1-9][0-9]{0,14})(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?)?\s*$",
}


def parse_numbers(column: pa.Array, number: pa.DataType) -> pa.Array:
    """Text as numbers; empty text is null. Raises pa.ArrowInvalid where some text is no number."""
    try:
        return column.cast(number)  # the common case, many times quicker
    except pa.ArrowInvalid:
        trimmed = pc.utf8_trim_whitespace(column)
        unsigned = pc.replace_substring_regex(trimmed, r"^\+([0-9.])", r"\1")
        return pc.if_else(pc.equal(unsigned, ""), None, unsigned).cast(number)


class NarrowestTypes:
    """The narrowest type of each column of text over all blocks: int64, then float64, then text.

    Columns in `numbers` are float64 in any case.
    """

    def __init__(self, schema: pa.Schema, numbers: Set[str]) -> None:
        self._schema = schema
        self._fitting = {name: list(PATTERNS) if name not in numbers else [pa.float64()] for name in schema.names}
        self._has_text = {name: name in numbers for name in schema.names}
        self._observed = [name for name in schema.names if name not in numbers]

    def observe(self, block: pa.RecordBatch) -> None:
        for name in self._observed:
            if self._fitting[name]:
                column = block.column(name)
                self._fitting[name] = [t for t in self._fitting[name] if _all_match(column, PATTERNS[t])]
                self._has_text[name] |= pc.any(pc.not_equal(column, "")).as_py()

    @property
    def schema(self) -> pa.Schema:
        types = [self._type(name) for name in self._schema.names]
        return pa.schema(list(zip(self._schema.names, types, strict=True)), self._schema.metadata)

    def cast(self, block: pa.RecordBatch) -> pa.RecordBatch:
        """The block, of the narrowest types; every block must have been observed."""
        schema = self.schema
        columns = [
            column if field.type == pa.string() else parse_numbers(column, field.type)
            for column, field in zip(block.columns, schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _type(self, name: str) -> pa.DataType:
        return self._fitting[name][0] if self._fitting[name] and self._has_text[name] else pa.string()


def _all_match(column: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, pattern), min_count=0).as_py())
