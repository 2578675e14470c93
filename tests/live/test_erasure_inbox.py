"""What the inbox and the record of rejected commands leave in the server's files, and how that goes."""

from __future__ import annotations

from clew_events import ids
from clew_events.commands import CreateThread
from clew_events.subjects import INBOX_STREAM, REJECTED_STREAM, Address
from clew_services.compose import Clew
from clew_services.compose.roles import serve_inbox
from clew_services.embedded.server import EmbeddedServer
from clew_services.inbox import rejections
from clew_services.inbox.remains import APART, last_sequence, remains_of
from support.markers import find_marker, new_marker
from support.nats_services import served
from support.waiting import eventually


async def leave(clew: Clew, command: str, body: str, *, tenant: str = "default") -> int:
    ack = await clew.js.publish(f"clew.inbox.{tenant}.{command}", body.encode())
    assert ack.error is None
    return ack.seq


async def settle(clew: Clew) -> None:
    async def settled() -> bool:
        return await remains_of(clew.js, await last_sequence(clew.js)) != "unsettled"

    await eventually(settled)


def in_stream(deployment: EmbeddedServer, stream: str, marker: str) -> list[str]:
    (folder,) = deployment.data.glob(f"**/streams/{stream}")
    return find_marker(folder, marker)


async def test_a_settled_command_is_gone_from_the_inbox_once_no_other_lies_in_its_block(
    clew: Clew, deployment: EmbeddedServer
) -> None:
    marker = new_marker()
    assert await remains_of(clew.js, 0) == "gone"
    body = f'{{"thread_id": "thread_a", "metadata": {{"a": "{marker}"}}}}'
    seq = await leave(clew, "create_thread", body)
    consumer = {"durable_name": "test", "ack_policy": "explicit"}
    await clew.js.api(f"CONSUMER.CREATE.{INBOX_STREAM}.test", {"stream_name": INBOX_STREAM, "config": consumer})
    pull = await clew.nc.jetstream().pull_subscribe_bind("test", INBOX_STREAM)
    (first,) = await pull.fetch(1)
    later = await leave(clew, "create_thread", '{"thread_id": "thread_b"}')
    assert await remains_of(clew.js, seq) == "unsettled"

    # Settled, and still in the file: an answer that it is gone would be wrong.
    await first.ack_sync()
    assert await remains_of(clew.js, seq) == "settled"
    assert in_stream(deployment, INBOX_STREAM, marker)

    (second,) = await pull.fetch(1)
    await second.ack_sync()
    assert await remains_of(clew.js, later) == "gone"
    assert in_stream(deployment, INBOX_STREAM, marker) == []


async def test_commands_so_far_apart_are_not_in_the_same_block(clew: Clew, deployment: EmbeddedServer) -> None:
    first, last = new_marker(), new_marker()
    subject = "clew.inbox.a.b"
    assert (await clew.js.publish(subject, first.encode())).seq == 1
    # The shortest messages there can be.
    while (await last_sequence(clew.js)) <= APART:
        for _ in range(1000):
            await clew.nc.publish(subject, b"")
        await clew.nc.flush()
    await clew.js.publish(subject, last.encode())
    (there,), (here,) = in_stream(deployment, INBOX_STREAM, first), in_stream(deployment, INBOX_STREAM, last)
    assert there != here

    await clew.js.api(f"STREAM.PURGE.{INBOX_STREAM}", {"seq": APART + 1})
    assert await remains_of(clew.js, 1) == "settled"
    await clew.js.api(f"STREAM.PURGE.{INBOX_STREAM}", {"seq": APART + 2})
    assert await remains_of(clew.js, 1) == "gone"


async def test_records_about_a_thread_are_erased_with_their_bytes_and_others_stay(
    clew: Clew, deployment: EmbeddedServer
) -> None:
    marker, derived = new_marker(), ids.derive_id("thread_", "default", "shop-1")
    message = "msg_" + "a" * 24
    await clew.handler.handle("default", CreateThread(thread_id="thread_taken", id="one"))
    async with served(clew, (serve_inbox,)):
        await leave(clew, "update_thread", f'{{"thread_id":"thread_a","metadata":{{"a":"{marker}"}}}}')
        named = f'"thread_id":"thread_a","message_id":"{message}"'
        await leave(clew, "update_message", f'{{{named},"metadata":{{"a":"{marker}"}}}}')
        await leave(clew, "update_thread", f'{{"thread_id":"thread_a","metadata":"{marker}"')
        await leave(clew, "create_thread", f'{{"id":"shop-1","messages":[{{"role":"none","content":"{marker}"}}]}}')
        await leave(clew, "create_thread", f'{{"thread_id":"thread_taken","metadata":{{"a":"{marker}2"}}}}')
        await leave(clew, "update_thread", '{"thread_id":"thread_a","metadata":{}}', tenant="other")
        await leave(clew, "update_thread", f'{{"thread_id":"thread_b","metadata":{{"a":"{marker}"}}}}')
        await settle(clew)
    numbers = {each.rejection.inbox_seq: each.number async for each in rejections.list_rejected(clew.js)}
    assert len(numbers) == 7

    async def erased(thread: str, messages: set[str] | None = None) -> list[int]:
        """The places in the inbox of the commands whose records went."""
        about = rejections.Concern(Address("default", thread), tuple(messages) if messages is not None else None)
        (gone,) = await rejections.erase(clew.js, [about])
        return sorted(seq for seq, number in numbers.items() if number in gone)

    assert await erased("thread_a", {message}) == [2]
    assert await erased("thread_a") == [1, 3]
    assert await erased(derived) == [4]
    assert await erased("thread_taken") == [5]
    assert len(in_stream(deployment, REJECTED_STREAM, marker)) == 1
    assert await erased("thread_b") == [7]
    assert await erased("thread_b") == []
    (left,) = [each async for each in rejections.list_rejected(clew.js)]
    assert left.rejection.tenant == "other"
    assert in_stream(deployment, REJECTED_STREAM, marker) == []


async def test_records_about_an_item_are_those_that_name_it_or_would_have_added_it(clew: Clew) -> None:
    async with served(clew, (serve_inbox,)):
        for command, body in (
            ("replace_item", '{"thread_id":"thread_a","item_id":"own-1","item":{"type":"note"}}'),
            ("add_items", '{"thread_id":"thread_a","items":[{"type":"note"},{"type":"note","id":"own-1","n":1e400}]}'),
            ("add_items", '{"thread_id":"thread_a","items":[{"type":"note","id":"own-2"}]}'),
        ):
            await leave(clew, command, body)
        await settle(clew)
    (gone,) = await rejections.erase(clew.js, [rejections.Concern(Address("default", "thread_a"), ("own-1",))])
    left = [each.rejection.inbox_seq async for each in rejections.list_rejected(clew.js)]
    assert (len(gone), left) == (2, [3])
