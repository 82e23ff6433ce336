"""The figures of a leaderboard, kept: what was measured once is not measured again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.errors import EvaluationError

FORMAT = 1
"""Raised when a probe changes, so that its older figures are not taken for new ones."""


@dataclass(frozen=True)
class Key:
    """Which figures: `encoder` and `task` are digests; `split` is a kind of folds, a split, or a continent."""

    encoder: str
    task: str
    probe: str
    split: str
    seed: int


Figures = dict[str, list[float]]
"""By metric, a value for each fold, or one."""


class Cells:
    """The figures in `path`, which is written whole after each figure: who is killed loses the one in the making."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = _read(path)
        self._lines = [_line(key, figures) for key, figures in self._kept.items()]

    def get(self, key: Key) -> Figures | None:
        return self._kept.get(key)

    def add(self, measured: Iterable[tuple[Key, Figures]]) -> None:
        """Each as it comes; figures of a key that is kept already are not replaced. Raises EvaluationError."""
        for key, figures in measured:
            if key not in self._kept:
                self._kept[key] = figures
                self._lines.append(_line(key, figures))
                self._write()

    def _write(self) -> None:
        staged = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lines = ",\n".join(self._lines)
            staged.write_text(f'{{"format": {FORMAT}, "cells": [\n{lines}\n]}}\n', encoding="utf-8")
            staged.replace(self._path)
        except OSError as error:
            raise EvaluationError(f"{self._path} cannot be written: {error.strerror}") from error


def _line(key: Key, figures: Figures) -> str:
    return json.dumps(asdict(key) | {"figures": figures})


def _read(path: Path) -> dict[Key, Figures]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            return {}
        return {Key(**{k: v for k, v in cell.items() if k != "figures"}): cell["figures"] for cell in content["cells"]}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{path} holds no figures of satcle evaluate: {error}; remove it") from error
