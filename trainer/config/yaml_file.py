"""YAML as configs are written in it: a key is said once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from trainer.config.fields import Frozen
from trainer.errors import ConfigError

MERGE = "tag:yaml.org,2002:merge"
"""Of the key <<, which may stand more than once."""

Section = TypeVar("Section", bound=Frozen)


class _Loader(yaml.SafeLoader):
    """PyYAML's, which would let the last of two equal keys win in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - as the stubs have it, or None
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                said, line = (key.tag, key.value), key.start_mark.line + 1
                if said in lines:
                    raise _SaidTwice(f"key {key.value} stands in line {lines[said]} and in line {line}; remove one")
                lines[said] = line
        return node


class _SaidTwice(Exception):
    pass


def read_yaml(path: Path) -> object:
    """What the one document of `path` holds. Raises ConfigError, one line."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except _SaidTwice as error:
        raise ConfigError(f"{path}: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def read_section(path: Path, kind: type[Section]) -> Section:
    """The document of `path` as a `kind`. Raises ConfigError, one line: the file, the key, and what is wrong."""
    try:
        return kind.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the top level"
        raise ConfigError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from error
