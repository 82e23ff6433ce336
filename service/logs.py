"""Logs: one line an event, as JSON or for a console. Never a secret; a coordinate or a cell only where asked for.

The message of an exception may hold what a request sent, so a traceback is logged without messages.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from types import TracebackType
from typing import Any, Literal

access = logging.getLogger("satcle.access")
service = logging.getLogger("satcle")


ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(log_format: Literal["json", "console"], exception_messages: bool = False) -> None:
    """Send the logs of the service, and of the libraries that log, to stderr in `log_format`."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = JsonFormatter if log_format == "json" else ConsoleFormatter
    handler.setFormatter(formatter(exception_messages))
    for name in ("satcle", "uvicorn", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO)


class _Formatter(logging.Formatter):
    """Formats exceptions with their messages, or without."""

    def __init__(self, exception_messages: bool = True, layout: str | None = None, times: str | None = None) -> None:
        super().__init__(layout, times)
        self._exception_messages = exception_messages

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802 - logging's name
        return super().formatException(ei) if self._exception_messages else stack_of(ei)


class JsonFormatter(_Formatter):
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


class ConsoleFormatter(_Formatter):
    def __init__(self, exception_messages: bool = True) -> None:
        super().__init__(exception_messages, "%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        return f"{super().format(record)} {fields}".rstrip()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a call passed as `extra={"fields": {…}}`."""
    return getattr(record, "fields", {})


def stack_of(exception: ExceptionInfo) -> str:
    """Types and stacks of an exception and of what led to it, without their messages."""
    error = exception[1]
    lines: list[str] = []
    while error is not None:
        lines += [*traceback.format_tb(error.__traceback__), type(error).__qualname__]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(line.rstrip("\n") for line in lines)
