"""An environment for each rival, with its packages at the versions that were raced, and nothing of ours."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from msgspec import Struct

from bench.peers.processes import CannotRace


class Environment(Struct, frozen=True):
    """A folder's name, and what is installed there, each pinned."""

    name: str
    packages: tuple[str, ...]

    def program(self, root: Path, name: str) -> Path:
        """A program of this environment."""
        return root / self.name / "bin" / name

    async def installed(self, root: Path) -> None:
        """Set it up under ``root``, unless it was; a few minutes the first time.

        Raises:
            CannotRace: something cannot be installed.
        """
        folder, mark = root / self.name, root / f"{self.name}.installed"
        wanted = "\n".join(self.packages)
        if mark.exists() and mark.read_text() == wanted:
            return
        root.mkdir(parents=True, exist_ok=True)
        await _run(sys.executable, "-m", "venv", "--clear", folder)
        await _run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", *self.packages)
        mark.write_text(wanted)


async def _run(*command: str | Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise CannotRace(f"cannot be installed: {' '.join(last)[:300]}")
