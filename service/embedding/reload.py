"""What a reload changes: the bundles that are served beside those that are there now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from service.bundle import Bundle, BundleError, read_bundle


@dataclass(frozen=True)
class Refusal:
    """A folder that cannot be served, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Change:
    """What becomes of one model. `bundle` is the one served from now on, if any; `reason` says why one is refused."""

    model: str
    kind: Literal["added", "replaced", "kept", "removed", "refused"]
    bundle: Bundle | None
    reason: str | None = None

    def refused(self, reason: str, served: Bundle | None) -> Change:
        """Instead: the bundle served before, if any, stays."""
        return replace(self, kind="refused", bundle=served, reason=reason)


def read_bundles(folders: Iterable[Path]) -> list[Bundle | Refusal]:
    """Each bundle, verified, or why it is none. Blocks."""
    found: list[Bundle | Refusal] = []
    for path in folders:
        try:
            found.append(read_bundle(path))
        except BundleError as error:
            found.append(Refusal(path, str(error)))
    return found


def changes(served: Mapping[str, Bundle], found: Sequence[Bundle | Refusal], default: str) -> list[Change]:
    """One of each model that is served or found, those found first; the default is never removed."""
    name_at = {bundle.path: name for name, bundle in served.items()}
    taken: dict[str, Path] = {}
    changed: list[Change] = []
    for each in found:
        if isinstance(each, Refusal):
            name = name_at.get(each.path, each.path.name)
            changed.append(Change(name, "refused", served.get(name_at.get(each.path, "")), each.reason))
            continue
        name = each.card.name
        if name in taken:
            reason = f"{each.path} has the name of {taken[name]}: names must differ"
            changed.append(Change(name, "refused", None, reason))
            continue
        taken[name] = each.path
        changed.append(Change(name, _kind(served.get(name), each), each))
    kept = {change.bundle.card.name for change in changed if change.bundle}
    for name, bundle in served.items():
        if name == default and name not in kept:
            reason = f"the default model cannot be removed: put its bundle back at {bundle.path}, or start anew"
            changed.append(Change(name, "refused", bundle, reason))
        elif name not in kept:
            changed.append(Change(name, "removed", None))
    return changed


def _kind(served: Bundle | None, found: Bundle) -> Literal["added", "replaced", "kept"]:
    if served is None:
        return "added"
    return "kept" if served.card.digest == found.card.digest else "replaced"
