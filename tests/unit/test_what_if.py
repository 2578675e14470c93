"""History replayed through other code: which threads would be others, how, and from which commit on."""

from __future__ import annotations

from msgspec.structs import replace

from clew_events.commit import Commit, Recorded
from clew_events.events import Event, ItemDeleted, MetadataUpdated
from clew_events.ids import item_id
from clew_events.subjects import Address
from clew_projections.audit.what_if import Change, Decide, Fold, Refusal, WhatIf, WhatIfResult
from clew_projections.fold import ThreadState, evolve
from support.commits import CREATED, added, body_of, chain

ONE = Address("default", "thread_one")
TWO = Address("default", "thread_two")


def history(address: Address) -> list[Recorded]:
    return chain(
        (CREATED,),
        (MetadataUpdated(set={"plan": "free"}, unset=()),),
        (added(1), added(2)),
        (MetadataUpdated(set={"plan": "paid", "vip": "yes"}, unset=()),),
        (ItemDeleted(item=item_id(1, "made")),),
        thread=address.thread,
    )


def tried(fold: Fold = evolve, decide: Decide | None = None, *addresses: Address) -> WhatIfResult:
    trying = WhatIf(fold, decide)
    for address in addresses or (ONE, TWO):
        for recorded in history(address):
            trying.take(address, body_of(recorded.commit))
    return trying.result()


def test_the_same_fold_changes_nothing() -> None:
    assert tried() == WhatIfResult(threads=2, commits=10)
    assert tried(evolve, lambda *_: None).differ == ()


def test_another_fold_is_told_field_by_field_and_from_which_commit_on() -> None:
    def louder(state: ThreadState, event: Event) -> ThreadState:
        after = evolve(state, event)
        if "vip" in after.metadata:
            return replace(after, metadata={**after.metadata, "vip": "YES", "level": "1"})
        return after

    (one, two) = tried(louder).differ
    assert (one.tenant, one.thread, one.n, one.refused) == ("default", "thread_one", 4, None)
    assert one.fields == (Change("metadata.vip", "yes", "YES"), Change("metadata.level", None, "1"))
    assert two.thread == "thread_two"


def test_a_difference_that_passes_is_counted_and_no_more() -> None:
    def late(state: ThreadState, event: Event) -> ThreadState:
        if isinstance(event, MetadataUpdated) and event.set == {"plan": "free"}:
            return state
        return evolve(state, event)

    found = tried(late)
    assert (found.in_between, found.differ) == (2, ())


def test_a_decider_leaves_out_what_it_refuses_and_sees_what_would_have_been() -> None:
    seen: list[str | None] = []

    def strict(state: ThreadState, commit: Commit) -> str | None:
        seen.append(state.metadata.get("plan"))
        match commit.events[0]:
            case MetadataUpdated(set={"plan": "paid"}):
                return "nobody pays"
            case ItemDeleted():
                return ""
        return None

    (one,) = tried(evolve, strict, ONE).differ
    assert one.refused == Refusal(4, "nobody pays", 2)
    assert one.n == 4
    assert one.fields == (
        Change("metadata.plan", "paid", "free"),
        Change("metadata.vip", "yes", None),
        Change("messages", 1, 2),
    )
    assert seen == [None, None, "free", "free", "free"]
    assert tried(evolve, lambda *_: False).refused == 10


def test_code_that_changes_what_it_was_given_changes_nothing_else() -> None:
    def careless(state: ThreadState, event: Event) -> ThreadState:
        after = evolve(state, event)
        after.metadata["mine"] = "!"
        if isinstance(event, MetadataUpdated):
            event.set["theirs"] = "!"
        state.metadata.clear()
        return after

    (one, _) = tried(careless).differ
    was = {change.field: change.before for change in one.fields}
    assert (one.n, was) == (1, {"metadata.plan": "paid", "metadata.vip": "yes"})


def test_code_that_fails_is_told_with_the_thread_and_the_commit() -> None:
    def broken(state: ThreadState, event: Event) -> ThreadState:
        if isinstance(event, ItemDeleted):
            raise KeyError(event.item)
        return evolve(state, event)

    failed = tried(broken).failed
    assert [(each.thread, each.n, each.code) for each in failed] == [
        ("thread_one", 5, "failed"),
        ("thread_two", 5, "failed"),
    ]
    assert failed[0].what.startswith("the fold raised KeyError: 'msg_")
    for wrong in (lambda *_: None, lambda *_: {"status": "open"}):
        assert all("expected ThreadState" in each.what for each in tried(wrong).failed)
    (maybe,) = tried(evolve, lambda *_: 1, ONE).failed
    assert "refuses" in maybe.what


def test_a_record_that_cannot_be_replayed_is_told_apart_from_code_that_fails() -> None:
    trying = WhatIf()
    commits = history(ONE)
    trying.take(ONE, body_of(commits[0].commit))
    trying.take(ONE, body_of(commits[2].commit))
    trying.take(TWO, b"{}")
    found = {each.thread: (each.n, each.code) for each in trying.result().failed}
    assert found == {"thread_one": (2, "missing_commit"), "thread_two": (1, "unknown_format")}
