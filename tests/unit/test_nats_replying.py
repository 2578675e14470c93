from __future__ import annotations

import json
from typing import get_args

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from clew_events import errors
from clew_events.client.decode import decode_reply
from clew_events.commit import Position
from clew_events.errors import ClewError, Conflict, Invalid, NotFound
from clew_events.operations import COMMANDS
from clew_events.replies import Done
from clew_services.inbox import inbox_message
from clew_services.nats_api import reply_codec
from clew_services.nats_api.services import parse_subject
from clew_services.tracing import trace_of

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClewError)]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_number_and_comes_out_as_it_went_in(kind: type[ClewError]):
    error = kind("A\nmessage\x00 of\u2028 lines")
    reply = reply_codec.refusal(error)
    assert reply.headers is not None
    assert 400 <= int(reply.headers[reply_codec.ERROR_CODE]) <= 503
    assert reply.headers[reply_codec.ERROR] == "A message  of  lines"
    with pytest.raises(ClewError) as raised:
        decode_reply(Done, reply.body)
    assert (raised.value.message, raised.value.code, raised.value.retry) == (error.message, error.code, error.retry)


def test_the_numbers_are_those_a_caller_of_the_http_api_would_see():
    numbers = {kind.__name__: reply_codec.code_of(kind("m")) for kind in ALL}
    assert numbers == {
        "Invalid": "400", "Rejected": "400", "ClewError": "500", "Unauthorized": "401", "Forbidden": "403",
        "NotFound": "404", "AlreadyExists": "409", "AlreadyErased": "409", "Held": "409", "Forked": "409",
        "IdReused": "409", "Conflict": "412", "TooLarge": "413",
        "Unavailable": "503", "Corrupt": "500",
    }  # fmt: skip
    assert reply_codec.code_of(Conflict("m", code="too_many_writers")) == "409"


def test_an_answer_has_no_error_in_it_and_a_refusal_no_answer():
    done = reply_codec.answer(Done(position=Position(1, 2), n=3))
    assert json.loads(done.body) == {"ok": {"position": {"shard": 1, "seq": 2}, "n": 3}}
    assert done.headers is None
    assert set(json.loads(reply_codec.refusal(Invalid("m")).body)) == {"error"}


@pytest.mark.parametrize(
    ("subject", "reserved"),
    [
        ("clew.evt.00.default.thread_a", True), ("clew.cmd.default.create_thread", True), ("clew.live.x", True),
        ("$JS.API.STREAM.DELETE.X", True), ("$KV.clew_threads_v1.default.thread_a", True), ("$SYS.x", True),
        ("_INBOX.abc.def", False), ("billing.done", False), ("clewless.done", False), ("", False),
    ],
)  # fmt: skip
def test_no_reply_may_pass_for_something_of_clews_or_the_servers(subject: str, reserved: bool):
    assert reply_codec.is_reserved(subject) is reserved
    assert reply_codec.is_unfit(subject) is reserved


@pytest.mark.parametrize("subject", [">", "*", "_INBOX.>", "_INBOX.*.a", ".a", "a.", "a..b"])
def test_no_reply_goes_to_a_subject_that_nobody_can_publish_to(subject: str):
    assert reply_codec.is_unfit(subject)


def test_a_subject_says_whose_it_is_and_what_is_asked_for():
    for name, kind in COMMANDS.items():
        assert parse_subject(f"clew.cmd.acme.{name}", COMMANDS, "command") == ("acme", kind)
    with pytest.raises(NotFound, match=r"'nonsense'.*add_message.*update_thread"):
        parse_subject("clew.cmd.acme.nonsense", COMMANDS, "command")
    with pytest.raises(Invalid, match="'NOT'"):
        parse_subject("clew.cmd.NOT.create_thread", COMMANDS, "command")
    with pytest.raises(NotFound) as long:
        parse_subject("clew.cmd.acme." + "x" * 5000, COMMANDS, "command")
    assert len(long.value.message) < 800


def message(headers: dict[str, str] | None, deliveries: int = 1, seq: int = 7) -> Msg:
    reply = f"$JS.ACK.CLEW_INBOX.handlers.{deliveries}.{seq}.{deliveries + 3}.1700000000123456789.0"
    return Msg(Client(), subject="clew.inbox.default.create_thread", reply=reply, data=b"{}", headers=headers)


GOOD = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.mark.parametrize(
    ("headers", "trace"),
    [(None, None), ({}, None), ({"traceparent": GOOD}, GOOD), ({"traceparent": GOOD + "\n"}, None),
     ({"traceparent": "x"}, None), ({"traceparent": GOOD.upper()}, None),
     ({"traceparent": "ff" + GOOD[2:]}, None), ({"traceparent": GOOD.replace("a", "0")}, None),
     ({"traceparent": GOOD.replace("b", "0")}, None), ({"traceparent": "01" + GOOD[2:]}, "01" + GOOD[2:])],
)  # fmt: skip
def test_only_a_well_formed_trace_is_taken_along(headers: dict[str, str] | None, trace: str | None):
    assert trace_of(message(headers)) == trace


def test_an_inbox_command_has_one_id_over_all_its_deliveries():
    ids = {inbox_message.given_id(message(None, deliveries)) for deliveries in range(1, 5)}
    assert len(ids) == 1
    assert ids.pop().startswith("inbox-7-")
    assert inbox_message.given_id(message(None, seq=8)) != inbox_message.given_id(message(None, seq=7))
    assert inbox_message.given_id(message({"Nats-Msg-Id": "order-1"})) == "order-1"
    odd = inbox_message.given_id(message({"Nats-Msg-Id": "two words"}))
    assert odd == inbox_message.given_id(message({"Nats-Msg-Id": "two words"}, seq=9))
    assert odd != inbox_message.given_id(message({"Nats-Msg-Id": "two  words"}))


def test_a_command_keeps_the_id_it_names():
    named = message({"Nats-Msg-Id": "outside"})
    named.data = b'{"id": "inside"}'
    assert inbox_message.read(named).command.id == "inside"
    assert inbox_message.read(message({"Nats-Msg-Id": "outside"})).command.id == "outside"


def test_every_kind_of_fault_has_a_retry_word():
    assert {kind("m").retry for kind in ALL} == set(get_args(errors.Retry))
