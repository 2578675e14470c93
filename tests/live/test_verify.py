"""Nobody alters a history unnoticed: every way of doing it is named, with the place."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from clew_events.subjects import Address, event_stream, shard_of
from clew_projections.findings import Finding
from clew_services.compose import Clew, connect
from support.commits import CREATED, body_of, chain, commit, store
from support.deployments import deployed
from support.forging import Bodies, bodies, delete, five_commits, flip, publish, rechained, remove, rewrite, stored
from support.parts import verifier_of

VICTIM = Address("default", "thread_victim")
OTHER = Address("default", "thread_other")


async def findings(clew: Clew, tenant: str | None = None) -> dict[str, Finding]:
    """What is found, by thread; under no name, what concerns a shard."""
    found = (await verifier_of(clew).all(tenant)).findings
    assert len({(each.thread, each.shard) for each in found}) == len(found)
    return {each.thread: each for each in found}


def altered(victim: Bodies, other: Bodies) -> Bodies:
    return [victim[0], victim[1], victim[2].replace(b'"actor":"billing"', b'"actor":"auditor"'), *victim[3:]]


def altered_where_it_is_chained(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:2], victim[2].replace(b'"prev":"', b'"prev":"0'), *victim[3:]]


def the_last_but_one_altered(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], victim[3].replace(b'"actor":"billing"', b'"actor":"auditor"'), victim[4]]


def re_numbered(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], victim[3].replace(b'"n":4', b'"n":7'), victim[4]]


def missing(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:2], *victim[3:]]


def begins_later(victim: Bodies, other: Bodies) -> Bodies:
    return victim[1:]


def swapped(victim: Bodies, other: Bodies) -> Bodies:
    return [victim[0], victim[2], victim[1], *victim[3:]]


def duplicated(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], victim[2], *victim[3:]]


def inserted(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], victim[3].replace(b'"actor":"billing"', b'"actor":"auditor"'), *victim[3:]]


def a_stranger_inserted(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], victim[3].replace(b'"prev":"', b'"prev":"0'), *victim[3:]]


def transplanted(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], other[3], *victim[4:]]


def another_thread(victim: Bodies, other: Bodies) -> Bodies:
    return other


def garbage(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], b"\x00 nothing of ours", *victim[3:]]


def an_unknown_event(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], victim[3].replace(b'"MetadataUpdated"', b'"ThreadFrozen"'), victim[4]]


def a_content_altered(victim: Bodies, other: Bodies) -> Bodies:
    record, command, content, end = victim[3].split(b"\n")
    return [*victim[:3], b"\n".join((record, command, content.replace(b'"set":{', b'"set": {'), end)), victim[4]]


def a_content_of_another(victim: Bodies, other: Bodies) -> Bodies:
    record, command, _, end = victim[3].split(b"\n")
    return [*victim[:3], b"\n".join((record, command, victim[2].split(b"\n")[2], end)), victim[4]]


def a_content_taken_out(victim: Bodies, other: Bodies) -> Bodies:
    record, command, _, end = victim[3].split(b"\n")
    return [*victim[:3], b"\n".join((record, command, b"", end)), victim[4]]


def a_key_twice(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], victim[3].replace(b'{"v":2', b'{"v":2,"v":2'), victim[4]]


def from_the_future(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], victim[3].replace(b'{"v":2', b'{"v":3'), victim[4]]


# The forgery, what it is called, and the place in the forged history that is named.
FORGERIES = {
    altered: ("altered", 2),
    altered_where_it_is_chained: ("altered", 2),
    the_last_but_one_altered: ("altered", 4),
    re_numbered: ("altered", 3),
    missing: ("missing", 2),
    begins_later: ("missing", 0),
    swapped: ("reordered", 1),
    duplicated: ("duplicated", 3),
    inserted: ("inserted", 4),
    a_stranger_inserted: ("inserted", 3),
    transplanted: ("moved", 3),
    another_thread: ("moved", 0),
    garbage: ("unreadable_commit", 3),
    an_unknown_event: ("unknown_event", 3),
    from_the_future: ("unknown_format", 3),
    a_content_altered: ("broken_seal", 3),
    a_content_of_another: ("broken_seal", 3),
    a_content_taken_out: ("missing_content", 3),
    a_key_twice: ("unreadable_commit", 3),
}


@pytest.mark.parametrize(
    ("forge", "code", "place"),
    [(forge, *named) for forge, named in FORGERIES.items()],
    ids=[each.__name__ for each in FORGERIES],
)
async def test_a_forged_history_is_named_with_what_was_done_and_where(
    clew: Clew, forge: Callable[[Bodies, Bodies], Bodies], code: str, place: int
) -> None:
    await five_commits(clew, VICTIM)
    await five_commits(clew, OTHER)
    whole = await verifier_of(clew).all()
    assert (whole.threads, whole.commits, whole.findings) == (2, 10, ())

    await rewrite(clew, VICTIM, forge(await bodies(clew, VICTIM), await bodies(clew, OTHER)))

    found = (await findings(clew))[VICTIM.thread]
    assert (found.tenant, found.code) == (VICTIM.tenant, code), found.what
    assert found.seq == (await stored(clew, VICTIM))[place].seq, found.what
    assert found.shard == shard_of(VICTIM.thread, 2)
    assert OTHER.thread not in await findings(clew)
    assert [each.code for each in (await verifier_of(clew).thread(VICTIM)).findings] == [code]
    assert (await verifier_of(clew).thread(OTHER)).findings == ()


async def test_a_tenant_is_verified_without_the_others(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    await five_commits(clew, Address("other", "thread_elsewhere"))
    await publish(clew, Address("other", "thread_elsewhere"), b"nothing of ours")
    mine = await verifier_of(clew).all("default")
    assert (mine.threads, mine.commits, mine.findings) == (1, 5, ())
    theirs = await verifier_of(clew).all("other")
    assert [each.thread for each in theirs.findings] == ["thread_elsewhere"]


async def test_commits_removed_from_a_stream_are_missed_even_at_the_end_of_a_thread(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    await five_commits(clew, OTHER)
    history = await stored(clew, VICTIM)
    await delete(clew, VICTIM, *(each.seq for each in history[3:]))
    found = await findings(clew)
    assert found[""].code == "removed"
    assert found[""].seq == history[3].seq
    assert found[""].what.startswith("2 of the messages")


async def test_a_thread_removed_whole_leaves_a_hole_in_its_shard(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    await remove(clew, VICTIM)
    found = await findings(clew)
    assert set(found) == {""}
    assert found[""].what.startswith("5 of the messages")


async def test_a_commit_in_a_shard_that_is_not_its_threads_is_named(clew: Clew) -> None:
    wrong = 1 - shard_of(VICTIM.thread, 2)
    subject = f"clew.evt.{wrong:02d}.{VICTIM.tenant}.{VICTIM.thread}"
    await clew.js.publish(subject, body_of(commit(1, CREATED, thread=VICTIM.thread)))
    found = (await findings(clew))[VICTIM.thread]
    assert (found.code, found.shard) == ("moved", wrong)


async def test_a_time_that_goes_backwards_is_named(clew: Clew) -> None:
    first, _ = chain([CREATED], [], thread=VICTIM.thread)
    await store(clew.nc, VICTIM, body_of(first.commit))
    earlier = first.commit.at - timedelta(seconds=1)
    await store(clew.nc, VICTIM, body_of(commit(2, prev=first.hash, thread=VICTIM.thread, at=earlier)))
    found = (await findings(clew))[VICTIM.thread]
    assert (found.code, found.seq) == ("time_backwards", 2)


async def test_a_whole_chain_computed_anew_shows_by_the_hole_it_leaves(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    await rewrite(clew, VICTIM, rechained(await bodies(clew, VICTIM), b"billing", b"nobody!"))
    assert set(await findings(clew)) == {""}


async def test_an_empty_log_is_whole_and_so_is_a_thread_that_is_not_there(clew: Clew) -> None:
    for found in (await verifier_of(clew).all(), await verifier_of(clew).thread(VICTIM)):
        assert (found.threads, found.commits, found.findings) == (0, 0, ())


async def test_many_broken_threads_are_all_named(clew: Clew) -> None:
    for number in range(120):
        await store(clew.nc, Address("default", f"thread_{number}"), b"nothing of ours")
    found = await findings(clew)
    assert len(found) == 120
    assert {each.code for each in found.values()} == {"unreadable_commit"}


async def test_progress_tells_of_every_commit_once(clew: Clew) -> None:
    for number in range(700):
        await store(clew.nc, OTHER, b"x" if number else b"y")
    told: list[int] = []
    verified = await verifier_of(clew).all(progress=told.append)
    assert sum(told) == verified.commits == 700
    assert len(told) > 1


async def test_one_byte_flipped_on_the_disk_does_not_go_unnoticed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with deployed(data, sync="always") as server:
        async with connect(server.url, name="test") as clew:
            await five_commits(clew, VICTIM)
            history = await bodies(clew, VICTIM)
            stream = event_stream(shard_of(VICTIM.thread, 2))
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        flip(data, history[2], history[2].index(b'"actor":"billing"') + 10)
        await server.start()
        async with connect(server.url, name="test") as clew:
            # The server checks its blocks as it starts, and drops the commit with all that stood behind it.
            verified = await verifier_of(clew).all()
            state = (await clew.js.api(f"STREAM.INFO.{stream}"))["state"]
            assert isinstance(state, dict)
            assert verified.commits == 2
            assert state["last_seq"] == 2, "a history without an end: what only a checkpoint can show"
