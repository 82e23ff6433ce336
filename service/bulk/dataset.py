"""A dataset: a folder of parts, and a file that says what they are, so that none of another job is ever among them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from service.bulk.folder import Folder
from service.bulk.parts import Job, Part
from service.errors import BadTable, OutputExists

NAME = "_satcle.json"
"""Begins with _ so that readers of datasets pass it over."""
FORMAT = 1
NAMES_ONLY = frozenset({"region"})
"""What a description says for people."""
UNSAID_PRECISION = "float32"
"""Of datasets from before there was another."""


@dataclass(frozen=True)
class Dataset:
    folder: Folder
    description: dict[str, Any]
    suffix: str
    empty: frozenset[str]
    """Parts that hold no point, as far as is known."""

    @classmethod
    def open(cls, folder: Folder, job: Job, *, overwrite: bool) -> Dataset:
        """Begin a dataset, or go on with one of the same job.

        Raises OutputExists where the folder holds something else, unless it is a dataset and `overwrite`; BadTable
        where what it says of itself cannot be read.
        """
        names = folder.names()
        description = json.loads(json.dumps({"format": FORMAT, **job.description}))
        if NAME in names:
            found = _read(folder)
            if overwrite:
                _empty(folder, names, found)
            else:
                _check_same(folder, found["job"], description)
                return cls(folder, description, job.suffix, frozenset(found["empty"]))
        elif names:
            raise OutputExists(f"{folder.shown} holds files that are no dataset of satcle's; choose an empty folder")
        folder.create()
        dataset = cls(folder, description, job.suffix, frozenset())
        dataset._write(complete=False)
        return dataset

    def missing(self, parts: Iterable[Part]) -> list[Part]:
        there = self.folder.names() | self.empty
        return [part for part in parts if part.name not in there]

    def finish(self, job: Job, parts: list[Part], empty: Iterable[str]) -> None:
        """Say that it is complete. Raises BadTable where parts that were made are not there."""
        empty = self.empty | set(empty)
        there = self.folder.names() | empty
        lost = [part for part in parts if part.name not in there]
        if lost:
            raise BadTable(
                f"{self.folder.shown} lacks {len(lost)} parts that workers have written, as {lost[0].name}: "
                "it must be a folder that all machines share, or of an object store (s3://, gs://)"
            )
        self.folder.remove_stagings(self.suffix)
        extras = job.extras(part for part in parts if part.name not in empty)
        for name, text in extras.items():
            self.folder.write(name, text)
        self._write(complete=True, empty=sorted(empty), extras=sorted(extras))

    def _write(self, *, complete: bool, empty: Sequence[str] = (), extras: Sequence[str] = ()) -> None:
        about = {"complete": complete, "job": self.description, "suffix": self.suffix}
        content = {**about, "empty": list(empty), "extras": list(extras)}
        self.folder.write(NAME, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _read(folder: Folder) -> dict[str, Any]:
    try:
        found = json.loads(folder.read(NAME))
        if found["job"]["format"] > FORMAT:
            raise BadTable(f"{folder.shown} was written by a newer satcle; upgrade satcle, or choose another folder")
        lists = {name: list(found[name]) for name in ("empty", "extras")}
        job = {"precision": UNSAID_PRECISION, **found["job"]}
        return {"job": job, "suffix": str(found["suffix"]), **lists}
    except (ValueError, KeyError, TypeError) as error:
        raise BadTable(f"{folder.shown}/{NAME} is damaged ({error}); choose another folder") from None


def _check_same(folder: Folder, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    before, now = _flat(found), _flat(wanted)
    differing = [key for key in {**before, **now} if key not in NAMES_ONLY and before.get(key) != now.get(key)]
    if differing:
        what = "; ".join(f"its {key} is {_shown(before, key)}, not {_shown(now, key)}" for key in differing[:3])
        raise OutputExists(
            f"{folder.shown} holds another job's dataset: {what}. "
            "Choose another folder, or begin it anew with --overwrite"
        )


def _flat(description: dict[str, Any]) -> dict[str, Any]:
    """Without levels: those of the source, say, among the others."""
    flat = {}
    for key, value in description.items():
        flat.update(_flat(value) if isinstance(value, dict) else {key: value})
    return flat


def _shown(flat: dict[str, Any], key: str) -> str:
    text = json.dumps(flat.get(key), ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _empty(folder: Folder, names: set[str], found: dict[str, Any]) -> None:
    """Take away what the dataset is made of, and nothing else."""
    for name in sorted(names):
        if name.endswith(found["suffix"]) or name in found["extras"]:
            folder.remove(name)
