import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.bundle.manifest import FileEntry, Manifest

ENTRY = FileEntry.of(b"content")


@given(st.binary(max_size=200))
def test_an_entry_describes_its_content_and_finds_nothing_wrong_with_it(content):
    entry = FileEntry.of(content)
    assert (entry.size, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert entry.problem_with(content) is None


@given(st.binary(min_size=1, max_size=50), st.data())
def test_one_flipped_bit_is_found(content, data):
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    altered = bytearray(content)
    altered[bit // 8] ^= 1 << bit % 8
    assert "altered" in FileEntry.of(content).problem_with(bytes(altered))


@given(st.binary(min_size=1, max_size=50))
def test_a_missing_byte_is_found(content):
    assert f"has {len(content) - 1} bytes" in FileEntry.of(content).problem_with(content[:-1])


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        "../outside",
        "heads/../../outside",
        "heads/..",
        "./card.json",
        "heads//a",
        "heads/",
        "heads\\a",
        "manifest.json",
        "nul\0byte",
    ],
)
def test_a_name_that_is_not_plain_and_relative_is_refused(name):
    with pytest.raises(ValidationError, match=r"plain relative path|list itself"):
        Manifest(files={name: ENTRY})


@pytest.mark.parametrize("name", ["encoder.onnx", "heads/elevation.onnx", "..hidden", "a b", "é"])
def test_plain_relative_names_are_taken(name):
    assert list(Manifest(files={name: ENTRY}).files) == [name]


@pytest.mark.parametrize(
    "entry", [{"sha256": "short", "size": 1}, {"sha256": "0" * 64, "size": -1}, {"sha256": "0" * 64}, {}, None]
)
def test_an_entry_without_a_digest_and_a_size_is_refused(entry):
    with pytest.raises(ValidationError):
        Manifest.model_validate({"files": {"a": entry}})
