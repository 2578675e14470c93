"""The embedded NATS server: ``nats-server`` as a child process, with the settings that Clew's guarantees need."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
from asyncio.subprocess import DEVNULL, Process
from http.client import HTTPException
from pathlib import Path
from secrets import token_urlsafe
from signal import SIGHUP, SIGKILL, SIGTERM, Signals
from typing import Final, Self

import msgspec
from msgspec import Struct

from clew_projections.atomic_file import write_atomically
from clew_services.embedded import binary
from clew_services.embedded.config import HOST, USER, accounts, configuration
from clew_services.embedded.data_folder import DataFolder, claim
from clew_services.embedded.storage import UNLIMITED, ask_server, room
from clew_services.host import CannotStart
from clew_services.host.ports import refuse_taken
from clew_services.host.terminate import signal, terminate
from clew_services.host.tether import tether_command

START: Final = 120.0
"""Seconds a server may take to be ready: after a crash it reads its whole store."""
STOP: Final = 20.0
"""Seconds a server may take to stop before it is killed."""
LEAST: Final = 1024 * 1024
"""The free bytes that a server needs to start."""
_POLL: Final = 0.01
_REMEDY: Final = "Choose another port with --nats embedded:PORT or CLEW_NATS (embedded:0 takes any free one)"
_LOG: Final = logging.getLogger("clew.nats")


class Look(Struct, frozen=True, kw_only=True):
    """The state of the server: which write failed, if one did, and how many more bytes it may write."""

    write_error: str | None
    spare: int


class EmbeddedServer:
    """A nats-server with its own data folder, started and stopped by this process; an async context manager.

    It listens on 127.0.0.1. With a ``password`` it has two accounts (see :mod:`clew_services.embedded.config`); without
    one, every client has all permissions.

    After it died (see :meth:`wait`) or was stopped, :meth:`start` restarts it with the same store and port. On Linux it
    ends with this process, even if that is killed. Start it from the main thread.
    """

    def __init__(self, data: Path, *, port: int = 0, sync: str = "always", password: str | None = None) -> None:
        self.name = "nats-server"
        self.data = data.absolute()
        self.port = port
        self.sync = sync
        self.password = password
        self.version = ""
        self._folder: DataFolder | None = None
        self._process: Process | None = None
        self._store = self.data / "nats"
        self._monitor = 0
        self._base = f"/{token_urlsafe(16)}"
        self._limit = UNLIMITED

    @property
    def url(self) -> str:
        """The URL with all permissions, including user and password. Known after the start."""
        return self.open_url if self.password is None else f"nats://{USER}:{self.password}@{HOST}:{self.port}"

    @property
    def open_url(self) -> str:
        """The URL for clients without a password. Known after the start."""
        return f"nats://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    async def start(self) -> None:
        """Start the server, and return when it accepts clients and JetStream has recovered.

        Raises:
            CannotStart: no usable program, port taken, folder in use, not writable or full, or the server failed.
        """
        program = binary.find()
        self.version = binary.version(program)
        held = self._folder
        self._folder = held or await claim(self.data)
        try:
            refuse_taken(HOST, self.port, purpose="NATS", remedy=_REMEDY)
            _refuse_full(self.data)
            # During a reload JetStream is unavailable for a moment, so the server starts with the right limit.
            space = room(self._store if self._store.is_dir() else self.data)
            self._configure(space.limit(space.taken if self._store.is_dir() else 0))
            for stale in self.data.glob("*.ports"):
                stale.unlink()
            with (self.data / "nats-server.err").open("wb") as errors:
                self._process = await asyncio.create_subprocess_exec(
                    *tether_command([str(program), "-c", str(self.data / "nats.conf")], SIGTERM),
                    stdin=DEVNULL, stdout=DEVNULL, stderr=errors, pass_fds=(self._folder.lock,),
                    start_new_session=True,  # Ctrl-C is for this process, which stops its parts in order
                )  # fmt: skip
            self.port, self._monitor = await self._ready(self._process)
            await self.look()
        except BaseException:
            await self._stop_process()
            if held is None:
                self._release()
            raise

    async def wait(self) -> int:
        """Wait until the server's process has ended, and return its return code."""
        assert self._process is not None, "not started"
        return await self._process.wait()

    async def look(self) -> Look | None:
        """Read the state of server and disk, and adjust the storage limit; ``None`` if the server does not answer.

        The limit changes only when the server is near the old or the new one.

        The server does not write to a stream again after a write has failed, so it must be restarted once there is
        space.
        """
        try:
            said, found = await asyncio.to_thread(
                lambda: (ask_server(HOST, self._monitor, self._base), room(self._store))
            )
        except (OSError, HTTPException, msgspec.DecodeError) as fault:
            _LOG.debug("the state of nats-server cannot be read: %s", fault)
            return None
        if found.needs_change(self._limit, said.held):
            try:
                self._configure(found.limit(said.held))
            except OSError as fault:
                _LOG.debug("nats-server keeps its limit: %s", fault)  # no configuration can be written to a full disk
            else:
                self._signal(SIGHUP)
        return Look(write_error=said.write_error, spare=found.spare)

    def end(self) -> None:
        """Have the server shut down in order, if it runs; its supervisor may restart it."""
        self._signal(SIGTERM)

    async def stop(self) -> None:
        """Stop the server, or kill it after :data:`STOP` seconds, and release the data folder."""
        await self._stop_process()
        self._release()

    def kill(self) -> None:
        """Kill the server, if it runs."""
        self._signal(SIGKILL)

    def _signal(self, number: Signals) -> None:
        if self._process is not None:
            signal(self._process, number)

    def _configure(self, limit: int) -> None:
        general = configuration(self.data, port=self.port, sync=self.sync, base=self._base)
        text = general + accounts(self.password, limit=limit)
        write_atomically(self.data / "nats.conf", text.encode(), durable=True)
        self._limit = limit

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _stop_process(self) -> None:
        if self._process is not None:
            await terminate(self._process, STOP)

    def _release(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.release()

    async def _ready(self, process: Process) -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START
        while loop.time() < deadline:
            if process.returncode is not None:
                raise CannotStart(f"nats-server failed to start: {self._last_words()}", code="nats_server_failed")
            with contextlib.suppress(OSError, ValueError):
                ports = _listed_ports(self.data / f"nats-server_{process.pid}.ports")
                await _await_greeting(ports[0])
                return ports
            await asyncio.sleep(_POLL)
        raise CannotStart(
            f"nats-server was not ready after {START:.0f} s: see {self.data / 'nats-server.log'}",
            code="nats_server_failed",
        )

    def _last_words(self) -> str:
        for name in ("nats-server.err", "nats-server.log"):
            with contextlib.suppress(OSError):
                lines = (self.data / name).read_text(encoding="utf-8", errors="replace").splitlines()
                fatal = [line for line in lines if "[FTL]" in line] or lines
                if fatal:
                    return fatal[-1]
        return "it gave no reason"


def _refuse_full(data: Path) -> None:
    if shutil.disk_usage(data).free < LEAST:
        raise CannotStart(
            f"the disk of the data folder {data} is full: free some space, or choose another folder with --data or "
            "CLEW_DATA",
            code="disk_full",
        )


def _listed_ports(file: Path) -> tuple[int, int]:
    listed = json.loads(file.read_text(encoding="utf-8"))
    client, monitor = (int(listed[each][0].rpartition(":")[2]) for each in ("nats", "monitoring"))
    return client, monitor


async def _await_greeting(port: int) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        if not (await reader.readline()).startswith(b"INFO "):
            raise ValueError("not a NATS server")
    finally:
        writer.close()
        await writer.wait_closed()
