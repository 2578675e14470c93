"""Commands that kill the process which carries them out, and those that only look as if they did."""

from __future__ import annotations

import asyncio
import json

from clew_projections.kv.bucket import Bucket
from clew_services import lease
from clew_services.compose import Clew
from clew_services.compose.roles import serve_inbox
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore.topology import LEASES
from clew_services.inbox import poison, rejections
from support.nats_services import child, served
from support.truth import commits_of
from support.waiting import PATIENCE, eventually

DEADLY = """
import os, signal
from clew_services.threads.handler import Handler

handle = Handler.handle

async def dies(self, tenant, command, **around):
    if command.id == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return await handle(self, tenant, command, **around)

Handler.handle = dies
"""
AWAY = """
from clew_events.errors import Unavailable
from clew_services.eventstore.append import Log

async def away(*_):
    print("away", flush=True)
    raise Unavailable("the log is away")

Log.append = away
"""


async def leave(clew: Clew, command: str, **body: object) -> None:
    await clew.nc.jetstream().publish(f"clew.inbox.default.{command}", json.dumps(body).encode())


async def is_empty(clew: Clew) -> bool:
    return (await clew.nc.jetstream().stream_info("CLEW_INBOX")).state.messages == 0


async def free_at_once(clew: Clew) -> None:
    """Have nobody wait until the term is over of a lease whose holder was killed."""
    bucket = Bucket(clew.js, LEASES)
    value = await bucket.latest(lease.KEY)
    if value is not None and value.body:
        await bucket.delete(lease.KEY, value.revision)


async def steps(clew: Clew, thread: str) -> list[str]:
    return [each.events[0].set["step"] for each in (await commits_of(clew, thread))[1:]]


async def on_record(clew: Clew) -> list[rejections.Refusal]:
    return [each async for each in rejections.list_rejected(clew.js)]


async def test_a_command_that_kills_whoever_carries_it_out_is_put_on_record_and_its_thread_goes_on(
    clew: Clew, deployment: EmbeddedServer
) -> None:
    others = [f"thread_{number}" for number in range(30)]
    for thread in ("thread_a", *others):
        await leave(clew, "create_thread", thread_id=thread)
    await leave(clew, "update_thread", thread_id="thread_a", metadata={"step": "1"})
    await leave(clew, "update_thread", thread_id="thread_a", metadata={"step": "2"}, id="deadly")
    for thread in ("thread_a", *others):
        await leave(clew, "update_thread", thread_id=thread, metadata={"step": "3"})
    killed = 0
    while not await is_empty(clew):
        async with child(deployment.url, "inbox", first=DEADLY) as process:
            through = {asyncio.create_task(process.wait()), asyncio.create_task(eventually(lambda: is_empty(clew)))}
            _, late = await asyncio.wait(through, return_when=asyncio.FIRST_COMPLETED)
            for each in late:
                each.cancel()
            killed += process.returncode is not None
        await free_at_once(clew)
    assert killed == 1 + poison.MOST
    assert await steps(clew, "thread_a") == ["1", "3"]
    for thread in others:
        assert await steps(clew, thread) == ["3"]
    (refused,) = await on_record(clew)
    error = refused.rejection.error
    assert (refused.rejection.id, error.type, error.code) == ("deadly", "corrupt", "handlers_died")
    # Where it kills nobody any more it is carried out.
    async with served(clew, (serve_inbox,)):
        await rejections.retry(clew.js, refused)
        await eventually(lambda: is_empty(clew))
    assert await steps(clew, "thread_a") == ["1", "3", "2"]
    assert await on_record(clew) == []


async def test_a_command_that_waits_for_the_log_is_not_given_up_however_many_processes_are_killed_meanwhile(
    clew: Clew, deployment: EmbeddedServer
) -> None:
    await leave(clew, "create_thread", thread_id="thread_a")
    for _ in range(poison.MOST + 3):
        async with child(deployment.url, "inbox", first=AWAY) as process, asyncio.timeout(PATIENCE):
            assert process.stdout is not None
            for _ in range(2):  # when it tries again, the first try is over
                assert await process.stdout.readline() == b"away\n"
            process.kill()
            await process.wait()
        await free_at_once(clew)
    async with served(clew, (serve_inbox,)):
        await eventually(lambda: is_empty(clew))
    assert len(await commits_of(clew, "thread_a")) == 1
    assert await on_record(clew) == []
