"""history.csv: what each epoch came to, a line an epoch."""

from __future__ import annotations

import csv
import time
from io import StringIO

import lightning

from trainer.storage import Place, exists, read_bytes, write_text
from trainer.training.module import LOGIT_SCALE, TRAIN_LOSS, VALIDATION_LOSS

COLUMNS = ("epoch", "train_loss", "validation_loss", "logit_scale", "seconds", "samples_per_second")


class History(lightning.Callback):
    """Writes a line after each epoch, validation included in its seconds; the first epoch is 1.

    A resumed run first takes away the lines of epochs that it is to train again. Only the first process writes.
    """

    def __init__(self, path: Place) -> None:
        self.path = path
        self._started = 0.0
        self._rows: list[dict[str, str]] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            self._rows = read_history(self.path)[: trainer.current_epoch] if exists(self.path) else []
            self._write()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            seconds = time.perf_counter() - self._started
            batches = trainer.train_dataloader
            samples = sum(map(len, batches)) if batches else 0
            figures = [float(trainer.callback_metrics[name]) for name in (TRAIN_LOSS, VALIDATION_LOSS, LOGIT_SCALE)]
            values = trainer.current_epoch + 1, *figures, seconds, samples / seconds
            self._rows.append(dict(zip(COLUMNS, (f"{value:.6g}" for value in values), strict=True)))
            self._write()

    def _write(self) -> None:
        written = StringIO()
        table = csv.DictWriter(written, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows)
        write_text(self.path, written.getvalue())


def read_history(path: Place) -> list[dict[str, str]]:
    """The lines of a history.csv, by column; a line that was cut off by a crash is no line."""
    rows = csv.DictReader(StringIO(read_bytes(path).decode(), newline=""))
    return [row for row in rows if None not in row.values()]
