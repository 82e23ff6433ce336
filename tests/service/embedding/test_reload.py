from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.embedding.reload import Refusal, changes, read_bundles

NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def bundle_of(tiny_bundle):
    """`bundle_of(name, version)`: a bundle that is nowhere on disk, with a digest of its own."""

    def make(name, version=0, folder=None):
        card = tiny_bundle.card.model_copy(update={"name": name, "digest": f"{name}{version}".rjust(64, "0")})
        return replace(tiny_bundle, card=card, path=Path("bundles") / (folder or name))

    return make


def kinds(changed):
    return {change.model: change.kind for change in changed}


def test_what_is_new_other_gone_and_the_same(bundle_of):
    served = {name: bundle_of(name) for name in ("a", "b", "c")}
    found = [bundle_of("a"), bundle_of("b", 1), bundle_of("d")]
    changed = changes(served, found, "a")
    assert kinds(changed) == {"a": "kept", "b": "replaced", "c": "removed", "d": "added"}
    assert [change.bundle for change in changed] == [*found, None]


def test_what_is_refused_leaves_what_was_served(bundle_of):
    served = {"a": bundle_of("a"), "b": bundle_of("b")}
    found = [bundle_of("a"), Refusal(served["b"].path, "altered"), Refusal(Path("bundles/new"), "no card")]
    changed = changes(served, found, "a")
    assert kinds(changed) == {"a": "kept", "b": "refused", "new": "refused"}
    assert changed[1].bundle == served["b"]
    assert changed[1].reason == "altered"
    assert changed[2].bundle is None


def test_the_default_stays_though_its_bundle_is_gone(bundle_of):
    served = {"a": bundle_of("a")}
    *_, default = changes(served, [bundle_of("b")], "a")
    assert (default.kind, default.bundle) == ("refused", served["a"])
    assert "default model cannot be removed" in default.reason


def test_of_two_of_one_name_the_second_is_refused(bundle_of):
    first, second = bundle_of("a", folder="x"), bundle_of("a", 1, folder="y")
    changed = changes({"a": bundle_of("a")}, [first, second], "a")
    assert [change.kind for change in changed] == ["kept", "refused"]
    assert "names must differ" in changed[1].reason


def test_a_bundle_that_has_moved_is_kept_from_where_it_is_now(bundle_of):
    moved = bundle_of("a", folder="elsewhere")
    (change,) = changes({"a": bundle_of("a")}, [moved], "a")
    assert change.kind == "kept"
    assert change.bundle is moved


VERSIONS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 1))


@given(before=VERSIONS, after=VERSIONS, broken=st.sets(st.sampled_from(NAMES)))
def test_afterwards_all_that_is_sound_is_served_and_the_default_always(bundle_of, before, after, broken):
    before["a"] = 0
    served = {name: bundle_of(name, version) for name, version in before.items()}
    found = [
        Refusal(Path("bundles") / name, "broken") if name in broken else bundle_of(name, version)
        for name, version in after.items()
    ]
    changed = changes(served, found, "a")
    now = {change.model: change.bundle for change in changed if change.bundle}
    assert "a" in now
    for name, version in after.items():
        if name not in broken:
            assert now[name].card.digest == bundle_of(name, version).card.digest
        elif name in served:
            assert now[name] is served[name]
        else:
            assert name not in now
    assert set(now) <= {"a", *after}
    assert {change.model for change in changed} == {*before, *after}


def test_each_folder_is_read_or_refused_by_itself(make_bundle, tmp_path):
    sound, altered = make_bundle(tmp_path / "sound"), make_bundle(tmp_path / "altered")
    (altered.path / "encoder.onnx").write_bytes(b"altered")
    first, second, third = read_bundles([sound.path, altered.path, tmp_path / "nowhere"])
    assert first == sound
    assert second.path == altered.path
    assert "encoder.onnx" in second.reason
    assert "no bundle" in third.reason
