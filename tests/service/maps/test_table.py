import json
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from service.bundle import LonLat
from service.embedding.cells import cells_of
from service.maps.cells import outline
from service.maps.table import arrow_bytes, geojson_pieces, parquet_bytes, table_of

CELLS = cells_of(LonLat.from_degrees([[116.4, 39.9], [180, 0], [0, 90]]), 5)
VALUES = np.array([[0.1], [0], [-1]], np.float32)
CODES = np.array([[2], [0], [1]], np.float32)


def test_a_table_holds_cells_and_values(plain):
    table = table_of(CELLS, VALUES, plain, {"satcle.model": "tiny"})
    assert table.schema.field("h3").type == pa.uint64()
    assert table.schema.field("value").type == pa.float32()
    assert table.schema.field("value").metadata == {b"unit": b"m"}
    assert table.schema.metadata[b"satcle.model"] == b"tiny"
    for again in (pa.ipc.open_stream(arrow_bytes(table)).read_all(), pq.read_table(BytesIO(parquet_bytes(table)))):
        np.testing.assert_array_equal(again["h3"].to_numpy(), CELLS)
        np.testing.assert_array_equal(again["value"].to_numpy(), VALUES[:, 0])


def test_categories_are_named(kinds):
    table = table_of(CELLS, CODES, kinds, {})
    for again in (pa.ipc.open_stream(arrow_bytes(table)).read_all(), pq.read_table(BytesIO(parquet_bytes(table)))):
        assert again["value"].to_pylist() == ["high", "low", "middle"]


def test_geojson_is_a_feature_a_cell(plain, kinds):
    for layer, values, expected in ((plain, VALUES, [0.1, 0, -1]), (kinds, CODES, ["high", "low", "middle"])):
        collection = json.loads(b"".join(geojson_pieces(CELLS, values, layer)))
        assert collection["type"] == "FeatureCollection"
        assert [feature["properties"]["value"] for feature in collection["features"]] == expected
        assert [int(feature["properties"]["h3"], 16) for feature in collection["features"]] == CELLS.tolist()
        assert [feature["geometry"] for feature in collection["features"]] == list(map(outline, CELLS.tolist()))


def test_geojson_of_many_cells_comes_in_pieces_that_fit_together(plain):
    cells = np.repeat(CELLS, 100)
    pieces = list(geojson_pieces(cells, np.zeros((300, 1), np.float32), plain))
    assert len(pieces) > 5
    assert len(json.loads(b"".join(pieces))["features"]) == 300
