import os
import tarfile

import pytest

from tests.synthetic_s2 import write_shard
from trainer.data.shards import read_shards
from trainer.errors import ImageryError

FILES = [("a.tif", b"first" * 300), ("b.tif", b""), ("c.tif", b"third" * 500)]


@pytest.fixture
def tar(tmp_path):
    path = tmp_path / "shard-00000.tar"
    write_shard(path, FILES)
    return path


def read(shard) -> list[tuple[str, bytes]]:
    content = shard.path.read_bytes()
    return [(name, content[offset : offset + size]) for name, offset, size in shard.members]


def test_members_are_bytes_at_an_offset(tar):
    (shard,) = read_shards([tar], None)
    assert read(shard) == FILES
    assert shard.damage is None


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_dialect_of_tar_is_read(tmp_path, form):
    path, long = tmp_path / "shard.tar", f"{'folder/' * 20}patch_1.tif"
    (tmp_path / "x").write_bytes(b"1234")
    with tarfile.open(path, "w", format=form) as out:
        out.add(tmp_path / "x", long)
        out.add(tmp_path, "a-folder", recursive=False)
    (shard,) = read_shards([path], None)
    assert read(shard) == [(long, b"1234")]


@pytest.mark.parametrize("cut", [1, 511, 513, 700, 2047, 2048, 2049, 2560, 3000, 5119, 5632])
def test_a_tar_cut_anywhere_keeps_what_is_whole_and_says_so(tar, cut):
    os.truncate(tar, cut)
    (shard,) = read_shards([tar], None)
    assert read(shard) == FILES[: len(shard.members)]
    assert shard.damage is not None
    assert shard.damage.endswith(f"; {len(shard.members)} files before that")
    assert all(offset + size <= cut for _, offset, size in shard.members)


def test_a_damaged_header_ends_the_tar_and_is_named(tar):
    content = bytearray(tar.read_bytes())
    content[2048:2148] = bytes(range(1, 101))
    tar.write_bytes(content)
    (shard,) = read_shards([tar], None)
    assert [name for name, *_ in shard.members] == ["a.tif"]
    assert shard.damage == "no header at byte 2048; 1 files before that"


def test_headers_are_walked_again_only_where_the_tar_is_another(tar, tmp_path):
    cache = tmp_path / "cache"
    first = read_shards([tar], cache)
    (entry,) = cache.iterdir()
    kept = entry.stat().st_mtime_ns, entry.read_text()
    assert read_shards([tar], cache) == first
    assert (entry.stat().st_mtime_ns, entry.read_text()) == kept
    state = tar.stat()
    write_shard(tar, [("z.tif", b"again" * 300), *FILES[1:]])
    assert tar.stat().st_size == state.st_size
    os.utime(tar, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    (again,) = read_shards([tar], cache)
    assert again.members[0].name == "z.tif"


@pytest.mark.parametrize("garbage", ["", "[]", "{}", '{"size": 1', "\x00"])
def test_a_cache_that_is_garbage_is_made_anew(tar, tmp_path, garbage):
    cache = tmp_path / "cache"
    whole = read_shards([tar], cache)
    (entry,) = cache.iterdir()
    entry.write_text(garbage)
    assert read_shards([tar], cache) == whole
    assert read_shards([tar], cache) == whole


def test_a_cache_that_cannot_be_written_is_gone_without(tar, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert read_shards([tar], tmp_path / "file" / "cache") == read_shards([tar], None)


def test_what_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(ImageryError, match="cannot be read: No such file"):
        read_shards([tmp_path / "none.tar"], None)
