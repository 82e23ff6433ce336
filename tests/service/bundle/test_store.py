import json
import shutil
import threading

import pytest

from service.bundle import (
    UNSIGNED,
    BundleCorrupt,
    BundleError,
    BundleExists,
    BundleNotFound,
    BundleUnsupported,
    DataSource,
    HeadCard,
    Parity,
    RasterCard,
    find_bundles,
    read_bundle,
    write_bundle,
)
from service.bundle.manifest import FileEntry

FILES = {"encoder.onnx": b"encoder", "heads/elevation.bin": b"head"}


@pytest.fixture
def card(tiny_bundle):
    return tiny_bundle.card


@pytest.fixture
def path(tmp_path, card):
    """A bundle of two files and a card; nothing opens its encoder."""
    write_bundle(tmp_path / "bundle", card, FILES)
    return tmp_path / "bundle"


def rewrite_manifest(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | changes))


def relist(path, name):
    """Make the manifest agree with the file `name` as it now is."""
    files = json.loads((path / "manifest.json").read_text())["files"]
    files[name] = FileEntry.of((path / name).read_bytes()).model_dump()
    rewrite_manifest(path, files=files)


def content_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_written_is_read_back(path, card):
    bundle = read_bundle(path)
    assert {name: bundle.read(name) for name in FILES} == FILES
    assert bundle.card == card.model_copy(update={"digest": bundle.card.digest})
    assert bundle.card.digest != UNSIGNED


def test_writing_returns_what_reading_would(tmp_path, card):
    assert write_bundle(tmp_path / "deep" / "er", card, FILES) == read_bundle(tmp_path / "deep" / "er")


def test_a_bundle_can_be_read_by_other_users(path):
    assert path.stat().st_mode & 0o777 == 0o755


def test_equal_content_has_one_digest_wherever_and_in_whatever_order_it_is_written(tmp_path, path, card):
    again = write_bundle(tmp_path / "again", card, dict(reversed(FILES.items())))
    assert again.card.digest == read_bundle(path).card.digest


@pytest.mark.parametrize("name", FILES)
def test_another_file_content_is_another_digest(tmp_path, path, card, name):
    other = write_bundle(tmp_path / "other", card, FILES | {name: b"other"})
    assert other.card.digest != read_bundle(path).card.digest


@pytest.mark.parametrize("name", [*FILES, "card.json"])
def test_a_flipped_byte_is_corruption_that_names_the_file_and_the_fix(path, name):
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(BundleCorrupt, match=rf"{name} was altered.*copy the bundle again"):
        read_bundle(path)


@pytest.mark.parametrize("name", [*FILES, "card.json"])
def test_a_truncated_file_is_corruption_that_says_by_how_much(path, name):
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-1])
    with pytest.raises(BundleCorrupt, match=rf"{name} has {len(content) - 1} bytes, .* says {len(content)}"):
        read_bundle(path)


@pytest.mark.parametrize("name", [*FILES, "card.json"])
def test_a_missing_file_is_corruption_that_names_it(path, name):
    (path / name).unlink()
    with pytest.raises(BundleCorrupt, match=rf"{name} cannot be read \(No such file.*copy the bundle again"):
        read_bundle(path)


def test_a_folder_in_the_place_of_a_file_is_corruption(path):
    (path / "encoder.onnx").unlink()
    (path / "encoder.onnx").mkdir()
    with pytest.raises(BundleCorrupt, match=r"encoder.onnx cannot be read"):
        read_bundle(path)


def test_a_link_that_leaves_the_bundle_is_refused_though_its_content_is_right(path, tmp_path):
    (path / "encoder.onnx").rename(tmp_path / "outside")
    (path / "encoder.onnx").symlink_to(tmp_path / "outside")
    with pytest.raises(BundleCorrupt, match=r"encoder.onnx is a link that leaves the bundle"):
        read_bundle(path)


def test_a_link_within_the_bundle_and_a_link_to_the_bundle_are_followed(path, tmp_path):
    (path / "encoder.onnx").rename(path / "real")
    (path / "encoder.onnx").symlink_to("real")
    (tmp_path / "link").symlink_to(path)
    assert read_bundle(tmp_path / "link").read("encoder.onnx") == b"encoder"


def test_a_link_to_itself_is_corruption(path):
    (path / "encoder.onnx").unlink()
    (path / "encoder.onnx").symlink_to("encoder.onnx")
    with pytest.raises(BundleCorrupt, match=r"encoder.onnx"):
        read_bundle(path)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "nul\0byte", "n" * 300])
def test_a_manifest_that_names_a_file_elsewhere_is_refused(path, name):
    files = json.loads((path / "manifest.json").read_text())["files"]
    rewrite_manifest(path, files=files | {name: FileEntry.of(b"").model_dump()})
    with pytest.raises(BundleCorrupt):
        read_bundle(path)


@pytest.mark.parametrize("name", ["absent", "../bundle/encoder.onnx", "manifest.json"])
def test_only_listed_files_are_read(path, name):
    (path / "absent").write_bytes(b"here, but not listed")
    with pytest.raises(BundleCorrupt, match="the manifest lists no"):
        read_bundle(path).read(name)


def test_a_file_altered_after_the_bundle_was_read_is_found_when_it_is_used(path):
    bundle = read_bundle(path)
    (path / "encoder.onnx").write_bytes(b"ENCODER")
    with pytest.raises(BundleCorrupt, match=r"encoder.onnx was altered"):
        bundle.read("encoder.onnx")


@pytest.mark.parametrize("name", ["manifest.json", "card.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"format": 0}', b'{"format": "1"}', b"\xff\xfe", b"[" * 100_000],
    ids=["empty", "cut", "list", "null", "format-0", "format-text", "not-utf8", "deep"],
)
def test_json_that_is_not_what_it_should_be_is_corruption_that_names_the_file(path, name, content):
    (path / name).write_bytes(content)
    if name == "card.json":
        relist(path, name)
    with pytest.raises(BundleCorrupt, match=name):
        read_bundle(path)


@pytest.mark.parametrize("name", ["manifest.json", "card.json"])
def test_a_newer_format_asks_for_an_upgrade(path, name):
    written = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps(written | {"format": 2, "unheard-of": True}))
    if name == "card.json":
        relist(path, name)
    with pytest.raises(BundleUnsupported, match=rf"{name} has format 2.*upgrade satcle"):
        read_bundle(path)


def test_a_card_altered_together_with_its_manifest_does_not_match_its_digest(path):
    (path / "card.json").write_text((path / "card.json").read_text().replace("MIT", "GPL"))
    relist(path, "card.json")
    with pytest.raises(BundleCorrupt, match=r"digest does not match.*export the bundle again"):
        read_bundle(path)


def test_a_manifest_without_a_card_is_corruption(path):
    files = json.loads((path / "manifest.json").read_text())["files"]
    del files["card.json"]
    rewrite_manifest(path, files=files)
    with pytest.raises(BundleCorrupt, match=r"lists no card.json"):
        read_bundle(path)


def test_a_card_that_names_a_file_that_is_not_listed_is_refused_at_writing(tmp_path, card):
    head = HeadCard(
        id="depth", task="regression", file="depth.bin", source=DataSource(name="a", credit="b", license="c")
    )
    with pytest.raises(BundleCorrupt, match=r"names depth.bin, which the manifest does not list"):
        write_bundle(tmp_path / "b", card.model_copy(update={"heads": (head,)}), FILES)
    raster = RasterCard(file="grid.bin", parity=Parity(max_abs_error=0.0, points=1))
    with pytest.raises(BundleCorrupt, match=r"names grid.bin"):
        write_bundle(tmp_path / "b", card.model_copy(update={"raster": raster}), FILES)
    with pytest.raises(BundleCorrupt, match=r"names encoder.onnx"):
        write_bundle(tmp_path / "b", card, {"other": b""})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/outside", "manifest.json", "card.json", "nul\0"])
def test_a_file_name_that_a_bundle_cannot_hold_is_refused_at_writing(tmp_path, card, name):
    with pytest.raises(ValueError, match=r"plain relative path|list itself|leave it out"):
        write_bundle(tmp_path / "b", card, FILES | {name: b""})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BundleNotFound, match=r"no bundle at .*manifest.json"):
            read_bundle(path)


def test_a_taken_folder_is_left_alone(path, card):
    before = content_of(path)
    with pytest.raises(BundleExists, match="choose another folder or ask to overwrite"):
        write_bundle(path, card, {"encoder.onnx": b"new"})
    assert content_of(path) == before


def test_overwriting_replaces_the_whole_bundle(path, card, tmp_path):
    write_bundle(path, card, {"encoder.onnx": b"new"}, overwrite=True)
    assert read_bundle(path).read("encoder.onnx") == b"new"
    assert not (path / "heads").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_overwriting_replaces_an_empty_folder(tmp_path, card):
    (tmp_path / "b").mkdir()
    assert write_bundle(tmp_path / "b", card, FILES, overwrite=True).read("encoder.onnx") == b"encoder"


def test_overwriting_never_replaces_what_is_no_bundle(tmp_path, card):
    (tmp_path / "thesis.tex").write_text("years of work")
    for target in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(BundleExists, match="is no bundle"):
            write_bundle(target, card, FILES, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("card_fields", "files"),
    [
        ({}, {"encoder.onnx": "text is not bytes"}),
        ({}, {"encoder.onnx": None}),
        ({}, {"encoder.onnx": b"", "encoder.onnx/inside": b""}),
        ({}, {"encoder.onnx": b"", "n" * 300: b""}),
        ({"dimensions": (3,)}, {"encoder.onnx": b""}),
        ({"encoder": "absent"}, {"encoder.onnx": b""}),
    ],
    ids=["text", "none", "a file as a folder", "a name too long", "a card that does not validate", "no encoder"],
)
def test_a_write_that_fails_leaves_the_old_bundle_and_nothing_else(path, tmp_path, card, card_fields, files):
    before = content_of(path)
    with pytest.raises((TypeError, OSError, BundleError)):
        write_bundle(path, card.model_copy(update=card_fields), files, overwrite=True)
    assert content_of(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_reader_sees_the_old_bundle_or_the_new_one_and_never_a_mix(path, card):
    versions = {b"old": "old", b"new": "new"}
    cards = {content: card.model_copy(update={"version": version}) for content, version in versions.items()}
    seen, done = [], threading.Event()

    def read_on():
        while not done.is_set():
            try:
                bundle = read_bundle(path)
                seen.append((bundle.read("encoder.onnx"), bundle.card.version))
            except BundleError:
                continue  # between the two renames there is nothing, which is not a mix

    readers = [threading.Thread(target=read_on) for _ in range(2)]
    write_bundle(path, cards[b"old"], {"encoder.onnx": b"old"}, overwrite=True)
    for reader in readers:
        reader.start()
    try:
        for content in [b"new", b"old"] * 10:
            write_bundle(path, cards[content], {"encoder.onnx": content}, overwrite=True)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert set(seen) <= set(versions.items())


def test_bundles_are_found_in_a_folder_of_them_and_where_they_are_named(path, tmp_path):
    shelf = tmp_path / "shelf"
    for name in ("b", "a", ".staging"):
        shutil.copytree(path, shelf / name)
    (shelf / "no bundle").mkdir()
    assert find_bundles([shelf, path]) == [shelf / "a", shelf / "b", path]


def test_looking_for_bundles_where_there_is_no_folder_says_so(tmp_path):
    with pytest.raises(BundleNotFound, match="the folder does not exist"):
        find_bundles([tmp_path / "absent"])
    assert find_bundles([tmp_path]) == []
