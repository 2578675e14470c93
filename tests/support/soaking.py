"""Clients of every kind that change threads, are cancelled or killed in the middle, and try again under the same id."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Awaitable, Callable

import openai

from clew_events import client
from clew_events.commands import AddMessage
from clew_events.errors import Unavailable
from clew_events.objects import TextPart, TextValue
from clew_events.requests import NewMessage
from support.up import Up, environment

GIVEN_UP = 0.05
"""How many of the commands that were interrupted are never tried again."""

PROCESS = """
import sys
from clew_events.client.sync import connect
url, name, start, *threads = sys.argv[1:]
with connect(url, actor=name, timeout=120) as clew:
    i = int(start)
    while True:
        clew.add_message(threads[i % len(threads)], f"{name}-{i}", command_id=f"{name}-{i}")
        print(i, flush=True)
        i += 1
"""


class Ledger:
    """What was asked for under which id, and of which it is known that it was carried out."""

    def __init__(self) -> None:
        self.asked: dict[str, str | None] = {}
        self.acknowledged: dict[str, str] = {}
        self.interrupted = 0

    def ask(self, command_id: str, thread: str | None) -> None:
        """A command is about to be sent; ``thread`` is where it belongs, if that is known."""
        self.asked[command_id] = thread

    def answered(self, command_id: str, thread: str) -> None:
        """It was carried out, in this thread."""
        assert self.acknowledged.setdefault(command_id, thread) == thread, command_id
        self.asked[command_id] = thread


class Soak:
    """The clients, all of one random seed, at work until they are told to stop."""

    def __init__(self, up: Up, threads: list[str], seed: int) -> None:
        self.up = up
        self.threads = threads
        self.chance = random.Random(seed)
        self.ledger = Ledger()
        self.stopping = asyncio.Event()

    async def persist(self, command_id: str, thread: str | None, attempt: Callable[[], Awaitable[str]]) -> None:
        """Attempt a command until it is answered, most times cutting some attempts off at any moment."""
        self.ledger.ask(command_id, thread)
        while True:
            patience = self.chance.choice([0.001, 0.004, 0.016, None])
            try:
                async with asyncio.timeout(patience):
                    self.ledger.answered(command_id, await attempt())
            except TimeoutError:
                self.ledger.interrupted += 1
                if self.chance.random() < GIVEN_UP:
                    return
            except (Unavailable, openai.APIConnectionError, openai.InternalServerError):
                await asyncio.sleep(0.05)
            else:
                return

    async def http(self, name: str) -> None:
        """OpenAI's client; now and then it creates a thread."""
        sdk = openai.AsyncOpenAI(base_url=self.up.base_url, api_key=self.up.api_key, timeout=20, max_retries=2)
        async with sdk:
            i = 0
            while not self.stopping.is_set():
                key = f"{name}-{i}"
                header = {"Idempotency-Key": key}
                thread = self.chance.choice(self.threads)

                async def create(header: dict[str, str] = header, key: str = key) -> str:
                    return (await sdk.beta.threads.create(metadata={"key": key}, extra_headers=header)).id

                async def add(header: dict[str, str] = header, key: str = key, thread: str = thread) -> str:
                    said = {"role": "user", "content": key, "extra_headers": header}
                    made = await sdk.beta.threads.messages.create(thread, **said)
                    assert made.content[0].text.value == key
                    return made.thread_id

                creates = self.chance.random() < 0.1
                await self.persist(key, None if creates else thread, create if creates else add)
                i += 1

    async def nats(self, name: str) -> None:
        """Request and reply."""
        async with client.connect(self.up.nats_url, actor=name) as clew:
            i = 0
            while not self.stopping.is_set():
                key, thread = f"{name}-{i}", self.chance.choice(self.threads)

                async def add(key: str = key, thread: str = thread) -> str:
                    done = await clew.add_message(thread, key, command_id=key)
                    assert done.message.content == (TextPart(TextValue(key)),)
                    return thread

                await self.persist(key, thread, add)
                i += 1

    async def inbox(self, name: str) -> None:
        """Commands left for later. That they were stored is all that is heard of them."""
        async with client.connect(self.up.nats_url, actor=name) as clew:
            i = 0
            while not self.stopping.is_set():
                key, thread = f"{name}-{i:06}", self.chance.choice(self.threads)
                message = NewMessage(role="user", content=key)

                async def leave(key: str = key, thread: str = thread, message: NewMessage = message) -> str:
                    await clew.enqueue(AddMessage(id=key, thread_id=thread, message=message))
                    return thread

                await self.persist(key, thread, leave)
                await asyncio.sleep(0.005)
                i += 1

    async def process(self, name: str) -> None:
        """A program that is killed at any moment and started again with what it had not heard of."""
        i = 0
        while not self.stopping.is_set():
            running = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PROCESS, self.up.nats_url, name, str(i), *self.threads),
                env=environment(), stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert running.stdout is not None
            self._ask_of_process(name, i)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.chance.uniform(0.5, 2.5)):
                    while line := await running.stdout.readline():
                        i = int(line) + 1
                        self.ledger.answered(f"{name}-{i - 1}", self.threads[(i - 1) % len(self.threads)])
                        self._ask_of_process(name, i)
                    raise AssertionError(f"{name} ended by itself with {await running.wait()}")
            running.kill()
            # What it still said before it was killed.
            for line in (await running.stdout.read()).splitlines():
                i = int(line) + 1
                self._ask_of_process(name, i - 1)
                self.ledger.answered(f"{name}-{i - 1}", self.threads[(i - 1) % len(self.threads)])
            self._ask_of_process(name, i)
            await running.wait()
            self.ledger.interrupted += 1

    def _ask_of_process(self, name: str, i: int) -> None:
        self.ledger.ask(f"{name}-{i}", self.threads[i % len(self.threads)])
