"""What a deployment holds, and whether everything keeps up."""

from __future__ import annotations

from msgspec import Struct, convert

from clew_events.subjects import INBOX_STREAM, REJECTED_STREAM, event_stream
from clew_projections.parking import Parked, parked
from clew_services.compose import Clew


class _State(Struct, frozen=True):
    messages: int
    bytes: int
    last_seq: int
    num_subjects: int = 0


class Shard(Struct, frozen=True, kw_only=True):
    """One stream of the log. ``behind`` counts the commits that are not projected yet."""

    stream: str
    threads: int
    commits: int
    bytes: int
    last_seq: int
    behind: int


class Status(Struct, frozen=True, kw_only=True):
    """A deployment at a glance. ``inbox`` counts commands waiting, ``rejected`` those refused and kept."""

    nats_server: str
    replicas: int
    threads: int
    commits: int
    behind: int
    inbox: int
    rejected: int
    parked: tuple[Parked, ...]
    shards: tuple[Shard, ...]


async def status(clew: Clew) -> Status:
    """Ask JetStream, now.

    Raises:
        Unavailable: it does not answer.
    """
    shards = tuple([await _shard(clew, number) for number in range(clew.deployment.shards)])
    server = clew.nc.connected_server_version
    return Status(
        nats_server=f"{server.major}.{server.minor}.{server.patch}",
        replicas=clew.deployment.replicas,
        threads=sum(shard.threads for shard in shards),
        commits=sum(shard.commits for shard in shards),
        behind=sum(shard.behind for shard in shards),
        inbox=(await _state(clew, INBOX_STREAM)).messages,
        rejected=(await _state(clew, REJECTED_STREAM)).messages,
        parked=tuple(await parked(clew.threads)),
        shards=shards,
    )


async def _shard(clew: Clew, number: int) -> Shard:
    stream = event_stream(number)
    state, projected = await _state(clew, stream), await clew.checkpoint(number).state()
    return Shard(
        stream=stream,
        threads=state.num_subjects,  # a thread is a subject
        commits=state.messages,
        bytes=state.bytes,
        last_seq=state.last_seq,
        behind=projected.num_pending + projected.num_ack_pending,
    )


async def _state(clew: Clew, stream: str) -> _State:
    return convert((await clew.js.api(f"STREAM.INFO.{stream}"))["state"], _State)
