"""What can go wrong in the trainer that its user can put right.

TrainerError
├── ConfigError       a config that does not parse, or asks for what cannot be
├── ImageryError      a source that is missing, altered or not as its config describes it
├── CheckpointError   a checkpoint that is missing, unreadable, or of another config
├── WeightsError      published weights that cannot be read safely, or that no importer knows
├── RunError          a run folder that is in the way
├── StorageError      a folder or a bucket that cannot be reached, read or written
├── TableError        a table that cannot be read, or lacks what was asked of it
├── HeadError         a head that cannot be fitted or measured, or is there already
├── EvaluationError   a task, an encoder or a leaderboard that cannot be made as asked
├── BaselineError     a baseline that is unknown, or lacks what it needs
└── ExportError       an exported graph that is not the tower (trainer.export)
"""

from __future__ import annotations


class TrainerError(Exception):
    """Base of the trainer's errors; the message is one line that names the thing and the fix."""


class ConfigError(TrainerError):
    pass


class ImageryError(TrainerError):
    pass


class CheckpointError(TrainerError):
    pass


class WeightsError(TrainerError):
    pass


class RunError(TrainerError):
    pass


class StorageError(TrainerError):
    pass


class TableError(TrainerError):
    pass


class HeadError(TrainerError):
    pass


class EvaluationError(TrainerError):
    pass


class BaselineError(TrainerError):
    pass
