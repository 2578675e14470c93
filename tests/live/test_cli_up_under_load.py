"""What ``clew up`` acknowledged is there, whatever was killed while the load went on."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM

import httpx2 as httpx

from support.up import Up, clew, running_up

WRITERS = 4


class Load:
    """Writers that create threads for as long as they may, and remember which were acknowledged."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.acknowledged: list[str] = []
        self.broken: list[int] = []
        self._stop = threading.Event()
        self._changed = threading.Condition()

    def write(self) -> None:
        with client(self.up) as http:
            while not self._stop.is_set():
                with contextlib.suppress(httpx.TransportError):
                    answer = http.post("/threads", json={"messages": [{"role": "user", "content": "x"}]})
                    with self._changed:
                        if answer.status_code == 200:
                            self.acknowledged.append(answer.json()["id"])
                        else:
                            self.broken.append(answer.status_code)
                        self._changed.notify_all()

    def until(self, more: int) -> None:
        """Wait until that many more are acknowledged."""
        with self._changed:
            target = len(self.acknowledged) + more
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= target, timeout=60), self.up.errors

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        writers = [threading.Thread(target=self.write) for _ in range(WRITERS)]
        for writer in writers:
            writer.start()
        try:
            yield
        finally:
            self._stop.set()
            for writer in writers:
                writer.join()


def client(up: Up) -> httpx.Client:
    headers = {"Authorization": f"Bearer {up.api_key}", "OpenAI-Beta": "assistants=v2"}
    return httpx.Client(base_url=up.base_url, headers=headers, timeout=30)


def assert_all_there(up: Up, threads: list[str]) -> None:
    with client(up) as http:
        for thread in threads:
            assert http.get(f"/threads/{thread}").status_code == 200, thread
    for check in ("verify", "prove"):
        checked = clew(check, "--all", "--json", env={"CLEW_NATS": up.nats_url})
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert json.loads(checked.stdout)["threads"] >= len(threads)


def test_what_was_acknowledged_while_a_part_was_killed_is_there(tmp_path: Path) -> None:
    with running_up(tmp_path / "data") as up:
        load = Load(up)
        with load.running():
            for part in (
                "nats-server",
                "serve api",
                "serve commands query",
                "serve projector erasure retention",
                "serve index",
            ):
                load.until(50)
                pid = up.children()[part]
                os.kill(pid, SIGKILL)
                up.await_again(part, pid)
            load.until(50)
        assert_all_there(up, load.acknowledged)


def test_what_was_acknowledged_is_there_after_a_kill_and_after_a_stop_that_turns_nobody_away(tmp_path: Path) -> None:
    with running_up(tmp_path / "data") as first:
        killed = Load(first)
        with killed.running():
            killed.until(50)
            first.stop(SIGKILL)
    with running_up(tmp_path / "data") as second:
        assert_all_there(second, killed.acknowledged)
        stopped = Load(second)
        with stopped.running():
            stopped.until(50)
            assert second.stop(SIGTERM) == 0
        assert stopped.broken == []
    with running_up(tmp_path / "data") as third:
        assert_all_there(third, killed.acknowledged + stopped.acknowledged)
