"""What somebody with all rights on the server can do to a thread's history, and histories to do it to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clew_events.commands import CreateThread, UpdateThread
from clew_events.commit import record_hash
from clew_events.requests import MetadataPatch
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_projections.nats.stream_messages import StoredMessage
from clew_services.compose import Clew
from support.commits import reworded

Bodies = list[bytes]


async def five_commits(clew: Clew, address: Address) -> None:
    """A history that says things which an attacker might want otherwise."""
    await clew.handler.handle(
        address.tenant, CreateThread(thread_id=address.thread, metadata={"plan": "free"}), actor="shop"
    )
    for step in range(4):
        patch = MetadataPatch(set={"step": str(step)})
        await clew.handler.handle(address.tenant, UpdateThread(thread_id=address.thread, patch=patch), actor="billing")


async def stored(clew: Clew, address: Address) -> list[StoredMessage]:
    """A thread's history as the stream holds it."""
    shard = shard_of(address.thread, clew.deployment.shards)
    found, _ = await clew.js.after(event_stream(shard), event_subject(shard, address), 1)
    return found


async def bodies(clew: Clew, address: Address) -> Bodies:
    """The bodies of a thread's history."""
    return [each.body for each in await stored(clew, address)]


async def remove(clew: Clew, address: Address) -> None:
    """Take a thread's whole history away, commit by commit, since the log refuses to be purged."""
    await delete(clew, address, *(each.seq for each in await stored(clew, address)))


async def delete(clew: Clew, address: Address, *sequences: int) -> None:
    """Take single commits away."""
    stream = event_stream(shard_of(address.thread, clew.deployment.shards))
    for seq in sequences:
        await clew.js.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seq})


async def publish(clew: Clew, address: Address, *forged: bytes) -> None:
    """Put bodies at the end of a thread's history, past every rule."""
    subject = event_subject(shard_of(address.thread, clew.deployment.shards), address)
    for body in forged:
        ack = await clew.js.publish(subject, body)
        assert ack.error is None


async def rewrite(clew: Clew, address: Address, forged: Bodies) -> None:
    """Put another history in the place of a thread's."""
    await remove(clew, address)
    await publish(clew, address, *forged)


def rechained(history: Bodies, old: bytes, new: bytes) -> Bodies:
    """A history with a word replaced and every hash after it computed anew, so that it is whole in itself."""
    forged: Bodies = []
    for body in history:
        prev = record_hash(forged[-1]) if forged else None
        forged.append(reworded(body, old, new, prev=prev))
    return forged


def flip(data: Path, written: bytes, offset: int) -> None:
    """Flip one bit of a body, where a server that does not run keeps it on its disk.

    Raises:
        LookupError: it keeps it nowhere.
    """
    for block in data.rglob("*.blk"):
        content = bytearray(block.read_bytes())
        at = content.find(written)
        if at >= 0:
            content[at + offset] ^= 1
            block.write_bytes(content)
            return
    raise LookupError("the commit is in no block of the store")


async def put_back(clew: Clew, stream: str, messages: Sequence[tuple[str, bytes]]) -> None:
    """Delete a stream and make it anew with the same configuration and consumers, and with other messages."""
    config = (await clew.js.api(f"STREAM.INFO.{stream}"))["config"]
    listed = (await clew.js.api(f"CONSUMER.LIST.{stream}"))["consumers"]
    assert isinstance(listed, list)
    await clew.js.api(f"STREAM.DELETE.{stream}")
    await clew.js.api(f"STREAM.CREATE.{stream}", config)
    for consumer in listed:
        request = {"stream_name": stream, "config": consumer["config"]}
        await clew.js.api(f"CONSUMER.CREATE.{stream}.{consumer['name']}", request)
    for subject, body in messages:
        assert (await clew.js.publish(subject, body)).error is None


async def held(clew: Clew, stream: str) -> list[tuple[str, bytes]]:
    """All that a stream holds: subjects and bodies."""
    found, more = await clew.js.after(stream, ">", 1)
    assert not more
    return [(each.subject, each.body) for each in found]
