"""The whole pipeline, on real files with a real (tiny) model."""

from __future__ import annotations

import csv
import gzip
import json
import math
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.bulk.geometry import lonlat_of_wkb, point_metadata, wkb_of
from service.bulk.source import BLOCK_ROWS
from service.bundle import LonLat
from service.embedding.backends.fake import FakeBackend
from service.embedding.cells import cell_strings, cells_of, centres_of
from service.errors import BackendFailed, BadRow, BadTable, InvalidRequest, OutputExists
from tests.peak_memory import PEAK_KILOBYTES

CITIES = "city,lon,lat\nBeijing,116.4,39.9\nParis,2.35,48.86\n"
CITIES_LONLAT = LonLat.from_degrees([[116.4, 39.9], [2.35, 48.86]])


def write(path: Path, content: str | bytes | pa.Table) -> Path:
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def embeddings(path: Path) -> np.ndarray:
    if path.suffix == ".parquet":
        return np.array(pq.read_table(path)["embedding"].to_pylist(), np.float32)
    with path.open(newline="") as file:
        return np.array([[v for k, v in row.items() if k[0] == "e"] for row in csv.DictReader(file)], np.float32)


def places(n: int) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({"id": np.arange(n), "lon": rng.uniform(-180, 180, n), "lat": rng.uniform(-90, 90, n)})


# What comes out


def test_csv_to_csv_keeps_the_columns_and_adds_the_cell_and_the_embedding(embed, tmp_path, tiny_backend):
    report = embed(write(tmp_path / "in.csv", CITIES), tmp_path / "out.csv")
    cells = cells_of(CITIES_LONLAT, 10)
    with (tmp_path / "out.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert report.points == 2
    assert header == ["city", "lon", "lat", "h3", *(f"e{i}" for i in range(8))]
    assert [row[:4] for row in rows] == [
        ["Beijing", "116.4", "39.9", cell_strings(cells)[0]],
        ["Paris", "2.35", "48.86", cell_strings(cells)[1]],
    ]
    np.testing.assert_array_equal(embeddings(tmp_path / "out.csv"), tiny_backend.embed(centres_of(cells)))


def test_csv_to_parquet_is_typed_and_says_what_made_it(embed, tmp_path, tiny_bundle):
    source = write(tmp_path / "in.csv", "id,code,lon,lat,height\n1,007,2,48,\n2,008,3,49,1.5\n")
    embed(source, tmp_path / "out.parquet")
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert [(field.name, field.type) for field in schema] == [
        ("id", pa.int64()),
        ("code", pa.string()),
        ("lon", pa.float64()),
        ("lat", pa.float64()),
        ("height", pa.float64()),
        ("h3", pa.uint64()),
        ("embedding", pa.list_(pa.float32(), 8)),
    ]
    assert schema.metadata == {
        b"satcle.model": b"tiny",
        b"satcle.digest": tiny_bundle.card.digest.encode(),
        b"satcle.dimensions": b"8",
    }
    assert pq.ParquetFile(tmp_path / "out.parquet").metadata.row_group(0).column(6).compression == "ZSTD"
    assert pq.read_table(tmp_path / "out.parquet")["height"].to_pylist() == [None, 1.5]


def test_exact_embeds_the_very_coordinate_and_names_no_cell(embed, tmp_path, tiny_backend):
    source = write(tmp_path / "in.csv", CITIES)
    embed(source, tmp_path / "out.csv", exact=True)
    embed(source, tmp_path / "out.parquet", exact=True)
    assert "h3" not in (tmp_path / "out.csv").read_text()
    assert "h3" not in pq.read_schema(tmp_path / "out.parquet").names
    for name in ("out.csv", "out.parquet"):
        np.testing.assert_array_equal(embeddings(tmp_path / name), tiny_backend.embed(CITIES_LONLAT))


def test_dimensions_are_a_prefix_and_normalize_makes_unit_length(embed, tmp_path):
    source = write(tmp_path / "in.csv", CITIES)
    embed(source, tmp_path / "whole.parquet")
    embed(source, tmp_path / "out.parquet", dimensions=4, normalize=True)
    prefix = embeddings(tmp_path / "whole.parquet")[:, :4]
    expected = prefix / np.linalg.norm(prefix, axis=1, keepdims=True)
    np.testing.assert_allclose(embeddings(tmp_path / "out.parquet"), expected, atol=1e-7)


def test_dimensions_must_be_allowed_by_the_card(embed, tmp_path):
    with pytest.raises(InvalidRequest, match="dimensions 5 is not one of tiny's: 4, 8"):
        embed(write(tmp_path / "in.csv", CITIES), tmp_path / "out.csv", dimensions=5)


def test_order_is_kept_over_many_blocks_and_formats_agree(embed, tmp_path, tiny_backend):
    table = places(5 * BLOCK_ROWS + 7)
    write(tmp_path / "in.parquet", table)
    pa_csv.write_csv(table, tmp_path / "in.csv")
    for source in ("in.parquet", "in.csv"):
        for target in ("out.parquet", "out.csv"):
            embed(tmp_path / source, tmp_path / f"{source}-{target}")
    lonlat = LonLat.from_degrees(np.stack([table["lon"].to_numpy(), table["lat"].to_numpy()], axis=1))
    expected = tiny_backend.embed(centres_of(cells_of(lonlat, 10)))
    for result in tmp_path.glob("*-out.*"):
        np.testing.assert_allclose(embeddings(result), expected, atol=1e-6)
    kept = pq.read_table(tmp_path / "in.csv-out.parquet")
    assert kept.equals(pq.read_table(tmp_path / "in.parquet-out.parquet"))
    assert kept.select(table.column_names).equals(table)
    assert (tmp_path / "in.csv-out.csv").read_text().splitlines()[1].startswith("0,")


def test_a_gzip_is_written_too(embed, tmp_path):
    source = write(tmp_path / "in.csv", CITIES)
    embed(source, tmp_path / "out.csv.gz")
    embed(source, tmp_path / "out.csv")
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()) == (tmp_path / "out.csv").read_bytes()


@pytest.mark.parametrize("target", ["out.csv", "out.parquet"])
def test_a_table_without_rows_gives_one_with_every_column(embed, tmp_path, target):
    report = embed(write(tmp_path / "in.csv", "name,lon,lat\n"), tmp_path / target)
    assert report.points == 0
    if target == "out.csv":
        assert (tmp_path / target).read_text() == "name,lon,lat,h3,e0,e1,e2,e3,e4,e5,e6,e7\n"
    else:
        assert pq.read_table(tmp_path / target).schema.names == ["name", "lon", "lat", "h3", "embedding"]


def test_a_parquet_table_without_rows(embed, tmp_path):
    assert embed(write(tmp_path / "in.parquet", places(0)), tmp_path / "out.parquet").points == 0


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)


@settings(max_examples=30)
@given(notes=st.lists(TEXT, min_size=1, max_size=9), delimiter=st.sampled_from(",;\t"))
def test_other_columns_pass_through_unharmed(embed, tmp_path_factory, notes, delimiter):
    folder = tmp_path_factory.mktemp("passthrough")
    with (folder / "in.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows([["note", "lon", "lat"], *([note, "1", "2"] for note in notes)])
    embed(folder / "in.csv", folder / "out.csv")
    with (folder / "out.csv").open(newline="", encoding="utf-8") as file:
        assert [row["note"] for row in csv.DictReader(file)] == notes


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(-360, 360), st.floats(-90, 90)), min_size=1, max_size=9))
def test_any_place_on_earth_gives_the_same_through_text_as_through_float64(embed, tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("places")
    write(folder / "in.parquet", pa.table({"lon": [p[0] for p in pairs], "lat": [p[1] for p in pairs]}))
    write(folder / "in.csv", "lon,lat\n" + "".join(f"{lon},{lat}\n" for lon, lat in pairs))
    embed(folder / "in.parquet", folder / "out.parquet", exact=True)
    embed(folder / "in.csv", folder / "out.csv", exact=True)
    np.testing.assert_array_equal(embeddings(folder / "out.parquet"), embeddings(folder / "out.csv"))


def test_parquet_columns_of_any_type_reach_csv_as_text(embed, tmp_path):
    table = pa.table(
        {
            "lon": pa.array([1], pa.int16()),
            "lat": pa.array([2.5], pa.float32()),
            "when": pa.array([0], pa.timestamp("ms")),
            "kind": pa.array(["a"]).dictionary_encode(),
            "none": pa.array([None], pa.int32()),
            "yes": [True],
        }
    )
    embed(write(tmp_path / "in.parquet", table), tmp_path / "out.csv", exact=True)
    line = (tmp_path / "out.csv").read_text().splitlines()[1]
    assert line.startswith("1,2.5,1970-01-01 00:00:00.000,a,,true,")


# Where the places are


@pytest.mark.parametrize("header", ["lon,lat", "lng,lat", "Longitude,LATITUDE", "x,y", " lon , lat ", "LON,latitude"])
def test_degree_columns_are_found_by_name(embed, tmp_path, header, tiny_backend):
    embed(write(tmp_path / "in.csv", f"{header}\n116.4,39.9\n2.35,48.86\n"), tmp_path / "out.csv", exact=True)
    np.testing.assert_array_equal(embeddings(tmp_path / "out.csv"), tiny_backend.embed(CITIES_LONLAT))


def test_degree_columns_are_named_by_options(embed, tmp_path, tiny_backend):
    source = write(tmp_path / "in.csv", "lon,east,north\n0,116.4,39.9\n0,2.35,48.86\n")
    embed(source, tmp_path / "out.csv", exact=True, lon="east", lat="north")
    rows = embeddings(tmp_path / "out.csv")[:, -8:]
    np.testing.assert_array_equal(rows, tiny_backend.embed(CITIES_LONLAT))


@pytest.mark.parametrize("kind", ["text", "uint64", "int64"])
def test_cells_are_places_too_and_are_not_added_again(embed, tmp_path, kind, tiny_backend):
    cells = cells_of(CITIES_LONLAT, 12)
    column = pa.array(cell_strings(cells)) if kind == "text" else pa.array(cells).cast(kind)
    embed(write(tmp_path / "in.parquet", pa.table({"h3": column})), tmp_path / "out.parquet")
    assert pq.read_schema(tmp_path / "out.parquet").names == ["h3", "embedding"]
    expected = tiny_backend.embed(centres_of(cells_of(centres_of(cells), 10)))
    np.testing.assert_array_equal(embeddings(tmp_path / "out.parquet"), expected)


def test_geoparquet_keeps_its_geometry_and_its_metadata(embed, tmp_path, tiny_backend):
    geometry = wkb_of(CITIES_LONLAT.degrees)
    metadata = point_metadata("where")
    source = write(tmp_path / "in.parquet", pa.table({"where": geometry}, metadata=metadata))
    embed(source, tmp_path / "out.parquet")
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.schema.metadata[b"geo"] == metadata[b"geo"]
    assert written["where"].to_pylist() == geometry.to_pylist()
    expected = tiny_backend.embed(centres_of(cells_of(CITIES_LONLAT, 10)))
    np.testing.assert_array_equal(embeddings(tmp_path / "out.parquet"), expected)
    embed(source, tmp_path / "out.csv")
    assert "\nPOINT (2.35 48.86)," in (tmp_path / "out.csv").read_text()


def test_degrees_that_are_asked_for_go_before_a_geometry(embed, tmp_path, tiny_backend):
    in_metres = {b"geo": json.dumps({"primary_column": "g", "columns": {"g": {"encoding": "WKB", "crs": None}}})}
    table = pa.table({"g": [b"", b""], "lon": [116.4, 2.35], "lat": [39.9, 48.86]}, metadata=in_metres)
    source = write(tmp_path / "in.parquet", table)
    embed(source, tmp_path / "out.parquet", exact=True, lon="lon")
    np.testing.assert_array_equal(embeddings(tmp_path / "out.parquet"), tiny_backend.embed(CITIES_LONLAT))
    with pytest.raises(BadTable, match="column 'g' holds binary, which CSV cannot hold"):
        embed(source, tmp_path / "out.csv", lon="lon")


def test_geojson_becomes_geoparquet(embed, tmp_path):
    features = [
        {"type": "Feature", "properties": {"city": city}, "geometry": {"type": "Point", "coordinates": lonlat}}
        for city, lonlat in (("Beijing", [116.4, 39.9]), (None, [2.35, 48.86, 35]))
    ]
    source = write(tmp_path / "in.geojson", json.dumps({"type": "FeatureCollection", "features": features}))
    embed(source, tmp_path / "out.geoparquet")
    table = pq.read_table(tmp_path / "out.geoparquet")
    assert table["city"].to_pylist() == ["Beijing", None]
    np.testing.assert_array_equal(lonlat_of_wkb(table["geometry"].combine_chunks()), CITIES_LONLAT.degrees)
    assert json.loads(table.schema.metadata[b"geo"])["primary_column"] == "geometry"


# What is wrong, and where

POINT = {"type": "Point", "coordinates": [1, 2]}
NULL_LON = pa.table({"lon": [1.0, None], "lat": [2.0, 3.0]})


def geojson(*geometries: object) -> str:
    features = [{"type": "Feature", "properties": {}, "geometry": geometry} for geometry in geometries]
    return json.dumps({"type": "FeatureCollection", "features": features})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", "lon,lat\n1,2\n3,x\n", "in.csv: row 2 (line 3): lat 'x' is not a number"),
        ("in.csv", "lon,lat\n1,2\n,4\n", "row 2 (line 3): lon is empty"),
        ("in.csv", "lon,lat\nnan,2\n", "row 1 (line 2): lon is nan; it must be finite"),
        ("in.csv", "lon,lat\n1,-inf\n", "row 1 (line 2): lat is -inf; it must be finite"),
        ("in.csv", "lon,lat\n1,90.5\n", "row 1 (line 2): lat 90.5 is outside -90 to 90; lon and lat look swapped"),
        ("in.csv", "lon,lat\n-361,5\n", "row 1 (line 2): lon -361 is outside -360 to 360"),
        ("in.csv", 'note,lon,lat\n"a\nb",1,2\n\nc,1,91\n', "row 2 (line 5): lat 91 is outside"),
        ("in.csv", "lon,lat\n1,2\n3\n", "row 2 (line 3): has 1 fields, the header has 2"),
        ("in.csv", b"lon,lat,note\n1,2,\xe9\n", "row 1 (line 2): is not UTF-8 text"),
        ("in.csv", 'lon,lat\n1,2\n"3,4\n', "row 2 (line 3): is not CSV: unexpected end of data"),
        ("in.csv", "h3\n8a1fb46622dffff\n8a1fb46622dfffg\n", "row 2 (line 3): h3 '8a1fb46622dfffg' is not an H3 cell"),
        (
            "in.csv",
            "lon,lat\n" + "1,2\n" * (BLOCK_ROWS + 9) + "1,b\n",
            f"row {BLOCK_ROWS + 10} (line {BLOCK_ROWS + 11})",
        ),
        ("in.parquet", NULL_LON, "in.parquet: row 2: lon is null"),
        ("in.parquet", pa.table({"lon": [1.0, 2], "lat": [math.nan, 0]}), "row 1: lat is nan; it must be finite"),
        ("in.parquet", pa.table({"h3": pa.array([1], pa.uint64())}), "row 1: h3 1 is not an H3 cell"),
        ("in.parquet", pa.table({"g": [b"?"]}, metadata=point_metadata("g")), "row 1: the geometry is not a WKB point"),
        ("in.geojson", geojson(POINT, None), "feature 2: is not a Feature with a Point"),
        ("in.geojson", geojson(POINT, {"type": "Polygon"}), "feature 2: is not a Feature with a Point"),
        (
            "in.geojson",
            geojson({"type": "Point", "coordinates": ["1", 2]}),
            "feature 1: coordinates must be [lon, lat]",
        ),
        ("in.geojson", geojson({"type": "Point", "coordinates": [1, 99]}), "feature 1: lat 99 is outside -90 to 90"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(embed, tmp_path, name, content, message):
    source = write(tmp_path / name, content)
    for target in ("out.csv", "out.parquet"):
        with pytest.raises(BadRow) as caught:
            embed(source, tmp_path / target)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", "", "is empty: it has no header"),
        ("in.csv", "a,b\n1,2\n", "no columns are named like lon and lat, or h3, among 'a', 'b'; say which with --lon"),
        ("in.csv", "lon,x,lat\n1,2,3\n", "more than one column may be lon and lat, or h3, among 'lon', 'x', 'lat'"),
        ("in.csv", "lon,lat,lon\n1,2,3\n", "more than one column 'lon'; rename all but one"),
        ("in.csv", "lon,lat,h3\n1,2,3\n", "has a column 'h3', which the output adds; rename it"),
        ("in.csv", b"PAR1\0\0", "is not CSV"),
        ("in.parquet", CITIES, "is not Parquet"),
        ("in.parquet", "", "is empty"),
        (
            "in.parquet",
            pa.table({"lon": [[1.0]], "lat": [2.0]}),
            "column 'lon' holds list<element: double>, not degrees",
        ),
        ("in.parquet", pa.table({"h3": [1.0]}), "column 'h3' holds double, not H3 cells"),
        ("in.geojson", "{", "is not JSON"),
        ("in.geojson", "[]", "is not a GeoJSON FeatureCollection"),
        ("in.xlsx", "", "only .csv, .csv.gz, .tsv, .parquet, .geoparquet, .geojson can be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error(embed, tmp_path, name, content, message):
    source = write(tmp_path / name, content)
    with pytest.raises(BadTable) as caught:
        embed(source, tmp_path / "out.parquet")
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


def test_a_damaged_parquet_file_is_an_error(embed, tmp_path):
    source = write(tmp_path / "in.parquet", places(BLOCK_ROWS))
    content = bytearray(source.read_bytes())
    content[100:-3000] = bytes(len(content) - 3100)
    source.write_bytes(content)
    with pytest.raises(BadTable, match="parquet is damaged: "):
        embed(source, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [source]


def test_a_missing_column_is_named_with_those_there_are(embed, tmp_path):
    with pytest.raises(BadTable, match=r"no column 'east' \(--lon\); it has 'city', 'lon', 'lat'"):
        embed(write(tmp_path / "in.csv", CITIES), tmp_path / "out.csv", lon="east")


def test_a_name_that_the_output_adds_is_an_error(embed, tmp_path):
    with pytest.raises(BadTable, match="column 'e7'"):
        embed(write(tmp_path / "in.csv", "lon,lat,e7\n"), tmp_path / "out.csv")
    embed(tmp_path / "in.csv", tmp_path / "four.csv", dimensions=4)
    embed(tmp_path / "in.csv", tmp_path / "out.parquet")


def test_a_type_that_csv_cannot_hold_is_an_error(embed, tmp_path):
    for column in ([[1, 2]], [b"\xff"]):
        source = write(tmp_path / "in.parquet", pa.table({"lon": [1.0], "lat": [2.0], "tags": column}))
        with pytest.raises(BadTable, match=r"column 'tags' holds .*, which CSV cannot hold; write Parquet"):
            embed(source, tmp_path / "out.csv")


def test_files_that_are_not_there(embed, tmp_path):
    with pytest.raises(FileNotFoundError):
        embed(tmp_path / "no.csv", tmp_path / "out.csv")
    with pytest.raises(FileNotFoundError):
        embed(write(tmp_path / "in.csv", CITIES), tmp_path / "no" / "out.csv")
    with pytest.raises(BadTable, match="can be written"):
        embed(tmp_path / "in.csv", tmp_path / "out.xlsx")


# All or nothing


class FailingBackend(FakeBackend):
    """Works for a while."""

    def __init__(self) -> None:
        super().__init__(embedding_dim=8)
        self.calls = count()

    def embed(self, lonlat: LonLat) -> np.ndarray:
        if next(self.calls) > 2 * BLOCK_ROWS // 512:
            raise OSError("device lost")
        return super().embed(lonlat)


@pytest.mark.parametrize("target", ["out.csv", "out.csv.gz", "out.parquet"])
def test_a_failure_in_the_middle_leaves_what_was_there(embed, tmp_path, target):
    source = write(tmp_path / "in.parquet", places(9 * BLOCK_ROWS))
    with pytest.raises(BackendFailed, match="device lost"):
        embed(source, tmp_path / target, backend=FailingBackend())
    assert list(tmp_path.iterdir()) == [source]
    write(tmp_path / target, "precious")
    with pytest.raises(BackendFailed):
        embed(source, tmp_path / target, backend=FailingBackend(), overwrite=True)
    assert (tmp_path / target).read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == sorted([source, tmp_path / target])


def test_an_output_is_overwritten_only_when_asked(embed, tmp_path):
    source = write(tmp_path / "in.csv", CITIES)
    write(tmp_path / "out.csv", "precious")
    with pytest.raises(OutputExists):
        embed(source, tmp_path / "out.csv")
    embed(source, tmp_path / "out.csv", overwrite=True)
    assert len(embeddings(tmp_path / "out.csv")) == 2


def test_a_file_may_replace_itself(embed, tmp_path):
    source = write(tmp_path / "in.csv", CITIES)
    embed(source, source, overwrite=True)
    assert len(embeddings(source)) == 2


def test_memory_does_not_grow_with_the_table(tmp_path, tiny_bundle):
    """300,000 rows of 256 dimensions are 307 MB, and the interpreter with its libraries is over 100."""
    write(tmp_path / "in.parquet", places(300_000))
    script = f"""{PEAK_KILOBYTES}
from pathlib import Path
from service.bulk.local import Files, embed_table
from service.bulk.recipe import Recipe
from service.bundle import read_bundle
from service.embedding.backends.fake import FakeBackend
recipe = Recipe(FakeBackend(256), 512, snap_resolution=None, dimensions=256, normalize=False)
card = read_bundle(Path({str(tiny_bundle.path)!r})).card
embed_table(Files(Path("in.parquet"), Path("out.parquet")), card, recipe, threads=2)
print(peak_kilobytes())
"""
    run = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert pq.ParquetFile(tmp_path / "out.parquet").metadata.num_rows == 300_000
    assert int(run.stdout) / 1024 < 350
