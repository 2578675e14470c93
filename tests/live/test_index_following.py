"""The index follows the log, whatever happens to the server, the connection or the process that feeds it."""

from __future__ import annotations

import os
from pathlib import Path
from signal import SIGKILL

import pytest

from clew_events.errors import Unavailable
from clew_projections.indexer.log_follower import OrderedShard
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import StoredMessage
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from support.indexes import caught_up, created, fed, names, threads
from support.waiting import eventually


async def test_what_was_there_before_and_what_comes_is_in_the_index(clew: Clew, tmp_path: Path) -> None:
    await created(clew, *names(30))
    async with fed(clew, tmp_path / "index"):
        assert set(await caught_up(clew, tmp_path / "index")) == set(names(30))
        await created(clew, *names(20, 30))
        assert set(await caught_up(clew, tmp_path / "index")) == set(names(50))


async def test_an_empty_log_makes_an_index_that_can_be_asked(clew: Clew, tmp_path: Path) -> None:
    async with fed(clew, tmp_path / "index"):
        assert await caught_up(clew, tmp_path / "index") == {}


async def test_it_goes_on_where_it_was(clew: Clew, tmp_path: Path) -> None:
    await created(clew, *names(10))
    async with fed(clew, tmp_path / "index"):
        await caught_up(clew, tmp_path / "index")
    await created(clew, *names(5, 10))
    async with fed(clew, tmp_path / "index") as feeder:
        assert set(await caught_up(clew, tmp_path / "index")) == set(names(15))
    assert feeder.taken == 5


async def test_a_server_that_is_killed_and_comes_back_is_followed_on(
    clew: Clew, deployment: EmbeddedServer, tmp_path: Path
) -> None:
    async with fed(clew, tmp_path / "index") as feeder:
        await created(clew, *names(10))
        await caught_up(clew, tmp_path / "index")
        os.kill(deployment.pid, SIGKILL)
        await deployment.wait()
        await deployment.start()
        await created(clew, *names(10, 10))
        assert set(await caught_up(clew, tmp_path / "index")) == set(names(20))
    assert feeder.taken == 20
    assert clew.index_in(tmp_path / "index").generations() == [1]


async def test_only_one_of_many_feeds_and_another_takes_over(clew: Clew, tmp_path: Path) -> None:
    root = tmp_path / "index"
    async with fed(clew, root) as first:
        await caught_up(clew, root)
        async with fed(clew, root) as second:
            await created(clew, *names(10))
            await caught_up(clew, root)
            assert (first.is_active, second.is_active) == (True, False)
            assert second.taken == 0
    async with fed(clew, root) as third:
        await created(clew, *names(10, 10))
        await caught_up(clew, root)
    assert third.taken == 10
    assert set(threads(clew.index_in(root))) == set(names(20))


async def test_who_steps_in_gives_way_to_one_whose_business_it_is(clew: Clew, tmp_path: Path) -> None:
    root = tmp_path / "index"
    async with fed(clew, root, dedicated=False) as stand_in:
        await eventually(lambda: stand_in.is_active)
        async with fed(clew, root) as dedicated:
            await eventually(lambda: dedicated.is_active)
            assert not stand_in.is_active
        await eventually(lambda: stand_in.is_active)


async def test_what_is_gone_from_the_log_is_passed_over(clew: Clew, tmp_path: Path) -> None:
    await created(clew, *names(30))
    for shard, sequences in {"00": (1, 5, 6), "01": (2, 3, 9)}.items():
        for seq in sequences:
            await clew.js.api(f"STREAM.MSG.DELETE.CLEW_EVT_{shard}", {"seq": seq})
    async with fed(clew, tmp_path / "index") as feeder:
        assert len(await caught_up(clew, tmp_path / "index")) == 24
    assert feeder.taken == 24


async def test_a_page_of_a_replica_that_lacks_something_is_not_taken(clew: Clew) -> None:
    await created(clew, *names(20))

    class Lagging(JetStream):
        """Lacks a message, as a replica that is behind would."""

        async def after(
            self, stream: str, subject: str, seq: int, limit: int = 256
        ) -> tuple[list[StoredMessage], bool]:
            page, more = await clew.js.after(stream, subject, seq, limit)
            return [each for each in page if each.seq != 3], more

    lagging = Lagging(clew.js._exchange)
    reader = OrderedShard(lagging, 0, 2)
    reader.begin(0)
    with pytest.raises(Unavailable, match="lacks what its leader has"):
        await reader.next(100)
