"""Writing many keys of a bucket in one go, on a real server: each comes out as if it had been written alone."""

from __future__ import annotations

import asyncio

import pytest

from clew_events.errors import Corrupt, Unavailable
from clew_projections.kv.bucket import BYTES_AT_ONCE, WRITES_AT_ONCE, LostRace, Write
from clew_projections.nats.request_mux import Request, Timeout
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from support.proxy import between


async def test_each_key_gets_its_own_revision_and_they_are_in_the_order_of_writing(clew: Clew) -> None:
    writes = [Write(f"default.t{n}", b"%d" % n, 0) for n in range(3 * WRITES_AT_ONCE + 1)]
    revisions = await clew.live.current.threads.put_all(writes)
    assert revisions == sorted(revisions, key=lambda each: each if isinstance(each, int) else 0)
    found = await clew.live.current.threads.get_many(write.key for write in writes)
    assert [(found[key].body, found[key].revision) for key, _, _ in writes] == [
        (body, revision) for (_, body, _), revision in zip(writes, revisions, strict=True)
    ]


async def test_who_lost_a_race_is_told_and_the_others_are_written(clew: Clew) -> None:
    taken = await clew.live.current.threads.put("default.taken", b"first", 0)
    outcomes = await clew.live.current.threads.put_all(
        [
            Write("default.before", b"1", 0),
            Write("default.taken", b"second", 0),
            Write("default.gone", b"2", taken + 100),
            Write("default.after", b"3", 0),
        ]
    )
    assert [type(each) for each in outcomes] == [int, LostRace, LostRace, int]
    found = await clew.live.current.threads.get_many(f"default.{key}" for key in ("before", "taken", "gone", "after"))
    assert {key: value.body for key, value in found.items()} == {
        "default.before": b"1",
        "default.taken": b"first",
        "default.after": b"3",
    }


async def test_a_value_that_the_server_does_not_take_is_refused_alone(clew: Clew) -> None:
    too_large = bytes(clew.nc.max_payload + 1)
    before, corrupt, after = await clew.live.current.threads.put_all(
        [Write("default.a", b"1", 0), Write("default.b", too_large, 0), Write("default.c", b"2", 0)]
    )
    # The first went out before the second was refused, so it is met again: whoever lost a race looks, and finds it.
    assert isinstance(before, int | LostRace)
    assert isinstance(corrupt, Corrupt)
    assert corrupt.code == "view_too_large"
    assert isinstance(after, int)
    assert set(await clew.live.current.threads.get_many(["default.a", "default.b", "default.c"])) == {
        "default.a",
        "default.c",
    }


async def test_large_values_go_in_several_goes(clew: Clew) -> None:
    body = bytes(BYTES_AT_ONCE // 3)
    outcomes = await clew.live.current.threads.put_all([Write(f"default.large{n}", body, 0) for n in range(8)])
    assert all(isinstance(each, int) for each in outcomes)


async def test_nothing_to_write_is_no_question(clew: Clew) -> None:
    assert await clew.live.current.threads.put_all([]) == []


async def test_a_bucket_that_is_gone_says_what_to_do(clew: Clew) -> None:
    await clew.js.api(f"STREAM.DELETE.{clew.live.current.threads.stream}")
    with pytest.raises(Unavailable, match="clew init") as raised:
        await clew.live.current.threads.put_all([Write("default.a", b"1", 0), Write("default.b", b"2", 0)])
    assert raised.value.code == "no_bucket"


async def test_an_answer_that_is_lost_leaves_all_of_them_unknown(deployment: EmbeddedServer) -> None:
    async with between(deployment.url) as wire, connect(wire.url, name="cut") as clew:
        wire.lose("answer", b"$KV.clew_threads_v1.default.last")
        with pytest.raises(Unavailable) as raised:
            await clew.live.current.threads.put_all([Write("default.first", b"1", 0), Write("default.last", b"2", 0)])
        assert raised.value.outcome_unknown


async def test_one_silent_subject_among_many_is_a_timeout_that_names_it_and_leaves_nothing_behind(clew: Clew) -> None:
    heard = asyncio.Event()

    async def silent(_: object) -> None:
        heard.set()

    await clew.nc.subscribe("nobody.answers", cb=silent)
    taken = Request(clew.live.current.threads.subject("default.a"), b"1")
    with pytest.raises(Timeout, match=r"no reply on nobody\.answers"):
        await clew.js.publish_each([taken, Request("nobody.answers", b"")], 0.3)
    assert heard.is_set()
    assert (await clew.js.publish(taken.subject, b"2")).error is None
    assert clew.js._exchange._waiting == {}
