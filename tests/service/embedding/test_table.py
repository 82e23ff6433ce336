import numpy as np
import pyarrow as pa
import pytest

from service.embedding.table import embedding_columns, embedding_schema

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)
CELLS = np.array([1, 2, 2**63 + 1], np.uint64)
GIVEN = pa.schema([pa.field("city", pa.string(), nullable=False)], {"owner": "me"})


@pytest.mark.parametrize(("cells", "names"), [(CELLS, ["h3", "embedding"]), (None, ["embedding"])])
def test_columns_and_schema_agree(cells, names):
    columns = embedding_columns(cells, ROWS)
    schema = embedding_schema(GIVEN, "tiny", "d", 4, with_cells=cells is not None)
    assert list(columns) == names
    assert schema.names == ["city", *names]
    table = pa.table({"city": pa.array(["a", "b", "c"]), **columns}, schema=schema)
    table.validate(full=True)
    assert table["embedding"].to_pylist() == ROWS.tolist()


def test_the_embedding_column_shares_the_memory_of_the_rows():
    values = embedding_columns(None, ROWS)["embedding"].values
    assert values.buffers()[1].address == ROWS.ctypes.data


def test_rows_that_are_not_contiguous_are_written_right():
    assert embedding_columns(None, ROWS[:, ::2])["embedding"].to_pylist() == ROWS[:, ::2].tolist()


def test_cells_keep_all_their_bits():
    column = embedding_columns(CELLS, ROWS)["h3"]
    assert column.type == pa.uint64()
    assert column.to_pylist() == CELLS.tolist()


def test_no_rows_make_an_empty_column_of_the_same_type():
    column = embedding_columns(None, ROWS[:0])["embedding"]
    assert len(column) == 0
    assert column.type == pa.list_(pa.float32(), 4)


def test_the_schema_names_the_model_and_keeps_what_was_given():
    schema = embedding_schema(GIVEN, "tiny", "digest", 4, with_cells=True)
    assert schema.metadata == {
        b"owner": b"me",
        b"satcle.model": b"tiny",
        b"satcle.digest": b"digest",
        b"satcle.dimensions": b"4",
    }
    assert schema.field("city") == GIVEN.field("city")
    assert schema.field("embedding").type == pa.list_(pa.float32(), 4)


def test_a_table_embedded_again_names_the_last_model():
    once = embedding_schema(pa.schema([]), "old", "old", 4, with_cells=False)
    twice = embedding_schema(pa.schema([], once.metadata), "new", "new", 8, with_cells=False)
    assert twice.metadata == embedding_schema(pa.schema([]), "new", "new", 8, with_cells=False).metadata
