from __future__ import annotations

import json
import logging
import sys

from clew_services.cli.logs import JsonLines, TextLines


def test_an_event_is_one_json_object_with_what_was_put_beside_it():
    record = logging.makeLogRecord(
        {
            "name": "clew.up",
            "levelname": "WARNING",
            "msg": "%s ended\nagain",
            "args": ("api",),
            "created": 0.5,
            "shard": 3,
        }
    )
    text = JsonLines().format(record)
    assert "\n" not in text
    assert json.loads(text) == {
        "at": "1970-01-01T00:00:00.500000Z",
        "level": "warning",
        "logger": "clew.up",
        "message": "api ended\nagain",
        "shard": "3",
    }


def test_an_exception_is_part_of_the_object():
    try:
        int("broken")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    assert json.loads(JsonLines().format(record))["exception"].endswith("'broken'")


def test_what_is_logged_controls_no_terminal():
    record = logging.makeLogRecord(
        {"name": "clew.up", "levelname": "INFO", "msg": "of \x1b[2J\x9b%s", "args": ("\x7f",)}
    )
    for form in (TextLines(), JsonLines()):
        assert form.format(record).isprintable()
    assert r"of \x1b[2J\x9b\x7f" in TextLines().format(record)
    assert json.loads(JsonLines().format(record))["message"] == "of \x1b[2J\x9b\x7f"
