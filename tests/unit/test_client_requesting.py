from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew_events.backoff import delays
from clew_events.client.command_methods import as_message
from clew_events.client.decode import decode_reply, decode_sequence
from clew_events.client.results import ThreadDone, ThreadFound
from clew_events.errors import Corrupt, TooLarge, Unavailable
from clew_events.replies import Done, History, Moment
from clew_events.requests import NewMessage


@given(st.floats(0.001, 1), st.floats(1, 10), st.floats(1.1, 4))
def test_pauses_grow_to_a_limit_and_never_beyond(first: float, longest: float, factor: float):
    ceiling = first
    for pause in islice(delays(first=first, longest=longest, factor=factor), 20):
        assert ceiling / 2 <= pause <= ceiling
        ceiling = min(longest, ceiling * factor)
    assert ceiling == longest or first * factor**20 < longest


def test_callers_that_failed_together_come_back_apart():
    assert len({next(delays()) for _ in range(100)}) > 90


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'{"ok": null}', b'{"ok": {"n": 1}}', b"\xff", b'{"ok":"']
)
def test_a_reply_that_says_nothing_is_corrupt_and_not_an_answer(body: bytes):
    for answer in (Done, ThreadDone, ThreadFound, History, Moment):
        with pytest.raises(Corrupt):
            decode_reply(answer, body)


def test_a_stored_message_is_known_by_its_sequence():
    assert decode_sequence(b'{"stream": "CLEW_INBOX", "seq": 12}') == 12
    with pytest.raises(Unavailable) as hidden:
        decode_sequence(b'{"stream": "CLEW_INBOX", "seq": 12, "duplicate": true}')
    assert hidden.value.code == "inbox_duplicate"
    with pytest.raises(TooLarge):
        decode_sequence(b'{"error": {"code": 400, "err_code": 10054, "description": "too large"}}')
    with pytest.raises(Unavailable):
        decode_sequence(b'{"error": {"code": 503, "err_code": 10077, "description": "full"}}')
    for body in (b"{}", b"", b"+OK", b'{"ok": {}}'):
        with pytest.raises(Corrupt):
            decode_sequence(body)


def test_a_text_alone_is_a_message_of_the_users():
    assert as_message("Hello") == NewMessage(role="user", content="Hello")
    own = NewMessage(role="assistant", content="Hello")
    assert as_message(own) is own
