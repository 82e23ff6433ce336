"""Logs: one line an event, as JSON or for a console. Never a coordinate, a cell or a secret."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, Literal

access = logging.getLogger("satcle.access")
service = logging.getLogger("satcle")


def configure(log_format: Literal["json", "console"]) -> None:
    """Send the service's and uvicorn's logs to stderr in `log_format`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else ConsoleFormatter())
    for name in ("satcle", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO)


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event)


class ConsoleFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        return f"{super().format(record)} {fields}".rstrip()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a call passed as `extra={"fields": {…}}`."""
    return getattr(record, "fields", {})
