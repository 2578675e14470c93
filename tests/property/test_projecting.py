"""Whatever is asked of a deployment, and whatever happens to it meanwhile, its buckets come to equal its log."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from clew_events.commands import Command, DeleteMessage, UpdateMessage
from clew_events.errors import ClewError, Corrupt
from clew_events.subjects import event_stream
from clew_projections.apply import advance
from clew_projections.kv.key_names import THREADS
from clew_projections.views import ItemView, absent
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.threads.decide import decide
from clew_services.threads.result import Outcome
from support.commits import advance_named
from support.deployments import deployed
from support.simulation import NOWHERE, commands
from support.truth import buckets_equal_the_log, impatient, log_of
from support.writers import Writer, handler

Disturbance = Literal["start", "stop", "cancel", "deliver again", "kill the server", "nothing"]
NAMES = [f"thread_{n}" for n in range(4)]


class Asked(Struct, frozen=True):
    """A command, given to one of the processes."""

    thread: str
    process: int
    command: Command


class Wave(Struct, frozen=True):
    """Commands that are under way at once, and what happens to a process meanwhile."""

    asked: tuple[Asked, ...]
    disturbance: Disturbance
    process: int


processes = st.integers(0, 1)
waves = st.builds(
    Wave,
    asked=st.lists(
        st.builds(Asked, thread=st.sampled_from(NAMES), process=processes, command=commands), min_size=2, max_size=12
    ).map(tuple),
    disturbance=st.sampled_from(["start", "start", *Disturbance.__args__]),  # type: ignore[attr-defined]
    process=processes,
)


class World:
    """Two processes on one server, each with a handler and a projector, and everything that was asked of them."""

    def __init__(self, server: EmbeddedServer, clews: list[Clew]) -> None:
        self._server = server
        self._clews = clews
        self._writers = [Writer(handler(clew)) for clew in clews]
        self._running: list[tuple[asyncio.Event, asyncio.Task[None]] | None] = [None, None]
        self._messages: dict[str, list[str]] = {}
        self.sent: dict[str, Asked] = {}
        self.done: dict[str, Outcome] = {}

    async def live_through(self, wave: Wave) -> None:
        """Send a wave's commands while its disturbance happens."""
        await asyncio.gather(*(self._send(asked) for asked in wave.asked), self._disturb(wave))

    async def end(self) -> None:
        """Have a projector run to the end, alone or with what is still running."""
        await self._start(0)
        await buckets_equal_the_log(self._clews[1])

    async def close(self) -> None:
        """Stop what runs; it must not have failed."""
        for process in (0, 1):
            await self._cancel(process)

    async def _send(self, asked: Asked) -> None:
        command_id = f"c{len(self.sent)}"
        command = replace(asked.command, thread_id=asked.thread, id=command_id)
        if isinstance(command, UpdateMessage | DeleteMessage):
            known = self._messages.get(asked.thread, [])
            pick = int(command.message_id)
            command = replace(command, message_id=known[pick] if pick < len(known) else NOWHERE)
        self.sent[command_id] = replace(asked, command=command)
        try:
            done = await self._writers[asked.process].handler.handle("default", command)
        except Corrupt:
            raise
        except ClewError:
            return
        self.done[command_id] = done
        if done.message is not None:
            ids = self._messages.setdefault(asked.thread, [])
            ids += [] if done.message.id in ids else [done.message.id]

    async def _disturb(self, wave: Wave) -> None:
        process = wave.process
        match wave.disturbance:
            case "start":
                await self._start(process)
            case "stop":
                await self._stop(process)
            case "cancel":
                await self._cancel(process)
            case "deliver again":
                for shard in range(2):
                    await self._clews[process].js.api(f"CONSUMER.RESET.{event_stream(shard)}.{THREADS}", {"seq": 1})
            case "kill the server":
                self._server.kill()
                await self._server.wait()
                await self._server.start()
            case "nothing":
                pass

    async def _start(self, process: int) -> None:
        if self._running[process] is None:
            stop = asyncio.Event()
            self._running[process] = stop, asyncio.create_task(self._clews[process].project(stop))

    async def _stop(self, process: int) -> None:
        if (running := self._running[process]) is not None:
            self._running[process] = None
            running[0].set()
            await running[1]

    async def _cancel(self, process: int) -> None:
        if (running := self._running[process]) is not None:
            self._running[process] = None
            running[1].cancel()
            with suppress(asyncio.CancelledError):
                await running[1]


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(waves, min_size=4, max_size=8))
def test_buckets_equal_the_log_and_the_log_is_what_the_rules_make_of_the_commands(life: list[Wave]) -> None:
    asyncio.run(lived(life))


async def lived(life: list[Wave]) -> None:
    async with AsyncExitStack() as stack:
        data = Path(stack.enter_context(TemporaryDirectory()))
        server = await stack.enter_async_context(deployed(data / "server", sync="always"))
        clews = [await stack.enter_async_context(connect(server.url, name=f"process {n}")) for n in range(2)]
        await impatient(clews[0])
        world = World(server, clews)
        try:
            for wave in life:
                await world.live_through(wave)
            await world.end()
            await hold_to_the_rules(clews[0], world)
        finally:
            await world.close()


async def hold_to_the_rules(clew: Clew, world: World) -> None:
    """Every commit is what its command comes to on the state before it; every answer tells of its own commit."""
    histories = await log_of(clew)
    for address, records in histories.items():
        view = absent(*address)
        messages: dict[str, ItemView] = {}
        for record in records:
            commit = record.commit
            command = world.sent[commit.id].command
            named = messages.get(command.message_id) if isinstance(command, UpdateMessage | DeleteMessage) else None
            items = (named,) if named is not None else ()
            assert commit.events == decide(command, address.thread, commit.id, view, items)
            view = advance(view, record)
            messages = advance_named(messages, commit)
            if commit.id in world.done:
                done = world.done[commit.id]
                assert (done.n, done.position) == (commit.n, record.position)
    assert len(world.sent) >= sum(map(len, histories.values()))
