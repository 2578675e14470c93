"""Ctrl-C, and whatever else says stop, ends what runs: in every moment, soon, and without a traceback."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import subprocess
import sys
import time
from asyncio.subprocess import PIPE
from functools import partial

import pytest

from clew_events.commands import CreateThread
from clew_services.compose import Clew
from clew_services.compose.roles import serve_commands, serve_inbox, serve_queries
from clew_services.embedded.server import EmbeddedServer
from clew_services.main import load_commands
from clew_services.process import serve as serving
from support.up import CLEW, environment
from support.waiting import PATIENCE

INTERRUPTED_WHEN_IMPORTING = """
import os, signal, sys

wanted = sys.argv.pop()

class Interrupting:
    def find_spec(self, name, *_):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from clew_services.main import main
sys.argv += ["status", "--watch"]
main()
"""


@pytest.mark.parametrize("module", ["click", "msgspec", "clew_services.cli.status", "clew_services.compose"])
def test_while_the_program_loads_it_ends_at_once_and_says_nothing(module: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHEN_IMPORTING, module],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_from_when_the_program_is_loaded_garbage_is_collected() -> None:
    gc.disable()
    try:
        load_commands()
        assert gc.isenabled()
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()
        gc.enable()


async def test_following_ends_with_success(clew: Clew, deployment: EmbeddedServer) -> None:
    command = [*CLEW, "replay", "--follow", "--nats", deployment.url]
    following = await asyncio.create_subprocess_exec(*command, env=environment(), stdout=PIPE, stderr=PIPE)
    assert following.stdout is not None
    line = asyncio.create_task(following.stdout.readline())
    while not (await asyncio.wait({line}, timeout=0.1))[0]:  # it shows what happens once it listens
        await clew.handler.handle("default", CreateThread())
    assert b" create" in await line
    following.send_signal(signal.SIGINT)
    async with asyncio.timeout(PATIENCE):
        _, errors = await following.communicate()
    assert (following.returncode, errors) == (0, b"")


HARD_TO_END = """
import sys, time
from clew_services.cli import interrupt as interruptible

async def work():
    print("begun", flush=True)
    while True:
        time.sleep(60)

interruptible.IN_ORDER = float(sys.argv[1])
interruptible.run(work())
"""


@pytest.mark.parametrize(("in_order", "times", "ended_by"), [("0.1", 1, signal.SIGALRM), ("3600", 2, signal.SIGINT)])
def test_what_cannot_end_in_order_ends_all_the_same_after_a_while_or_when_told_again(
    in_order: str, times: int, ended_by: signal.Signals
) -> None:
    command = [sys.executable, "-c", HARD_TO_END, in_order]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as working:
        assert working.stdout is not None
        assert working.stdout.readline() == b"begun\n"
        working.send_signal(signal.SIGINT)
        while times > 1 and working.poll() is None:
            working.send_signal(signal.SIGINT)
            time.sleep(0.01)
        assert working.wait(PATIENCE) == -ended_by


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_that_waits_for_nats_is_stopped_with_success(number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        command = [*CLEW, "serve", "query", "--nats", url]
        with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
            asking, _ = silent.accept()
            with asking:
                process.send_signal(number)
                _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "no NATS server answers" not in errors


async def test_services_that_are_told_to_stop_before_they_begin_are_not_waited_for(clew: Clew) -> None:
    stop = asyncio.Event()
    stop.set()
    each = [partial(serve, clew) for serve in (serve_commands, serve_inbox, serve_queries)]
    async with asyncio.timeout(PATIENCE):
        await serving._together(each, stop, {})
