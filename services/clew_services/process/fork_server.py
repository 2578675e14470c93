"""A process that has imported all of Clew and forks the parts of ``clew up`` from itself, so that each starts at once.

It is forked before the calling process has threads or an event loop, has none of its own, and opens nothing but its
end of a socket. It hands each part over to the calling process, which is then the parent, by ending the process
between the two. Linux alone has what this takes; elsewhere, and once the fork server has died, parts are spawned.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import logging
import os
import socket
import struct
import sys
import time
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL
from typing import Final, NoReturn

import msgspec

from clew_services.host.terminate import Child
from clew_services.host.tether import adopt_orphans, end_with, tether_command
from clew_services.process import readiness

Launch = Callable[[Sequence[str], Mapping[str, str], int], Awaitable[Child]]
"""Starts ``clew serve ROLE...`` with an environment and one more descriptor; it ends with this process."""

PATIENCE: Final = 60.0
"""Seconds in which the fork server must answer."""
PRELOADED: Final = (
    "clew_services.cli.serve",
    "clew_services.http.http_server",
    "clew_services.nats_api.faststream_broker",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)
"""The modules with everything that the roles import."""

_LENGTH: Final = struct.Struct("!i")
_LOG: Final = logging.getLogger("clew.up")


async def spawn(roles: Sequence[str], environment: Mapping[str, str], descriptor: int) -> Child:
    """Start the roles by a new interpreter."""
    return await asyncio.create_subprocess_exec(
        *tether_command([sys.executable, "-m", "clew_services.cli", "serve", *roles]),
        env=environment, stdin=DEVNULL, pass_fds=(descriptor,),
        start_new_session=True,  # Ctrl-C goes to the parent, which shuts down in order
    )  # fmt: skip


@contextlib.contextmanager
def fork_server(run: Callable[[list[str]], NoReturn]) -> Iterator[Launch]:
    """Start a fork server, whose parts call ``run`` with ``serve ROLE...``; ends when the block does.

    Call it in the main thread, before there are others, and outside an event loop.
    """
    if not sys.platform.startswith("linux") or not _has_pidfd() or not adopt_orphans():
        yield spawn
        return
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _serve(theirs, parent, run)
    theirs.close()
    ours.settimeout(PATIENCE)
    try:
        yield _Forks(ours).launch
    finally:
        ours.close()
        os.waitpid(pid, 0)


def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class _Forks:
    """Asks the fork server for parts, one at a time."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._turn = asyncio.Lock()
        self._dead = False

    async def launch(self, roles: Sequence[str], environment: Mapping[str, str], descriptor: int) -> Child:
        async with self._turn:
            if not self._dead:
                try:
                    return _Forked(await asyncio.to_thread(self._request_part, roles, environment, descriptor))
                except OSError as fault:
                    self._dead = True
                    _LOG.warning("there is no fork server any more (%s): parts start slower", fault)
        return await spawn(roles, environment, descriptor)

    def _request_part(self, roles: Sequence[str], environment: Mapping[str, str], descriptor: int) -> int:
        body = msgspec.msgpack.encode((roles, environment))
        socket.send_fds(self._server, [_LENGTH.pack(len(body))], [descriptor])
        self._server.sendall(body)
        answer = self._server.recv(_LENGTH.size, socket.MSG_WAITALL)
        if len(answer) < _LENGTH.size:
            raise ConnectionResetError("it has ended")
        return int(_LENGTH.unpack(answer)[0])


class _Forked:
    """A child of this process that the fork server made."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        self._watched = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._watched, self._reap)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._watched)
        os.close(self._watched)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()


def _serve(requests: socket.socket, parent: int, run: Callable[[list[str]], NoReturn]) -> NoReturn:
    """Import what parts use, then fork them until the parent process ends or closes the socket."""
    os.setsid()
    end_with(parent, SIGKILL)
    set_title("clew", "fork-server")
    gc.disable()
    for module in PRELOADED:
        importlib.import_module(module)
    gc.freeze()  # a collection in a part would write to the pages that all share
    while True:
        head, descriptors, _, _ = socket.recv_fds(requests, _LENGTH.size, 1)
        if not head:
            os._exit(0)
        body = requests.recv(_LENGTH.unpack(head)[0], socket.MSG_WAITALL)
        roles, environment = msgspec.msgpack.decode(body, type=tuple[list[str], dict[str, str]])
        environment[readiness.VARIABLE] = str(descriptors[0])
        between = os.fork()
        if between == 0:
            between = os.getpid()
            if os.fork() != 0:
                os._exit(0)
            _become_part(roles, environment, between, parent)
            with requests:
                requests.sendall(_LENGTH.pack(os.getpid()))
            run(["serve", *roles])
        os.waitpid(between, 0)
        os.close(descriptors[0])


def _become_part(roles: list[str], environment: dict[str, str], between: int, parent: int) -> None:
    os.setsid()
    while os.getppid() == between:
        time.sleep(0.0005)
    end_with(parent, SIGKILL)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.environ.clear()
    os.environ.update(environment)
    set_title("clew", "serve", *roles)


def set_title(*words: str) -> None:
    """Make ``words`` the command line of this process, as ``ps`` shows it, cut to the length of the one it had."""
    # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: arg_start and arg_end are fields 48 and 49
    first, last = map(int, Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[45:47])
    if first < last:
        line = "\0".join(words).encode()[: last - first - 1]
        ctypes.memset(first, 0, last - first)
        ctypes.memmove(first, line, len(line))
