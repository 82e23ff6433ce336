from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import FILES, RESOLVE, Hub, running_hub
from trainer.data import hub
from trainer.data.hub import fetch_s2, shard_numbers
from trainer.errors import ImageryError


@pytest.fixture
def stand_in() -> Iterator[Hub]:
    with running_hub() as started:
        yield started


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """The waits between attempts, in a list instead of in time."""
    waits: list[float] = []
    monkeypatch.setattr(hub.time, "sleep", waits.append)
    return waits


def fetched(stand_in: Hub, folder: Path, shards: range | None = None) -> dict[str, bool]:
    return {file.path: new for file, new in fetch_s2(folder, stand_in.endpoint, shards)}


def held(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_index_and_all_shards_come_and_nothing_else(stand_in, tmp_path):
    wanted = {path: content for path, content in FILES.items() if path not in ("satclip.tar", "README.md")}
    assert fetched(stand_in, tmp_path / "s2") == dict.fromkeys(wanted, True)
    assert held(tmp_path / "s2") == wanted


def test_what_is_there_is_not_fetched_again(stand_in, tmp_path):
    fetched(stand_in, tmp_path)
    stand_in.asked.clear()
    assert set(fetched(stand_in, tmp_path).values()) == {False}
    assert not [path for path, _ in stand_in.asked if path.startswith(RESOLVE)]


def test_some_shards_can_be_asked_for(stand_in, tmp_path):
    assert set(fetched(stand_in, tmp_path, range(1, 2))) == {"index.csv", "data/shard-00001.tar"}
    with pytest.raises(ImageryError, match="there is no shard 3; shards are 0 to 2"):
        fetched(stand_in, tmp_path, range(2, 5))


def test_a_connection_cut_in_the_middle_goes_on_at_the_next_byte(stand_in, tmp_path, no_waiting):
    stand_in.cut_once["data/shard-00000.tar"] = 123_456
    fetched(stand_in, tmp_path)
    assert held(tmp_path)["data/shard-00000.tar"] == FILES["data/shard-00000.tar"]
    ranges = [asked for path, asked in stand_in.asked if path == "/cdn/data/shard-00000.tar"]
    assert ranges == [None, "bytes=123456-"]
    assert stand_in.sent == sum(map(len, held(tmp_path).values()))
    assert no_waiting == []


def test_an_interrupted_download_goes_on_in_another_process(stand_in, tmp_path):
    part = tmp_path / "data" / ".shard-00000.tar.part"
    part.parent.mkdir()
    part.write_bytes(FILES["data/shard-00000.tar"][:250_000])
    fetched(stand_in, tmp_path)
    assert held(tmp_path)["data/shard-00000.tar"] == FILES["data/shard-00000.tar"]
    assert ("/cdn/data/shard-00000.tar", "bytes=250000-") in stand_in.asked
    assert not part.exists()


def test_a_server_without_ranges_starts_anew(stand_in, tmp_path):
    stand_in.knows_ranges = False
    stand_in.cut_once["data/shard-00001.tar"] = 1000
    fetched(stand_in, tmp_path)
    assert held(tmp_path)["data/shard-00001.tar"] == FILES["data/shard-00001.tar"]


def test_a_busy_server_is_asked_again(stand_in, tmp_path, no_waiting):
    stand_in.refused["data/shard-00002.tar"] = 503
    fetched(stand_in, tmp_path)
    assert held(tmp_path)["data/shard-00002.tar"] == FILES["data/shard-00002.tar"]
    assert no_waiting == [1]


def test_a_wrong_sha256_is_refused_and_thrown_away(stand_in, tmp_path):
    name = "data/shard-00001.tar"
    stand_in.claims[name] = {"lfs": {"oid": "0" * 64, "size": len(FILES[name])}}
    with pytest.raises(ImageryError, match=rf"{name} came with sha256 \w{{64}}, the hub says 0{{64}}; fetch it again"):
        fetched(stand_in, tmp_path)
    assert set(held(tmp_path)) == {"index.csv", "data/shard-00000.tar"}
    del stand_in.claims[name]
    fetched(stand_in, tmp_path)
    assert held(tmp_path)[name] == FILES[name]


def test_a_wrong_size_is_refused(stand_in, tmp_path, no_waiting):
    stand_in.claims["index.csv"] = {"size": 1000}
    with pytest.raises(ImageryError, match=r"index.csv came with 1611 bytes, the hub says 1000"):
        fetched(stand_in, tmp_path)
    stand_in.claims["index.csv"] = {"size": 2000}
    stand_in.knows_ranges = False
    with pytest.raises(ImageryError, match=r"cannot be reached \(the connection ended too early\)"):
        fetched(stand_in, tmp_path)
    assert no_waiting == [1, 2, 4, 8]


def test_what_the_hub_does_not_have_is_one_line(stand_in, tmp_path):
    with pytest.raises(ImageryError, match=r"/none/api/datasets/torchgeo/s2-100k/tree/main\S*: 404 .*--endpoint"):
        list(fetch_s2(tmp_path, f"{stand_in.endpoint}/none"))
    del stand_in.files["index.csv"]
    with pytest.raises(ImageryError, match=r"has no index.csv and data/shard-\*.tar"):
        fetched(stand_in, tmp_path)


def test_a_file_that_is_gone_is_one_line(stand_in, tmp_path):
    stand_in.refused["data/shard-00000.tar"] = 404
    with pytest.raises(ImageryError, match=r"resolve/main/data/shard-00000.tar: 404 Not Found; correct --endpoint"):
        fetched(stand_in, tmp_path)


def test_an_answer_that_is_no_list_is_one_line(stand_in, tmp_path):
    stand_in.files = {"index.csv": b""}
    stand_in.claims["index.csv"] = {"lfs": "no"}
    with pytest.raises(ImageryError, match="is no list of files; correct --endpoint"):
        fetched(stand_in, tmp_path)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "nonsense", "http://"])
def test_an_endpoint_that_cannot_be_reached_is_one_line(tmp_path, endpoint):
    with pytest.raises(ImageryError, match=r"cannot be reached .*; check the network or --endpoint") as raised:
        list(fetch_s2(tmp_path, endpoint))
    assert "\n" not in str(raised.value)


def test_a_full_disk_is_told_before_and_in_between(stand_in, tmp_path):
    stand_in.claims["data/shard-00002.tar"] = {"size": 10**16}
    with pytest.raises(ImageryError, match=r"has room for .* GB, 10000000.0 GB are to come; choose fewer --shards"):
        fetched(stand_in, tmp_path)
    stand_in.claims.clear()
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(ImageryError, match=r"shard-00000.tar.part cannot be written: "):
        fetched(stand_in, tmp_path)


@pytest.mark.parametrize(("asked", "numbers"), [("0-9", range(10)), ("7", range(7, 8)), ("3-3", range(3, 4))])
def test_shards_are_numbered_with_both_ends(asked, numbers):
    assert shard_numbers(asked) == numbers


@pytest.mark.parametrize("asked", ["", "9-0", "a", "1-2-3", "-1", "1,2"])
def test_what_is_no_range_of_shards_is_refused(asked):
    with pytest.raises(ImageryError, match="is no range; write it as 0-9"):
        shard_numbers(asked)
