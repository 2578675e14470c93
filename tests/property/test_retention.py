"""A thread under retention, with holds, restores and wrong clocks: it never goes early, and goes when clocks are right.

The world has a true time, which nobody in it knows, and says by that time and in words of its own what may be removed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from clew_events.commit import Position, Recorded
from clew_events.content import ExpiresAfter, Provenance
from clew_events.events import (
    ErasureRequested,
    Event,
    ExpiryUpdated,
    HoldPlaced,
    HoldReleased,
    MetadataUpdated,
    ThreadDeleted,
    ThreadRestored,
)
from clew_events.list_query import Condition
from clew_projections.apply import advance
from clew_projections.index.match import MatchedThread
from clew_projections.tenant_state import RetentionPolicy, StandingHold, TenantState, encode_condition
from clew_projections.views import ThreadView, absent
from clew_services.retention.due import Removal, agree, judge
from clew_services.retention.looks import STEADY, Clocks, Looks, add_look
from support.commits import CREATED, THREAD, commit, encoded

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EVERY = timedelta(minutes=25)
"""Time between two looks."""
SECRET = encode_condition(Condition.equal("secret", "yes"))

POLICIES = st.builds(
    RetentionPolicy,
    name=st.sampled_from(["first", "second"]),
    after_days=st.integers(1, 3),
    since=st.sampled_from(["created", "changed", "original"]),
    where=st.sampled_from([None, SECRET]),
    then=st.sampled_from(["delete", "erase"]),
    erase_after_days=st.none() | st.integers(1, 2),
)
NAMES = ("hold", "release", "keep secrets", "let secrets go", "tell", "hide", "hide", "delete", "restore", "set right")
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 30)),
    st.tuples(st.just("wait"), st.integers(1, 30)),
    st.tuples(st.sampled_from(["set wrong", "restart wrong"]), st.integers(-30, 70)),
    st.tuples(st.just("be down"), st.integers(1, 80)),
    st.tuples(st.just("expire"), st.integers(1, 6)),
    st.tuples(st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.sampled_from(NAMES), st.just(0)),
)

SECRETS = st.sampled_from([[], ["hold"], ["hide"], ["hide", "keep secrets"]])


class Truth(Struct):
    """What is true of the thread, by the true time."""

    created: datetime
    original: datetime
    used: datetime
    deleted: datetime | None = None
    erased: bool = False
    secret: bool = False
    held: bool = False
    secrets_held: bool = False
    freed: datetime = START
    expires: int | None = None

    @property
    def kept(self) -> bool:
        return self.held or (self.secret and self.secrets_held)


class World:
    """One thread of a tenant, and one machine, whose clock is also that of the NATS server."""

    def __init__(self, imported: int = 0) -> None:
        """``imported`` is how many days before it was imported the thread was created; 0 if it was created here."""
        self.time = START
        self.ahead = timedelta()
        self.wrong_since = START
        self.boot = 0
        self.booted = START
        self.view = absent("default", THREAD)
        self.views: list[ThreadView] = []
        self.truth = Truth(START, START, START)
        self.rules = TenantState()
        self.ruled = START
        self.written = 0
        self.looks: Looks | None = None
        self.wait(STEADY + HOUR)
        self.truth.created = self.time
        self.truth.original = self.time - imported * DAY
        origin = Provenance("chatgpt", "1", "0" * 64, self.truth.original)
        self.commit(replace(CREATED, imported=origin) if imported else CREATED)

    def commit(self, *events: Event, used: bool = True) -> None:
        """Add a commit of the thread."""
        self.written += 1
        made = encoded(commit(self.view.n + 1, *events, prev=self.view.hash, at=self.time))
        self.view = advance(self.view, Recorded(made.commit, Position(0, self.written), made.hash, body=made.body))
        self.views.append(self.view)
        if used:
            self.truth.used = self.time

    def rule(self, *policies: RetentionPolicy, holds: dict[str, StandingHold] | None = None) -> None:
        """Add a commit of the tenant's own history."""
        self.written += 1
        changed = {**self.rules.policies, **{policy.name: policy for policy in policies}}
        holds = self.rules.holds if holds is None else holds
        self.rules = TenantState(n=self.rules.n + 1, seq=self.written, policies=changed, holds=holds)
        self.ruled = self.time

    def wait(self, time: timedelta) -> None:
        """Let time pass, with looks; a clock is wrong for a day at most."""
        until = self.time + time
        while self.time < until:
            self.time = min(self.time + EVERY, until)
            if self.ahead and self.time - self.wrong_since >= DAY:
                self.ahead = timedelta()
            self.look()

    def look(self) -> None:
        """Do what the worker does with the thread."""
        now = self.time + self.ahead
        up = (self.time - self.booted).total_seconds()
        self.looks = add_look(self.looks, Clocks(now, now, str(self.boot), up), (self.written,))
        agreed = self.looks.agreed
        if agreed is None or not agreed.has(0, self.rules.seq):
            return
        then = [view for view in self.views if agreed.has(0, view.seq)][-1:] or [absent("default", THREAD)]
        verdicts = [judge(MatchedThread(view), self.rules) for view in (self.view, *then)]
        removal = agree(*verdicts, agreed.at)
        if removal is not None:
            self.check(removal)
            self.remove(removal)

    def check(self, removal: Removal) -> None:
        """Check that a thread may be removed."""
        truth, now = self.truth, self.time
        assert not truth.kept
        assert not truth.erased
        assert now - truth.freed >= HOUR
        assert now - self.ruled >= HOUR or not self.rules.n
        if removal.policy is None:
            assert removal.action == "delete"
            assert truth.expires is not None
            assert now - truth.used >= timedelta(days=truth.expires)
            return
        policy = self.rules.policies[removal.policy]
        since = {"created": truth.created, "changed": truth.used, "original": truth.original}[policy.since]
        age, over = now - since, timedelta(policy.after_days)
        assert policy.where is None or truth.secret
        assert age >= over
        if removal.action == "erase" and policy.then == "delete":
            assert policy.erase_after_days is not None
            assert truth.deleted is not None
            assert now - truth.deleted >= timedelta(policy.erase_after_days)
            assert age >= over + timedelta(policy.erase_after_days)

    def remove(self, removal: Removal) -> None:
        if removal.action == "erase":
            self.commit(ErasureRequested(erasure="erasure_1", items=None, code=None), used=False)
            self.truth.erased = True
        else:
            self.commit(ThreadDeleted(), used=False)
            self.truth.deleted = self.time

    def step(self, what: str, number: int) -> None:  # noqa: C901 - one case a thing that happens
        """Have something happen, if it can."""
        open_, deleted = self.view.status == "open", self.view.status == "deleted"
        match what:
            case "wait":
                self.wait(number * HOUR)
            case "set wrong" | "restart wrong" if not self.ahead:
                self.ahead, self.wrong_since = number * HOUR, self.time
                if what == "restart wrong":
                    self.boot, self.booted = self.boot + 1, self.time
            case "set right":
                self.ahead = timedelta()
            case "be down":
                self.time += number * HOUR / 6
                self.boot, self.booted = self.boot + 1, self.time
                if self.time - self.wrong_since >= DAY:
                    self.ahead = timedelta()
                self.look()
            case "keep secrets":
                self.truth.secrets_held = True
                self.rule(holds={"case-8": StandingHold(name="case-8", where=SECRET)})
            case "let secrets go":
                self.truth.secrets_held = False
                self.rule(holds={})
            case "restore" if deleted:
                self.truth.deleted, self.truth.freed = None, self.time
                self.commit(ThreadRestored())
            case _ if open_ or deleted:
                self.happen(what, number)

    def happen(self, what: str, number: int) -> None:
        """Have something happen to a thread that was not erased."""
        match what:
            case "hold" if not self.truth.held:
                self.truth.held = True
                self.commit(HoldPlaced(hold="case-7"), used=False)
            case "release" if self.truth.held:
                self.truth.held, self.truth.freed = False, self.time
                self.commit(HoldReleased(hold="case-7"), used=False)
            case _ if self.view.status == "deleted":
                pass
            case "hide" | "tell":
                self.truth.secret = what == "hide"
                set_, unset = ({"secret": "yes"}, ()) if self.truth.secret else ({}, ("secret",))
                self.commit(MetadataUpdated(set=set_, unset=unset))
            case "expire":
                self.truth.expires = number
                self.commit(ExpiryUpdated(expires_after=ExpiresAfter("last_active_at", number)))
            case "delete":
                self.truth.deleted = self.time
                self.commit(ThreadDeleted(), used=False)


A_DAY: Final = RetentionPolicy(
    name="first", after_days=1, since="created", where=None, then="delete", erase_after_days=None
)


@example([A_DAY], [("wait", 60), ("release", 0), ("wait", 3)], A_DAY, ["hold"], 0)
@example([A_DAY], [("wait", 60), ("restore", 0), ("wait", 3)], A_DAY, [], 0)
@settings(max_examples=300, deadline=None)
@given(
    st.lists(POLICIES, max_size=2),
    st.lists(STEPS, max_size=15),
    POLICIES,
    SECRETS,
    st.integers(0, 3),
)
def test_no_thread_goes_early_and_none_stays_when_clocks_are_right(
    policies: list[RetentionPolicy],
    steps: list[tuple[str, int]],
    other: RetentionPolicy,
    secrets: list[str],
    imported: int,
) -> None:
    world = World(imported)
    world.rule(*policies)
    for secret in secrets:
        world.step(secret, 0)
    for number, step in enumerate(steps):
        world.step(*step)
        if number == 5:
            world.rule(other)
    world.ahead = timedelta()
    world.wait(STEADY + HOUR + 4 * EVERY)
    due = judge(MatchedThread(world.view), world.rules).due(world.time - HOUR - EVERY)
    assert world.truth.kept or due is None, "a thread that is due was not removed"
    assert (judge(MatchedThread(world.view), world.rules).holds != ()) <= world.truth.kept
