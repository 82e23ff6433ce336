"""Where datasets lie: on a file system, and in a bucket."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from service.bulk.asked import Source, embedding_job
from service.bulk.dataset import NAME
from service.bulk.folder import Folder
from service.bulk.progress import Silent
from service.bulk.run import DatasetReport, Output, make_dataset
from service.bulk.threads import Threads
from service.bundle import Bundle
from service.embedding.graphs import Device
from service.errors import BadTable
from tests.bucket import bucket

REGION = "175,-12,-172,9"


@pytest.fixture(scope="module")
def in_bucket():
    with bucket("planet") as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield "s3://planet/folder"


@pytest.fixture(params=["local", "bucket"])
def folder(request, tmp_path):
    place = tmp_path if request.param == "local" else f"{request.getfixturevalue('in_bucket')}/{tmp_path.name}"
    made = Folder.of(str(place))
    made.create()
    return made


def test_a_folder_that_is_not_there_holds_nothing(folder):
    elsewhere = Folder(folder.shown, folder.filesystem, f"{folder.path}/deeper")
    assert elsewhere.names() == set()


def test_what_is_written_is_there_and_what_is_removed_is_not(folder):
    folder.write("a.txt", "é")
    assert folder.names() == {"a.txt"}
    assert folder.read("a.txt") == "é".encode()
    folder.write("a.txt", "new")
    assert folder.read("a.txt") == b"new"
    folder.remove("a.txt")
    assert folder.names() == set()


def test_a_block_that_fails_leaves_what_was_there(folder):
    folder.write("a.txt", "precious")

    def fail() -> None:
        with folder.writing("a.txt") as staging:
            staging.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert folder.read("a.txt") == b"precious"
    assert folder.names() == {"a.txt"}


def test_a_block_that_writes_nothing_makes_nothing(folder):
    with folder.writing("a.txt"):
        pass
    assert folder.names() == set()


def test_a_folder_travels(folder):
    folder.write("a.txt", "here")
    assert pickle.loads(pickle.dumps(folder)).read("a.txt") == b"here"


@pytest.mark.parametrize("uri", ["ftps://host/out", "s3://", "nonsense://x"])
def test_a_place_that_is_none_is_refused(uri):
    with pytest.raises(BadTable, match=uri):
        Folder.of(uri)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(BadTable, match="a dataset is a folder"):
        Folder.of(str(tmp_path / "out")).names()


def make(bundle: Bundle, target: str) -> DatasetReport:
    source = Source(h3_resolution=4, region=REGION)
    job = embedding_job(bundle, source, exact=False, dimensions=None, normalize=False)
    return make_dataset(job, bundle, Output(target), Threads(2), Device("cpu"), Silent())


def test_a_bucket_holds_the_very_files_that_a_folder_does(tiny_bundle, in_bucket, tmp_path):
    made = make(tiny_bundle, f"{in_bucket}/cells")
    make(tiny_bundle, str(tmp_path / "cells"))
    stored = Folder.of(f"{in_bucket}/cells")
    local = {path.name: path.read_bytes() for path in (tmp_path / "cells").iterdir()}
    assert {name: stored.read(name) for name in stored.names()} == local
    assert json.loads(stored.read(NAME))["complete"]
    stored.remove(next(name for name in stored.names() if name != NAME))
    again = make(tiny_bundle, f"{in_bucket}/cells")
    assert (again.parts, again.made) == (made.parts, 1)


def test_a_table_in_a_bucket_is_read(tiny_bundle, in_bucket, tmp_path):
    filesystem, path = fs.FileSystem.from_uri(f"{in_bucket}/in.parquet")
    pq.write_table(pa.table({"lon": [1.0, 2.0], "lat": [3.0, 4.0]}), path, filesystem=filesystem)
    source = Source(table=f"{in_bucket}/in.parquet")
    job = embedding_job(tiny_bundle, source, exact=False, dimensions=None, normalize=False)
    report = make_dataset(job, tiny_bundle, Output(str(tmp_path / "out")), Threads(1), Device("cpu"), Silent())
    assert report.points == 2
    assert [Path(part.name).suffix for part in job.parts()] == [".parquet"]
