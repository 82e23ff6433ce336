import json
import logging
import sys

import pytest

from service import logs
from service.logs import ConsoleFormatter, JsonFormatter


def record_of(message="hello %s", args=("you",), error=None, **extra):
    record = logging.LogRecord("satcle.access", logging.INFO, "file.py", 1, message, args, error)
    vars(record).update(extra)
    return record


def raised():
    try:
        raise ValueError("what went wrong")
    except ValueError:
        return sys.exc_info()


@pytest.fixture
def configured_loggers():
    """Puts the loggers back as they were."""
    loggers = [logging.getLogger(name) for name in ("satcle", "uvicorn")]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    yield
    for logger, (logger.handlers, logger.propagate, level) in zip(loggers, before, strict=True):
        logger.setLevel(level)


def test_a_json_line_says_when_who_what_and_how_grave():
    event = json.loads(JsonFormatter().format(record_of()))
    assert event.pop("time")
    assert event == {"level": "info", "logger": "satcle.access", "message": "hello you"}


def test_fields_stand_beside_the_message():
    event = json.loads(JsonFormatter().format(record_of(fields={"status": 200, "request_id": "r"})))
    assert (event["status"], event["request_id"], event["message"]) == (200, "r", "hello you")


def test_an_exception_is_in_the_event_that_logs_it():
    event = json.loads(JsonFormatter().format(record_of(error=raised())))
    assert event["exception"].endswith("ValueError: what went wrong")
    assert "Traceback" in event["exception"]


@pytest.mark.parametrize("text", ["two\nlines", 'quote "', "\ud800", "\0", "東京"])
def test_whatever_is_logged_an_event_is_one_line_of_ascii(text):
    line = JsonFormatter().format(record_of("%s", (text,), fields={"given": text}))
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line)["message"] == json.loads(line)["given"] == text


def test_a_console_line_ends_with_its_fields():
    line = ConsoleFormatter().format(record_of(fields={"status": 200, "ms": 1.5}))
    assert line.endswith("INFO    hello you status=200 ms=1.5")


def test_a_console_line_has_its_exception():
    assert "ValueError: what went wrong" in ConsoleFormatter().format(record_of(error=raised()))


@pytest.mark.usefixtures("configured_loggers")
@pytest.mark.parametrize("name", ["satcle", "satcle.access", "uvicorn", "uvicorn.error"])
def test_once_configured_an_event_is_one_json_line_on_stderr(name, capsys):
    logs.configure("json")
    logs.configure("json")
    logging.getLogger(name).info("hello", extra={"fields": {"status": 200}})
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    event = json.loads(line)
    assert (event["logger"], event["message"], event["status"]) == (name, "hello", 200)


@pytest.mark.usefixtures("configured_loggers")
def test_the_console_format_is_for_people(capsys):
    logs.configure("console")
    logs.service.info("hello")
    assert capsys.readouterr().err.rstrip().endswith("INFO    hello")
