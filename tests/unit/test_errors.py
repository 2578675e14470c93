from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from clew_events import errors
from clew_events.errors import ClewError, Fault, Kind, from_fault, to_fault


def every(kind: type[ClewError]) -> list[type[ClewError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in every(child))]


OURS = [kind for kind in every(ClewError) if kind.__module__ == errors.__name__]
LEAVES = [kind for kind in OURS if not any(child in OURS for child in kind.__subclasses__())]


def test_there_is_one_tree_and_its_branches_say_what_to_do_next() -> None:
    told = {kind.__name__: (kind.kind, kind.retry) for kind in LEAVES}
    assert told == {
        "Invalid": ("rejected", "no"),
        "Unauthorized": ("rejected", "no"),
        "Forbidden": ("rejected", "no"),
        "NotFound": ("rejected", "no"),
        "AlreadyExists": ("rejected", "no"),
        "AlreadyErased": ("rejected", "no"),
        "Held": ("rejected", "no"),
        "Forked": ("rejected", "no"),
        "IdReused": ("rejected", "no"),
        "TooLarge": ("rejected", "no"),
        "Conflict": ("conflict", "reload"),
        "Unavailable": ("unavailable", "later"),
        "Corrupt": ("corrupt", "no"),
    }
    assert {kind.kind for kind in LEAVES} == set(get_args(Kind))


def test_the_tree_in_the_documentation_names_every_class() -> None:
    assert errors.__doc__ is not None
    for kind in OURS:
        assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize("kind", LEAVES)
def test_an_error_comes_off_the_wire_as_the_class_it_went_on(kind: type[ClewError]) -> None:
    code = "thread_not_found" if kind is errors.NotFound else None
    sent = kind("No such luck.", code=code, param="messages[0].role")
    over_the_wire = msgspec.json.decode(msgspec.json.encode(to_fault(sent)), type=Fault)
    received = from_fault(over_the_wire)
    assert type(received) is kind
    assert (received.message, received.code, received.param) == (sent.message, sent.code, sent.param)
    assert to_fault(received) == over_the_wire


@pytest.mark.parametrize("kind", LEAVES)
def test_an_error_says_its_message_when_printed_and_has_a_code_without_being_given_one(
    kind: type[ClewError],
) -> None:
    error = kind("No such luck.")
    assert str(error) == error.message == "No such luck."
    assert error.code == kind.default_code
    assert error.param is None


def test_default_codes_tell_the_leaves_apart() -> None:
    assert len({kind.default_code for kind in LEAVES}) == len(LEAVES)


def test_a_refusal_with_a_code_of_its_own_arrives_as_the_branch_that_a_caller_would_catch() -> None:
    received = from_fault(Fault(type="rejected", code="unknown_parameter", message="Unknown.", param="x"))
    assert type(received) is errors.Invalid
    received = from_fault(Fault(type="conflict", code="busy", message="Busy.", retry="reload"))
    assert type(received) is errors.Conflict
    received = from_fault(Fault(type="unavailable", code="already_exists", message="Not now.", retry="later"))
    assert type(received) is errors.Unavailable


def test_that_an_outcome_is_unknown_is_said_only_when_it_is() -> None:
    assert errors.Unavailable("no answer", outcome_unknown=True).outcome_unknown
    assert not errors.Unavailable("no server").outcome_unknown
