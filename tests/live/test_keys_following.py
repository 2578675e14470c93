"""The keys that were issued, as every process knows them: at once, after a reconnect, and never by hearsay."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta

import msgspec
import pytest

from clew_events.errors import NotFound, Unavailable
from clew_projections.kv import watcher
from clew_projections.kv.bucket import Value
from clew_services.api_keys import Keys
from clew_services.api_keys.follower import follow_keys
from clew_services.api_keys.key_bucket import KEYS, LIVE_KEYS, KeyBucket, issue_key, now
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import provision
from support.waiting import eventually

NEVER = 3600.0


@pytest.fixture(autouse=True)
def nothing_is_read_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "SOON", NEVER)


@contextlib.asynccontextmanager
async def followed(clew: Clew, keys: Keys | None = None, *, anew: float = NEVER, note: float = NEVER):
    keys = keys if keys is not None else Keys()
    async with follow_keys(clew.nc, clew.keys, keys, clew.connection.reconnected, anew=anew, note=note):
        yield keys


async def revision(clew: Clew, key_id: str) -> int:
    value = await clew.keys.value(key_id)
    assert value is not None
    return value.revision


async def test_the_keys_there_are_open_from_the_start_but_for_the_revoked(clew: Clew) -> None:
    good, issued = await clew.keys.create("acme", "good", ["read"])
    bad, other = await clew.keys.create("acme", "bad", ["read"])
    await clew.keys.revoke(other.id)
    async with followed(clew) as keys:
        assert keys.holder(good) == issued.holder
        assert keys.holder(bad) is None
        assert len(keys) == 1


async def test_a_new_key_opens_and_a_revoked_one_does_not_wherever_keys_are_followed(
    clew: Clew, deployment: EmbeddedServer
) -> None:
    async with connect(deployment.url, name="other") as other, followed(clew) as here, followed(other) as there:
        key, issued = await clew.keys.create("acme", "billing", ["read", "write"])
        await eventually(lambda: here.holder(key) == there.holder(key) == issued.holder)
        await other.keys.revoke(issued.id)
        await eventually(lambda: here.holder(key) is None and there.holder(key) is None)


async def test_a_key_that_was_revoked_behind_a_cut_wire_is_refused_once_the_wire_is_whole(
    clew: Clew, deployment: EmbeddedServer
) -> None:
    leaked, issued = await clew.keys.create("acme", "leaked", ["read"])
    async with wire(deployment.port) as cable, connect(cable.url, name="cut off") as far, followed(far) as keys:
        assert keys.holder(leaked)
        await cable.cut()
        await clew.keys.revoke(issued.id)
        fresh, _ = await clew.keys.create("acme", "fresh", ["read"])
        assert keys.holder(leaked)
        assert keys.holder(fresh) is None
        await cable.mend()
        await eventually(lambda: keys.holder(leaked) is None and keys.holder(fresh))


async def test_news_that_never_came_is_found_by_reading_again(clew: Clew, monkeypatch: pytest.MonkeyPatch) -> None:
    async def deaf(*_: object) -> None:
        pass

    monkeypatch.setattr(watcher.KvWatcher, "on_change", deaf)
    gone, issued = await clew.keys.create("acme", "gone", ["read"])
    async with followed(clew, anew=0.02) as keys:
        assert keys.holder(gone)
        key, _ = await clew.keys.create("acme", "billing", ["read"])
        await eventually(lambda: keys.holder(key))
        await clew.js.api(f"STREAM.PURGE.KV_{KEYS}", {"filter": f"$KV.{KEYS}.{issued.id}"})
        await eventually(lambda: keys.holder(gone) is None)
        assert keys.holder(key)


async def test_a_key_made_before_all_servers_knew_who_listens_is_found_by_a_second_look(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(*_: object) -> None:
        pass

    monkeypatch.setattr(watcher.KvWatcher, "on_change", deaf)
    monkeypatch.setattr(watcher, "SOON", 0.05)
    async with followed(clew) as keys:
        key, _ = await clew.keys.create("acme", "billing", ["read"])
        await eventually(lambda: keys.holder(key))


async def test_a_replica_that_is_behind_opens_no_revoked_key_again(clew: Clew) -> None:
    class Behind(KeyBucket):
        """Reads everything from a replica that has not heard of the last changes."""

        reads = 0

        async def values(self, _: Iterable[str]) -> dict[str, Value]:
            self.reads += 1
            return before

    key, issued = await clew.keys.create("acme", "leaked", ["read"])
    before = await clew.keys.values([issued.id])
    clew.keys = behind = Behind(clew.js)
    async with followed(clew, anew=0.02) as keys:
        assert keys.holder(key)
        await clew.keys.revoke(issued.id)
        await eventually(lambda: keys.holder(key) is None)
        seen = behind.reads
        await eventually(lambda: behind.reads > seen + 2)
        assert keys.holder(key) is None


async def test_a_deleted_key_and_one_whose_record_is_garbage_open_nothing(
    clew: Clew, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed(clew) as keys:
        for garbage in (b"", b"garbage", b"{}"):
            key, issued = await clew.keys.create("acme", "billing", ["read"])
            await eventually(lambda key=key: keys.holder(key))
            await clew.nc.publish(f"$KV.{KEYS}.{issued.id}", garbage)
            await eventually(lambda key=key: keys.holder(key) is None)
            if garbage:
                assert issued.id in caplog.text
    assert await clew.keys.all() == []


async def test_whoever_only_says_that_there_is_a_key_is_not_believed(clew: Clew) -> None:
    async with followed(clew) as keys:
        forged, record = issue_key("acme", "forged", ["admin"])
        for subject in (f"{LIVE_KEYS}.{record.id}", f"{LIVE_KEYS}.nonsense", f"{LIVE_KEYS}.$KV"):
            await clew.nc.publish(subject, msgspec.json.encode(record), headers={"Nats-Sequence": "1"})
        key, _ = await clew.keys.create("acme", "true", ["read"])
        await eventually(lambda: keys.holder(key))
        assert keys.holder(forged) is None


async def test_nobody_is_let_in_before_the_keys_could_be_read(clew: Clew, caplog: pytest.LogCaptureFixture) -> None:
    await clew.js.api(f"STREAM.DELETE.KV_{KEYS}")
    entered = asyncio.Event()

    async def enter() -> None:
        async with followed(clew):
            entered.set()

    entering = asyncio.create_task(enter())
    await eventually(lambda: "the API keys cannot be read" in caplog.text)
    assert not entered.is_set()
    await provision.init(clew.js, shards=2, max_msg_size=clew.nc.max_payload, accept_loss=[f"KV_{KEYS}"])
    await entering
    assert entered.is_set()


async def test_whoever_cannot_wait_until_the_keys_are_read_can_leave(clew: Clew) -> None:
    listeners = list(clew.connection.reconnected)
    await clew.js.api(f"STREAM.DELETE.KV_{KEYS}")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), followed(clew):
            raise AssertionError("let in")
    assert clew.connection.reconnected == listeners


async def test_a_configured_key_holds_whatever_becomes_of_an_issued_one(clew: Clew) -> None:
    key, issued = await clew.keys.create("acme", "both", ["read"])
    configured = Keys.parse(f"{key}:globex")
    expected = configured.holder(key)
    async with followed(clew, configured) as keys:
        marker, _ = await clew.keys.create("acme", "marker", ["read"])
        await clew.keys.revoke(issued.id)
        last, _ = await clew.keys.create("acme", "last", ["read"])
        await eventually(lambda: keys.holder(last))
        assert keys.holder(marker)
        assert keys.holder(key) == expected


async def test_that_a_key_is_used_is_recorded_by_and_by(clew: Clew) -> None:
    key, issued = await clew.keys.create("acme", "billing", ["read"])
    _, idle = await clew.keys.create("acme", "idle", ["read"])
    async with followed(clew, note=0.02) as keys:
        before = now()
        keys.holder(key)
        async with asyncio.timeout(60):
            while (used := {each.id: each.last_used_at for each in await clew.keys.all()})[issued.id] is None:
                await asyncio.sleep(0.01)
    assert before <= used[issued.id] <= now()
    assert used[idle.id] is None


async def test_the_last_uses_are_recorded_when_a_process_stops(clew: Clew) -> None:
    key, _ = await clew.keys.create("acme", "billing", ["read"])
    used = asyncio.Event()

    async def serve() -> None:
        async with followed(clew) as keys:
            keys.holder(key)
            used.set()
            await asyncio.sleep(NEVER)

    serving = asyncio.create_task(serve())
    await used.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    (issued,) = await clew.keys.all()
    assert issued.last_used_at is not None


async def test_a_use_is_written_once_a_minute_however_often_and_wherever_it_is_noted(clew: Clew) -> None:
    _, issued = await clew.keys.create("acme", "billing", ["read"])
    at = now()
    await asyncio.gather(*(clew.keys.note_use(issued.id, at + timedelta(seconds=n)) for n in range(10)))
    once = await revision(clew, issued.id)
    await clew.keys.note_use(issued.id, at + timedelta(seconds=59))
    assert await revision(clew, issued.id) == once == 2
    await clew.keys.note_use(issued.id, at + timedelta(seconds=90))
    assert await revision(clew, issued.id) == 3


async def test_a_revocation_is_lost_to_no_use_noted_at_the_same_time(clew: Clew) -> None:
    _, issued = await clew.keys.create("acme", "billing", ["read"])
    at = now()
    await asyncio.gather(
        *(clew.keys.note_use(issued.id, at + timedelta(minutes=2 * n)) for n in range(5)),
        clew.keys.revoke(issued.id),
    )
    (kept,) = await clew.keys.all()
    assert kept.revoked_at is not None
    await clew.keys.note_use(issued.id, at + timedelta(days=1))
    (kept,) = await clew.keys.all()
    assert kept.revoked_at is not None
    assert kept.last_used_at is not None


async def test_a_key_is_revoked_once_and_for_ever(clew: Clew, caplog: pytest.LogCaptureFixture) -> None:
    _, issued = await clew.keys.create("acme", "billing", ["read"])
    first = await clew.keys.revoke(issued.id)
    assert await clew.keys.revoke(issued.id) == first
    for unknown in ("0" * 16, "*", ">", "", "a b", issued.id.upper() + "Z"):
        with pytest.raises(NotFound):
            await clew.keys.revoke(unknown)
    assert caplog.text == ""


async def test_no_use_is_recorded_that_is_later_than_the_revocation(clew: Clew) -> None:
    _, issued = await clew.keys.create("acme", "billing", ["read"])
    revoked = await clew.keys.revoke(issued.id)
    await clew.keys.note_use(issued.id, now() + timedelta(days=1))
    (kept,) = await clew.keys.all()
    assert kept.last_used_at == kept.revoked_at == revoked.revoked_at


async def test_a_bucket_that_does_not_answer_is_not_taken_for_an_empty_one(clew: Clew) -> None:
    await clew.js.api(f"STREAM.DELETE.KV_{KEYS}")
    with pytest.raises(Unavailable):
        await clew.keys.all()
    with pytest.raises(Unavailable):
        await clew.keys.create("acme", "billing", ["read"])


async def test_the_key_itself_is_nowhere_on_the_server(clew: Clew, deployment: EmbeddedServer) -> None:
    key, issued = await clew.keys.create("acme", "billing", ["read"])
    subscription = await clew.nc.subscribe(f"{LIVE_KEYS}.>")
    await clew.keys.revoke(issued.id)
    news = await subscription.next_msg(timeout=60)
    assert news.subject == f"{LIVE_KEYS}.{issued.id}"
    assert news.data == b""
    value = await clew.keys.value(issued.id)
    assert value is not None
    assert issued.sha256.encode() in value.body
    stored = [file.read_bytes() for file in deployment.data.rglob("*") if file.is_file()]
    assert any(issued.sha256.encode() in content for content in stored)
    assert not any(key.encode() in content or key[5:].encode() in content for content in stored)


class Cable:
    """A wire to a server that can be cut and mended."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def mend(self) -> None:
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", port)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for end in tuple(self._ends):
            end.transport.abort()
        await self._server.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends |= {writer, forth}
        try:
            await asyncio.gather(self._pass_on(reader, forth), self._pass_on(back, writer))
        finally:
            self._ends -= {writer, forth}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def wire(port: int) -> AsyncIterator[Cable]:
    cable = Cable(port)
    await cable.mend()
    try:
        yield cable
    finally:
        await cable.cut()
