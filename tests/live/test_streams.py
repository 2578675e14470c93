"""What a deployment is made of: created once, finished if interrupted, and refused when somebody changed it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import replace

from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_events.subjects import event_stream
from clew_projections.generations.record import Alias
from clew_projections.kv.bucket import Bucket
from clew_projections.kv.position import read_position
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_services import compose
from clew_services.backup.take_backup import order
from clew_services.compose import connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import provision, topology
from clew_services.eventstore.lost_streams import MARGIN, irreplaceable
from clew_services.eventstore.provision import Deployment
from support.lending import STREAM_FOLDER
from support.waiting import eventually
from support.writers import Writer

LARGEST = 8 * 1024 * 1024
FIXED = [str(config["name"]) for config in topology.streams(2, 1, LARGEST)]
LOST = [name for name in FIXED if name in irreplaceable(2)]
FOLLOWING = [name for name in FIXED if name not in LOST]
BUCKETS = [str(config["name"]) for config in topology.buckets(1, 1)]
STREAMS = FIXED + BUCKETS
CONSUMERS = [f"{stream}/{config['name']}" for stream, config in topology.projector_consumers(1, 2)]
SECOND = 1_000_000_000
Config = dict[str, object]


@pytest.fixture
async def js(nats_server: EmbeddedServer) -> AsyncIterator[JetStream]:
    """An empty server."""
    async with compose.connection(nats_server.url, name="test") as made:
        yield made.js


async def init(js: JetStream, shards: int = 2) -> list[str]:
    return await provision.init(js, shards=shards, max_msg_size=LARGEST)


async def config_of(js: JetStream, name: str) -> Config:
    stream, _, consumer = name.partition("/")
    call = f"CONSUMER.INFO.{stream}.{consumer}" if consumer else f"STREAM.INFO.{stream}"
    config = (await js.api(call))["config"]
    assert isinstance(config, dict)
    return config


async def reconfigure(js: JetStream, name: str, **settings: object) -> None:
    """What somebody with the nats program might do; None takes a setting away."""
    config = {**await config_of(js, name), **settings}
    config = {key: value for key, value in config.items() if value is not None}
    stream, _, consumer = name.partition("/")
    if consumer:
        await js.api(f"CONSUMER.CREATE.{stream}.{consumer}", {"stream_name": stream, "config": config})
    else:
        await js.api(f"STREAM.UPDATE.{stream}", config)


async def everything(js: JetStream) -> dict[str, Config]:
    return {name: await config_of(js, name) for name in STREAMS + CONSUMERS}


def test_the_names_that_others_rely_on_are_these() -> None:
    assert {
        "CLEW_EVT_00",
        "CLEW_EVT_01",
        "KV_clew_threads_v1",
        "CLEW_INBOX",
        "CLEW_REJECTED",
    } <= set(STREAMS)
    assert CONSUMERS == ["CLEW_EVT_00/clew_threads_v1", "CLEW_EVT_01/clew_threads_v1"]


async def test_everything_is_created_once_and_then_left_alone(js: JetStream) -> None:
    assert sorted(await init(js)) == sorted(STREAMS + CONSUMERS)
    before = await everything(js)
    assert await init(js) == []
    assert await everything(js) == before
    assert replace(await provision.verify(js), identity="") == Deployment(2, 1, max_msg_size=LARGEST, identity="")


async def test_verifying_changes_nothing_and_creates_nothing(js: JetStream) -> None:
    with pytest.raises(Unavailable) as refusal:
        await provision.verify(js)
    assert refusal.value.code == "not_initialised"
    assert "clew init" in refusal.value.message
    assert (await js.api("STREAM.NAMES"))["total"] == 0


async def test_a_service_does_not_start_on_a_server_nobody_initialised(nats_server: EmbeddedServer) -> None:
    with pytest.raises(Unavailable, match="clew init"):
        async with connect(nats_server.url, name="test"):
            pass


async def test_many_may_initialise_at_once(js: JetStream) -> None:
    made = await asyncio.gather(*(init(js) for _ in range(4)))
    assert {name for each in made for name in each} == set(STREAMS + CONSUMERS)
    assert (await provision.verify(js)).shards == 2


async def test_the_number_of_shards_is_fixed_at_the_first_init(js: JetStream) -> None:
    await init(js, shards=2)
    for other in (1, 3, 4):
        with pytest.raises(Invalid) as refusal:
            await init(js, shards=other)
        assert refusal.value.param == "shards"
        assert f"2 shards, which cannot be changed to {other}" in refusal.value.message
    assert sorted((await js.api("STREAM.NAMES"))["streams"]) == sorted(STREAMS)  # type: ignore[call-overload]


@pytest.mark.parametrize("shards", [0, -1, 65])
async def test_an_impossible_number_of_shards_creates_nothing(js: JetStream, shards: int) -> None:
    with pytest.raises(Invalid) as refusal:
        await init(js, shards=shards)
    assert refusal.value.param == "shards"
    assert (await js.api("STREAM.NAMES"))["total"] == 0


@pytest.mark.parametrize("missing", FOLLOWING)
async def test_a_missing_stream_that_follows_from_the_log_is_created_by_the_next_init(
    js: JetStream, missing: str
) -> None:
    await init(js)
    await js.api(f"STREAM.DELETE.{missing}")
    with pytest.raises(Corrupt) as refusal:
        await provision.verify(js)
    assert refusal.value.code == "missing_stream"
    assert missing in refusal.value.message
    assert "clew init" in refusal.value.message
    assert missing in await init(js)
    await provision.verify(js)


def test_what_cannot_be_made_again_is_what_a_backup_holds() -> None:
    assert {*LOST, "KV_clew_generations"} == set(order(2))
    assert set(FOLLOWING) == {"KV_clew_generations", "KV_clew_leases", "OBJ_clew_index"}


@pytest.mark.parametrize("missing", LOST)
async def test_a_lost_stream_is_named_and_nothing_is_made_in_its_place(js: JetStream, missing: str) -> None:
    await init(js)
    await js.api(f"STREAM.DELETE.{missing}")
    refusing: list[Callable[[], object]] = [lambda: provision.verify(js), lambda: init(js), lambda: init(js)]
    for refuse in refusing:
        with pytest.raises(Corrupt) as refusal:
            await refuse()  # type: ignore[misc]
        assert refusal.value.code == "missing_stream"
        assert refusal.value.message.startswith(f"lost: {missing}. ")
        assert "clew restore" in refusal.value.message
        assert f"'clew init --accept-loss {missing}'" in refusal.value.message
    assert missing not in (await js.streams())


async def test_where_all_of_the_log_is_lost_what_is_left_of_the_deployment_says_so(js: JetStream) -> None:
    await init(js)
    for missing in ("CLEW_EVT_00", "CLEW_EVT_01"):
        await js.api(f"STREAM.DELETE.{missing}")
    with pytest.raises(Corrupt, match="lost: CLEW_EVT_00"):
        await provision.verify(js)
    with pytest.raises(Corrupt, match="lost: CLEW_EVT_00, CLEW_EVT_01"):
        await init(js)


async def test_the_number_of_shards_is_known_from_any_stream_of_the_log(js: JetStream) -> None:
    await init(js, shards=3)
    await js.api("STREAM.DELETE.CLEW_EVT_00")
    with pytest.raises(Invalid, match="3 shards, which cannot be changed to 2"):
        await init(js, shards=2)


async def test_an_accepted_loss_is_made_anew_and_no_sequence_is_given_twice(nats_server: EmbeddedServer) -> None:
    async with compose.connection(nats_server.url, name="test") as made:
        await init(made.js, shards=1)
    async with connect(nats_server.url, name="test") as clew:
        writer = Writer(clew.handler)
        await writer.create("thread_lost")
        stop = asyncio.Event()
        projecting = asyncio.create_task(clew.project(stop))
        await eventually(lambda: read_position([clew.live.current.threads], 0))
        stop.set()
        await projecting
        await clew.js.api("STREAM.DELETE.CLEW_EVT_00")
        with pytest.raises(Invalid, match="CLEW_EVT_07"):
            await provision.init(clew.js, shards=1, max_msg_size=LARGEST, accept_loss=("CLEW_EVT_07",))
        created = await provision.init(clew.js, shards=1, max_msg_size=LARGEST, accept_loss=("CLEW_EVT_00",))
        assert "CLEW_EVT_00" in created
        done = await writer.create("thread_next")
        assert done.position.seq == 1 + MARGIN + 1


async def test_a_record_of_generations_that_was_lost_is_followed_by_one_of_a_new_number(
    nats_server: EmbeddedServer,
) -> None:
    async with compose.connection(nats_server.url, name="test") as made:
        js = made.js
        await init(js)
        await Bucket(js, "clew_threads_v1").put("acme.thread_of_another_fold", b"{}", 0)
        await js.api("STREAM.DELETE.KV_clew_generations")
        await init(js)
        assert (await Alias(js).read_record()).record.live == 2
        assert await init(js) == []
        await provision.verify(js)


@pytest.mark.parametrize("missing", BUCKETS)
async def test_where_a_live_bucket_is_missing_the_next_init_has_another_generation_take_its_place(
    js: JetStream, missing: str
) -> None:
    await init(js)
    await js.api(f"STREAM.DELETE.{missing}")
    with pytest.raises(Corrupt, match="clew init") as refusal:
        await provision.verify(js)
    assert refusal.value.code == "missing_stream"
    assert missing in refusal.value.message
    made = await asyncio.gather(*(init(js) for _ in range(3)))
    assert {name.replace("_v1", "_v2") for name in BUCKETS} <= {name for each in made for name in each}
    await provision.verify(js)
    record = (await Alias(js).read_record()).record
    assert (record.live, record.last, record.building) == (2, 2, None)
    assert await init(js) == []


@pytest.mark.parametrize("missing", CONSUMERS)
async def test_a_missing_consumer_is_named_and_created_by_the_next_init(js: JetStream, missing: str) -> None:
    await init(js)
    await js.api(f"CONSUMER.DELETE.{missing.replace('/', '.')}")
    with pytest.raises(Corrupt) as refusal:
        await provision.verify(js)
    assert refusal.value.code == "missing_consumer"
    assert missing in refusal.value.message
    assert await init(js) == [missing]
    await provision.verify(js)


async def test_an_init_right_after_all_streams_were_deleted_outlasts_the_removal_of_their_folder(
    nats_server: EmbeddedServer, js: JetStream
) -> None:
    folder = nats_server.data / STREAM_FOLDER
    shutil.rmtree(folder)
    # A stream cannot be created. The server then removes what is there in its own time, as after a deletion.
    folder.touch()
    assert sorted(await init(js)) == sorted(STREAMS + CONSUMERS)


async def test_an_interrupted_init_is_finished_by_the_next(js: JetStream) -> None:
    class Interrupted(JetStream):
        """Breaks off after some calls that create."""

        left = 0

        async def api(self, call: str, request: object = None) -> Config:
            if ".CREATE." in call:
                self.left -= 1
                if self.left < 0:
                    raise Unavailable("the power went out")
            return await js.api(call, request)

    breaking = Interrupted(js._exchange)
    interrupted = 0
    while True:
        breaking.left = 1
        try:
            await provision.init(breaking, shards=2, max_msg_size=LARGEST)
            break
        except Unavailable:
            interrupted += 1
            with pytest.raises((Unavailable, Corrupt)):
                await provision.verify(js)
        if interrupted == len(FIXED):
            # A publisher does not wait until all is done.
            assert (await js.publish("clew.inbox.acme.create_thread", b"{}")).error is None
    assert interrupted == len(STREAMS + CONSUMERS) - 1
    assert sorted(await everything(js)) == sorted(STREAMS + CONSUMERS)
    assert replace(await provision.verify(js), identity="") == Deployment(2, 1, max_msg_size=LARGEST, identity="")


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("KV_clew_keys_v1", "allow_rollup_hdrs", True),
        ("CLEW_EVT_01", "max_age", 3600 * SECOND),
        ("CLEW_EVT_01", "max_msgs", 1000),
        ("CLEW_EVT_00", "max_bytes", 1_000_000),
        ("CLEW_EVT_00", "max_msgs_per_subject", 100),
        ("CLEW_EVT_00", "discard", "old"),
        ("CLEW_EVT_00", "duplicate_window", 60 * SECOND),
        ("CLEW_EVT_00", "allow_direct", False),
        ("CLEW_EVT_00", "allow_atomic", False),
        ("CLEW_EVT_01", "republish", None),
        ("CLEW_EVT_01", "republish", {"src": "clew.evt.>", "dest": "elsewhere.>"}),
        ("CLEW_EVT_01", "subjects", ["clew.evt.01.*.*", "more"]),
        ("CLEW_EVT_00", "allow_msg_ttl", True),
        ("CLEW_EVT_00", "subject_transform", {"src": "clew.evt.00.*.*", "dest": "clew.evt.00.{{wildcard(1)}}.one"}),
        ("KV_clew_threads_v1", "max_msgs_per_subject", 5),
        ("KV_clew_threads_v1", "max_age", 3600 * SECOND),
        ("KV_clew_commands_v1", "allow_direct", False),
        ("CLEW_INBOX", "max_age", 3600 * SECOND),
        ("CLEW_INBOX", "duplicate_window", 120 * SECOND),
        ("CLEW_REJECTED", "duplicate_window", SECOND),
        ("CLEW_EVT_00/clew_threads_v1", "ack_wait", SECOND),
        ("CLEW_EVT_01/clew_threads_v1", "max_deliver", 3),
        ("CLEW_EVT_01/clew_threads_v1", "max_ack_pending", 1),
        ("CLEW_EVT_01/clew_threads_v1", "filter_subject", "clew.evt.01.acme.*"),
        ("CLEW_EVT_01/clew_threads_v1", "inactive_threshold", 60 * SECOND),
        ("CLEW_EVT_01/clew_threads_v1", "filter_subjects", ["clew.evt.01.acme.*", "clew.evt.01.other.*"]),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_changed_setting_is_refused_by_name_with_both_values(
    js: JetStream, name: str, setting: str, value: object
) -> None:
    await init(js)
    await reconfigure(js, name, **{setting: value})
    changed = await everything(js)
    for refusing in (lambda: provision.verify(js), lambda: init(js)):
        with pytest.raises(Corrupt) as refusal:
            await refusing()
        assert refusal.value.code == "changed_stream"
        assert refusal.value.message.startswith(f"{name} was changed: its '{setting}' is ")
    assert await everything(js) == changed


async def test_no_message_can_roll_up_the_log(js: JetStream) -> None:
    await init(js)
    for headers in ({"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}):
        ack = await js.publish("clew.evt.00.acme.thread_a", b"one", headers)
        assert ack.error is not None
    assert (await stream_state(js, event_stream(0))).messages == 0


async def test_a_stream_of_that_name_that_is_not_clews_is_not_touched(js: JetStream) -> None:
    await js.api("STREAM.CREATE.CLEW_EVT_00", {"name": "CLEW_EVT_00", "subjects": ["something.else"]})
    before = await config_of(js, "CLEW_EVT_00")
    refusing: list[Callable[[], object]] = [lambda: init(js), lambda: provision.verify(js)]
    for refuse in refusing:
        with pytest.raises(Corrupt) as refusal:
            await refuse()  # type: ignore[misc]
        assert refusal.value.code == "foreign_stream"
        assert "CLEW_EVT_00" in refusal.value.message
    assert await config_of(js, "CLEW_EVT_00") == before
    assert (await js.api("STREAM.NAMES"))["total"] == 1


async def test_a_description_may_be_changed_and_the_size_of_messages_is_the_operators_choice(js: JetStream) -> None:
    await init(js)
    await reconfigure(js, "CLEW_EVT_01", description="ours", max_msg_size=1_000_000)
    await provision.verify(js)
    assert await init(js) == []
