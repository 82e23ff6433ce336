import sys
import threading
from pathlib import Path

import pytest

from tests.bucket import reachable_bucket
from trainer.errors import StorageError
from trainer.storage import Place, exists, place_of, read_bytes, remove, staged, write_text, writing

LARGE = 12 * 2**20
"""Bytes: more than one part of an upload to S3."""


class Broken(Exception):
    pass


@pytest.fixture(scope="module")
def s3():
    with reachable_bucket("kept") as address:
        yield address


@pytest.fixture(params=["folder", "file", "memory", "s3"])
def place(request, tmp_path) -> Place:
    named = {"folder": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{tmp_path.name}"}
    given = named.get(request.param) or request.getfixturevalue("s3")
    return place_of(given) / request.node.callspec.id / request.node.originalname


def test_what_a_machine_s_own_file_system_has_is_a_path(tmp_path):
    assert place_of("runs") == Path("runs")
    assert place_of(f"file://{tmp_path}") == place_of(str(tmp_path)) == tmp_path
    assert isinstance(place_of(f"file://{tmp_path}"), Path)
    assert str(place_of("s3://bucket/runs") / "small" / "best.ckpt") == "s3://bucket/runs/small/best.ckpt"


def test_what_is_written_is_read(place):
    assert not exists(place / "a.bin")
    with writing(place / "a.bin") as file:
        file.write(b"a" * LARGE)
    assert exists(place / "a.bin")
    assert read_bytes(place / "a.bin") == b"a" * LARGE
    write_text(place / "a.bin", "ä\n")
    assert read_bytes(place / "a.bin") == "ä\n".encode()
    remove(place / "a.bin")
    remove(place / "a.bin")
    assert not exists(place / "a.bin")


def test_what_is_broken_off_leaves_what_was_there(place):
    write_text(place / "a.txt", "before")

    def break_off():
        with writing(place / "a.txt") as file:
            file.write(b"after, of which")
            raise Broken

    with pytest.raises(Broken):
        break_off()
    assert read_bytes(place / "a.txt") == b"before"


def test_nobody_reads_half_of_a_file(place):
    """Of two contents of one length, written over one another, a reader finds the one or the other."""
    whole = {letter * (LARGE // 4) for letter in (b"a", b"b")}
    write_text(place / "a.bin", (min(whole)).decode())
    found, done = set(), threading.Event()

    def read():
        while not done.is_set():
            found.add(read_bytes(place / "a.bin"))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(3):
        for content in whole:
            with writing(place / "a.bin") as file:
                for start in range(0, len(content), 2**16):
                    file.write(content[start : start + 2**16])
    done.set()
    reader.join()
    assert found
    assert found <= whole


def test_files_that_are_appended_to_are_published_as_they_grow(place):
    with staged(place) as events:
        events.folder.mkdir(parents=True, exist_ok=True)
        with (events.folder / "events").open("w") as file:
            for count in (1, 2):
                print("a line", file=file, flush=True)
                events.publish()
                assert read_bytes(place / "events") == b"a line\n" * count
            print("the last", file=file, flush=True)
    assert read_bytes(place / "events").endswith(b"the last\n")
    assert isinstance(place, Path) or not events.folder.exists()


def test_a_file_that_has_not_grown_is_not_published_again(s3):
    with staged(place_of(s3) / "once") as events:
        (events.folder / "events").write_text("a line")
        events.publish()
        remove(events.place / "events")
    assert not exists(place_of(s3) / "once" / "events")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gs://bucket/runs", r"gs://bucket/runs: gs:// needs a package that is not installed: pip install gcsfs"),
        ("nothing://runs", "nothing is known that reaches nothing://"),
    ],
)
def test_what_cannot_be_reached_says_how(given, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(StorageError, match=message):
        place_of(given)


def test_a_bucket_that_is_not_there_is_one_line(s3):
    missing = place_of("s3://absent/runs") / "a.txt"
    for attempt in (lambda: write_text(missing, "a"), lambda: read_bytes(missing)):
        with pytest.raises(StorageError, match=r"^s3://absent/runs/a\.txt: ") as error:
            attempt()
        assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"a\.txt: (File exists|Not a directory)"):
        write_text(tmp_path / "file" / "a.txt", "a")
