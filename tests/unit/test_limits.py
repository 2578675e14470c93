"""How much is taken of one thread, one message and one caller."""

from __future__ import annotations

import pytest

from clew_events.errors import ClewError, Invalid, TooLarge
from clew_events.requests import NewImageFile, NewImageFileSource, NewMessage, NewText
from clew_services.api_keys import Holder
from clew_services.http.caller_limits import LONGEST_WAIT, RateLimit
from clew_services.settings import Settings
from clew_services.threads.limits import DEFAULT, Limits, check_add, check_create

ACME, GLOBEX = Holder("acme", "key_1"), Holder("globex", "key_2")


def said(*texts: str) -> NewMessage:
    return NewMessage(role="user", content=tuple(NewText(text=text) for text in texts))


def refused(limits: Limits, message: NewMessage, there: int = 0) -> ClewError:
    with pytest.raises(ClewError) as refusal:
        check_add(limits, "thread_x", there, message)
    return refusal.value


def test_the_longest_text_there_may_be_is_taken_in_any_script():
    for letter in ("a", "é", "線", "🧵"):
        check_add(DEFAULT, "thread_x", 0, NewMessage(role="user", content=letter * 256_000))


def test_a_message_is_measured_in_bytes_over_all_its_parts():
    limits = Limits(message=10)
    check_add(limits, "thread_x", 0, said("12345", "éé"))
    check_add(limits, "thread_x", 0, said("1234567890"))
    refusal = refused(limits, said("12345", "ééé"))
    assert isinstance(refusal, TooLarge)
    assert (refusal.code, refusal.param) == ("too_large", "content")
    assert refusal.message == (
        "Invalid 'content': message too long. Expected at most 10 bytes of text, but got 11 instead."
    )
    picture = NewImageFile(image_file=NewImageFileSource(file_id="f" * 100))
    check_add(limits, "thread_x", 0, NewMessage(role="user", content=(picture,)))
    assert refused(limits, NewMessage(role="user", content="x" * 11)).param == "content"


def test_a_full_thread_takes_no_more_until_a_message_is_deleted():
    limits = Limits(messages=3)
    check_add(limits, "thread_x", 2, said("hi"))
    refusal = refused(limits, said("hi"), there=3)
    assert isinstance(refusal, Invalid)
    assert (refusal.code, refusal.param) == ("thread_full", None)
    assert refusal.message == "Thread 'thread_x' has 3 messages, and cannot have more than 3."
    assert DEFAULT.messages == 100_000


def test_a_creation_is_held_within_the_same_limits():
    limits = Limits(message=10, create=2)
    check_create(limits, [said("hi"), said("hi")])
    with pytest.raises(Invalid, match="maximum length 2, but got an array with length 3"):
        check_create(limits, [said("hi")] * 3)
    with pytest.raises(TooLarge) as refusal:
        check_create(limits, [said("hi"), said("x" * 11)])
    assert refusal.value.param == "messages[1].content"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_message", 1023),
        ("max_message", 9 * 1024 * 1024),
        ("max_messages", 0),
        ("max_create", -1),
        ("max_create", 101),
        ("rate", -1),
        ("burst", 1_000_001),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_by_option_and_variable(name: str, value: int):
    with pytest.raises(Invalid) as refusal:
        Settings(**{name: value})  # type: ignore[arg-type]
    assert f"--{name.replace('_', '-')} (CLEW_{name.upper()}) is {value!r}" in refusal.value.message


def test_settings_become_limits():
    chosen = Settings(max_message=2048, max_messages=5, max_create=7).limits
    assert chosen == Limits(message=2048, messages=5, create=7)
    assert Settings().limits == DEFAULT


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def waits(pace: RateLimit, times: int, holder: Holder = ACME) -> list[int | None]:
    return [pace.wait(holder) for _ in range(times)]


def test_so_many_may_come_at_once_and_then_so_many_a_second():
    clock = Clock()
    pace = RateLimit(10, 3, clock)
    assert waits(pace, 5) == [None, None, None, 1, 1]
    clock.now += 0.1
    assert waits(pace, 2) == [None, 1]
    clock.now += 100
    assert waits(pace, 4) == [None, None, None, 1]


def test_each_key_has_a_bucket_of_its_own():
    pace = RateLimit(1, 1, Clock())
    assert waits(pace, 2) == [None, 1]
    assert waits(pace, 2, GLOBEX) == [None, 1]


def test_without_a_burst_of_its_own_a_second_may_come_at_once():
    pace = RateLimit(5, clock=Clock())
    assert waits(pace, 6) == [None] * 5 + [1]


def test_over_any_time_no_more_come_through_than_the_rate_allows():
    clock = Clock()
    pace = RateLimit(7, 2, clock)
    through = 0
    for _ in range(5000):
        through += pace.wait(ACME) is None
        clock.now += 0.003
    assert 7 * 15 <= through <= 7 * 15 + 2 + 1


def test_nobody_is_asked_to_wait_longer_than_clients_will():
    clock = Clock()
    pace = RateLimit(1, 1, clock)
    pace.wait(ACME)
    clock.now -= 1000
    assert pace.wait(ACME) == LONGEST_WAIT


def test_no_rate_is_no_limit():
    assert waits(RateLimit(0), 1000) == [None] * 1000
