"""A PostgreSQL cluster of one's own for a rival, with the settings that come with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from bench.peers.processes import CannotRace, free_port, server

HOMES = "lib/postgresql/*/bin/postgres"


def binaries() -> Path:
    """The folder of the newest PostgreSQL server here.

    Raises:
        CannotRace: there is none.
    """
    found = sorted(Path("/usr").glob(HOMES), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    if on_path is None:
        raise CannotRace("no PostgreSQL server here: install one (on Debian: apt install postgresql)")
    return Path(on_path).parent


@contextlib.asynccontextmanager
async def cluster(folder: Path, database: str) -> AsyncIterator[tuple[int, int]]:
    """A fresh cluster with one database, owned by user ``postgres`` and trusting; its port and process id.

    PostgreSQL does not run as root, so root hands it to the system's user ``postgres``.

    Raises:
        CannotRace: there is no PostgreSQL, or it does not start.
    """
    home, port, data = binaries(), free_port(), folder / "pg"
    become = _become(folder)
    await _run(*become, home / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8")
    command: tuple[str | Path, ...] = (
        *become,
        home / "postgres",
        "-D",
        data,
        "-p",
        str(port),
        "-k",
        folder,
        "-c",
        "listen_addresses=127.0.0.1",
    )
    async with server(command, port=port, log=folder.with_name(f"{folder.name}-postgres.log")) as pid:
        connect = ("-h", "127.0.0.1", "-p", str(port), "-U", "postgres")
        await _run(home / "pg_isready", "-t", "30", *connect)
        await _run(home / "createdb", *connect, database)
        yield port, pid


async def setting(port: int, *names: str) -> str:
    """Settings as the server has them, such as ``fsync=on``."""
    found = []
    for name in names:
        command = (binaries() / "psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-Atc", f"SHOW {name}")
        found.append(f"{name}={(await _run(*command)).strip()}")
    return ", ".join(found)


def _become(folder: Path) -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise CannotRace("PostgreSQL does not run as root, and there is no setpriv (of util-linux) to be somebody else")
    try:
        shutil.chown(folder, "postgres", "postgres")
    except LookupError as error:
        raise CannotRace("PostgreSQL does not run as root, and there is no user 'postgres' to be it") from error
    return ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--")


async def _run(*command: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd="/"
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise CannotRace(f"{' '.join(str(each) for each in command)[-200:]}: {said.decode(errors='replace')[-300:]}")
    return said.decode()
