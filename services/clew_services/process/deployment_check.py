"""``clew doctor``: looks at all of a deployment that can be reached, and changes nothing.

Each look is by itself: what one of them cannot see hides nothing of the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import nats.errors

from clew_events.errors import ClewError, Conflict, Corrupt, Invalid
from clew_events.subjects import event_stream
from clew_projections.generations.record import Alias
from clew_projections.history.log_reads import LogReads
from clew_projections.indexer.freshness import IndexFreshness
from clew_projections.nats.jetstream import find_consumer, find_stream
from clew_projections.nats.request_mux import NotPermitted
from clew_services.checkpoints.ledger import CheckpointCoverage
from clew_services.compose import Clew
from clew_services.embedded.binary import OLDEST
from clew_services.erasure.copy_records import known_copies
from clew_services.eventstore.lost_streams import known_shards, refuse_half, refuse_lost
from clew_services.eventstore.provision import LARGEST_MESSAGE, NO_LIMIT, Deployment, identity
from clew_services.eventstore.stream_config import check_same, existing_stream
from clew_services.eventstore.topology import Config, buckets, projector_consumers, streams
from clew_services.host.certificate_dates import Validity
from clew_services.inbox.standstill import Standstill
from clew_services.nats_connection import Connection, connection
from clew_services.open_deployment import OpenDeployment
from clew_services.process.api_check import ask_api
from clew_services.process.machine_check import examine_machine, judge_dates
from clew_services.process.problems import Code, Diagnosis, Problem, diagnose
from clew_services.progress import Account, Progress, ask_jetstream
from clew_services.retention.look_book import LookBook
from clew_services.settings import Settings
from clew_services.status.derived_state import DerivedState, Integrity, Proof, read_derived_state

PATIENCE: Final = 5.0
"""Seconds in which NATS must answer to each look."""
UNASKED: Final = 10.0
"""Seconds for which no commit waits before a projector asks for more, unless there is none."""
MINUTE: Final = 60.0
INBOX_LATE: Final = 120.0
HOUR: Final = 3600.0
TWO_DAYS: Final = 172_800.0
WEEK: Final = 604_800.0
USED: Final = 0.85

_PERMITTED: Final = "Connect as the operator, or name the folder of 'clew up' with --data"

T = TypeVar("T")


class Look:
    """What a look at a deployment has found so far."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.unknown: list[str] = []

    def note(self, code: Code, what: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(code, what))

    async def attempt(self, what: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        """The answer to a question, or ``None`` if there is none, which is noted."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await ask()
        except TimeoutError:
            self.unknown.append(f"{what}: no answer within {PATIENCE:.0f} s")
        except NotPermitted as fault:
            self.unknown.append(f"{what}: {fault.message}. {_PERMITTED}")
        except (ClewError, OSError, nats.errors.Error) as fault:
            self.unknown.append(f"{what}: {str(fault) or type(fault).__name__}")
        return None


async def examine(
    settings: Settings, url: str, backup_age: timedelta, inbox_prefix: str, apis: Sequence[str] = ()
) -> Diagnosis:
    """Look at this machine's files, at the APIs with these URLs, and at the deployment at ``url``.

    ``backup_age`` is how old a backup may be.
    """
    look = Look()
    look.problems.extend(examine_machine(settings, datetime.now(UTC)))
    for api in apis:
        look.problems.extend(await asyncio.to_thread(ask_api, api, PATIENCE))
    try:
        async with connection(
            url, name="clew-doctor", patience=PATIENCE, inbox_prefix=inbox_prefix, security=settings.nats_security
        ) as made:
            await _examine_deployment(look, made, settings, backup_age)
    except Invalid as fault:
        look.note("unusable_file", fault.message)
        look.unknown.append("NATS and the deployment: there is no connection")
    except ClewError as fault:
        look.note("no_nats", fault.message)
        look.unknown.append("the deployment: there is no connection to NATS")
    return diagnose(look.problems, look.unknown)


async def _examine_deployment(look: Look, made: Connection, settings: Settings, backup_age: timedelta) -> None:
    version = made.nc.connected_server_version
    if (version.major, version.minor, version.patch) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        look.note("old_nats_server", f"the NATS server is {version}, and should be {oldest} or newer")
    if (until := made.nc.certificate_until) is not None:
        look.problems.extend(judge_dates("the certificate of the NATS server", Validity(until), datetime.now(UTC)))
    layout = await look.attempt("the deployment", lambda: _read_layout(look, made))
    if layout is None:
        return
    if made.nc.max_payload < layout.max_msg_size < LARGEST_MESSAGE:
        look.note(
            "small_payload",
            f"max_payload is {made.nc.max_payload:,} bytes, and the log's messages may have {layout.max_msg_size:,}",
        )
    account = await ask_jetstream(made.js, "INFO", "JetStream", Account, seconds=PATIENCE)
    if isinstance(account, str):
        look.unknown.append(f"the limits of JetStream: {account}")
    elif account.storage > USED * (limit := account.limit(settings.storage_limit, layout.replicas)) > 0:
        look.note("storage_nearly_full", f"JetStream holds {account.storage:,} bytes of {limit:,}")
    await look.attempt("the streams", lambda: _examine_streams(look, made, layout))
    async with _open(made, layout) as opened:
        record = await look.attempt("the generations of buckets", lambda: Alias(opened.js).read_record())
        if record is None:
            return
        clew = Clew(opened, record)
        try:
            await _examine_parts(look, clew, settings, backup_age)
        finally:
            await clew.close()


async def _read_layout(look: Look, made: Connection) -> Deployment | None:
    try:
        first = await existing_stream(made.js, event_stream(0))
        await refuse_half(made.js, first)
        shards = await known_shards(made.js)
    except Conflict as fault:
        look.note("restore_unfinished", fault.message)
        return None
    except Corrupt as fault:
        look.note("changed_stream", fault.message)
        return None
    if shards is None:
        try:
            await refuse_lost(made.js, 1)
        except Corrupt as fault:
            look.note("lost_stream", fault.message)
        else:
            look.note("not_initialised", "there is no stream of Clew's on this NATS server")
        return None
    known = first if first is not None else {}
    size = int(str(known.get("max_msg_size", NO_LIMIT)))
    return Deployment(
        shards=shards,
        replicas=int(str(known.get("num_replicas", 1))),
        max_msg_size=size if size != NO_LIMIT else LARGEST_MESSAGE,
        identity=await identity(made.js) if first is not None else "",
    )


async def _examine_streams(look: Look, made: Connection, layout: Deployment) -> None:
    most = layout.max_msg_size if layout.max_msg_size != LARGEST_MESSAGE else NO_LIMIT
    await _compare_streams(look, made, streams(layout.shards, layout.replicas, most), layout.replicas)
    if any(problem.code == "missing_stream" for problem in look.problems):
        try:
            await refuse_lost(made.js, layout.shards)
        except Corrupt as fault:
            look.problems[:] = [each for each in look.problems if each.code != "missing_stream"]
            look.note("lost_stream", fault.message)
    live = (await Alias(made.js).read_record()).record.live
    await _compare_streams(look, made, buckets(live, layout.replicas), layout.replicas)
    for stream, config in projector_consumers(live, layout.shards):
        name = f"{stream}/{config['name']}"
        found = await find_consumer(made.js, stream, str(config["name"]))
        if found is None:
            look.note("missing_consumer", f"the consumer {name} is missing")
        else:
            _compare(look, name, config, found.config)


async def _compare_streams(look: Look, made: Connection, wanted: Iterable[Config], replicas: int) -> None:
    for config in wanted:
        name = str(config["name"])
        found = await find_stream(made.js, name)
        if found is None:
            look.note("missing_stream", f"the stream {name} is missing")
            continue
        _compare(look, name, config, found.config)
        current = 1 + sum(each.current for each in found.cluster.replicas)
        if replicas > 1 and current < replicas:
            look.note("replica_behind", f"{name} has {current} current replicas of {replicas}")


def _compare(look: Look, name: str, wanted: Config, found: Mapping[str, object]) -> None:
    try:
        check_same(name, wanted, dict(found))
    except Corrupt as fault:
        look.note("changed_stream", fault.message)


@asynccontextmanager
async def _open(made: Connection, layout: Deployment) -> AsyncIterator[OpenDeployment]:
    js = LogReads(made.exchange, replicated=layout.replicas > 1)
    async with js.pending.watch(made.nc, made.reconnected):
        yield OpenDeployment(made, layout, js)


async def _examine_parts(look: Look, clew: Clew, settings: Settings, backup_age: timedelta) -> None:
    folder = clew.index_in(settings.index_folder)
    await asyncio.gather(
        _examine_projection(look, clew),
        _examine_inbox(look, clew),
        _examine_removals(look, clew),
        _examine_backups(look, clew, backup_age),
    )
    derived = await look.attempt(
        "what follows from the log", lambda: read_derived_state(clew.opened, clew.generations, folder)
    )
    if derived is not None:
        look.problems.extend(judge_derived(derived))
        look.unknown.extend(derived.trouble)


async def _examine_projection(look: Look, clew: Clew) -> None:
    for shard in await Progress(clew.js, clew.opened.shards, clew.generations.consumer, PATIENCE).look():
        name = event_stream(shard.shard)
        if shard.trouble:
            look.unknown.append(f"the projection of {name}: {'; '.join(shard.trouble)}")
        elif shard.lag > UNASKED and not shard.asking:
            look.note("no_projector", f"{shard.behind:,} commits of {name} wait, the oldest for {shard.lag:.0f} s")
        elif shard.lag > MINUTE:
            look.note("projection_late", f"{shard.behind:,} commits of {name} wait, the oldest for {shard.lag:.0f} s")
    parked = await look.attempt("parked threads", clew.generations.list_parked)
    if parked:
        look.note("parked_threads", f"{len(parked)} threads, such as {parked[0].thread} of {parked[0].tenant}")


async def _examine_inbox(look: Look, clew: Clew) -> None:
    inbox = await Standstill(clew.js, PATIENCE).look()
    if inbox.trouble is not None:
        look.unknown.append(f"the inbox: {inbox.trouble}")
    elif inbox.oldest > UNASKED and inbox.where is None:
        look.note("inbox_unserved", f"{inbox.waiting:,} commands wait, the oldest for {inbox.oldest:.0f} s")
    elif inbox.oldest > INBOX_LATE:
        look.note(
            "inbox_late",
            f"{inbox.waiting:,} commands wait, the oldest for {inbox.oldest:.0f} s: {inbox.where} serves it",
        )


async def _examine_removals(look: Look, clew: Clew) -> None:
    now = datetime.now(UTC)
    for pending in await look.attempt("the erasures", clew.erasure_records.pending) or ():
        since = pending.erasure.requested_at
        if (now - since).total_seconds() > TWO_DAYS:
            look.note("erasure_late", f"{pending.erasure.id} was requested at {since:%Y-%m-%d %H:%M} UTC")
    state = await look.attempt("the retention", LookBook(clew.js, clew.opened.shards).state)
    if state is not None and (now - (oldest := state.oldest or state.at)).total_seconds() > TWO_DAYS:
        look.note("retention_late", f"nothing newer than {oldest:%Y-%m-%d %H:%M} UTC was looked at")


async def _examine_backups(look: Look, clew: Clew, backup_age: timedelta) -> None:
    copies = await look.attempt("the backups on record", lambda: known_copies(clew.js))
    if copies is None:
        return
    last = max((copy for copy in copies if copy.kind == "backup"), key=lambda copy: copy.made_at, default=None)
    if last is None:
        look.note("backup_old", "no backup of this deployment is on record")
    elif datetime.now(UTC) - last.made_at > backup_age:
        look.note("backup_old", f"the last backup on record is of {last.made_at:%Y-%m-%d %H:%M} UTC, in {last.place}")


def judge_derived(derived: DerivedState) -> Iterator[Problem]:
    """The problems of what follows from the log, and of its checks."""
    if derived.clock is not None:
        way = "ahead of" if derived.clock > 0 else "behind"
        yield Problem(
            "clock_differs", f"this machine's clock is {abs(derived.clock):.0f} s {way} that of the NATS server"
        )
    yield from _judge_index(derived.index)
    yield from _judge_checks(derived.proof, derived.integrity)
    yield from _judge_checkpoint(derived.checkpoint)


def _judge_index(index: IndexFreshness | None) -> Iterator[Problem]:
    if index is None:
        return
    if index.seconds > MINUTE or index.aside:
        late = f"it is {index.behind:,} commits behind, {index.seconds:.0f} s"
        yield Problem("index_late", f"{late}, and leaves {index.aside} threads out")
    if index.drift:
        yield Problem("index_differs", f"{index.drift} of its rows differ")


def _judge_checks(proof: Proof | None, integrity: Integrity | None) -> Iterator[Problem]:
    if proof is not None and proof.drift:
        yield Problem("views_differ", f"{proof.drift} views differ")
    if proof is None or proof.age is None or proof.age > WEEK:
        yield Problem("proof_old", _since("all views", "compared", None if proof is None else proof.since))
    if integrity is not None and integrity.verdict is not None:
        yield Problem("log_changed", integrity.verdict)
    if integrity is None or integrity.age is None or integrity.age > WEEK:
        since = None if integrity is None else integrity.since
        yield Problem("verification_old", _since("all histories", "verified", since))


def _judge_checkpoint(checkpoint: CheckpointCoverage | None) -> Iterator[Problem]:
    if checkpoint is None:
        yield Problem("checkpoint_late", "no checkpoint was ever signed")
        return
    if checkpoint.waiting > HOUR:
        yield Problem("checkpoint_late", f"commits wait for {checkpoint.waiting:.0f} s")
    if checkpoint.ahead >= MINUTE:
        dated = f"{checkpoint.at:%Y-%m-%d %H:%M} UTC"
        yield Problem("checkpoint_in_future", f"checkpoint {checkpoint.number} is of {dated}")


def _since(what: str, done: str, since: datetime | None) -> str:
    return f"{what} were never {done}" if since is None else f"{what} were last {done} at {since:%Y-%m-%d %H:%M} UTC"
