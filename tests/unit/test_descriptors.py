"""The limit of open descriptors, and what is kept of it."""

from __future__ import annotations

import resource

import pytest

from clew_services.host import resources
from clew_services.http.caller_limits import ConnectionLimit, StreamPlace


@pytest.mark.parametrize(("limit", "left"), [(64, 32), (128, 64), (1024, 896), (65_536, 65_408), (-1, 0)])
def test_descriptors_are_kept_for_what_the_process_needs_itself(
    monkeypatch: pytest.MonkeyPatch, limit: int, left: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, -1))
    assert resources.connections() == left


@pytest.mark.parametrize(
    ("limits", "raised"),
    [((128, 4096), (4096, 4096)), ((256, -1), (65_536, -1)), ((1024, 1_048_576), (65_536, 1_048_576))],
)
def test_the_limit_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], raised: tuple[int, int]
) -> None:
    told = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: told.append(both))
    resources.raise_limit()
    assert told == [raised]


@pytest.mark.parametrize("limits", [(65_536, 65_536), (1_000_000, 1_048_576), (-1, -1)])
def test_a_limit_that_is_high_enough_stays(monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int]) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("it was changed"))
    resources.raise_limit()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
    ],
)
def test_what_one_host_can_choose_among_counts_as_one_address(one: str, other: str, same: bool) -> None:
    ceiling = ConnectionLimit(0, 1)
    assert isinstance(ceiling.take(one), StreamPlace)
    assert isinstance(ceiling.take(other), StreamPlace) is not same
