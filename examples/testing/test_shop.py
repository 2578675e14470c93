"""Tests of a program that uses Clew, against a real one: pip install 'clew[server]' pytest openai."""

import json
import urllib.request

import pytest

from clew_events.client.sync import connect
from clew_events.errors import Rejected
from clew_services.testing import ClewServer, running_clew


def open_case(nats_url: str, order: str) -> str:
    """The program under test."""
    with connect(nats_url, actor="shop") as clew:
        return clew.create_thread(metadata={"order": order}, command_id=f"open-{order}").thread.id


def test_a_case_is_opened_once(clew_server: ClewServer) -> None:
    assert open_case(clew_server.nats_url, "1042") == open_case(clew_server.nats_url, "1042")


def test_a_case_can_be_read_over_http(clew_server: ClewServer) -> None:
    thread = open_case(clew_server.nats_url, "1043")
    headers = {"Authorization": f"Bearer {clew_server.api_key}"}
    request = urllib.request.Request(f"{clew_server.base_url}/threads/{thread}", headers=headers)
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["metadata"] == {"order": "1043"}


def test_with_a_server_and_settings_of_its_own() -> None:
    with running_clew(max_messages=1) as server, connect(server.nats_url) as clew:
        thread = clew.create_thread(messages=["one"]).thread.id
        with pytest.raises(Rejected):
            clew.add_message(thread, "two")
