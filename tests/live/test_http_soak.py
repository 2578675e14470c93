"""Callers who are killed and begin again, over a wire that loses requests and answers: nothing is lost or doubled.

Each goes on for CLEW_SOAK_SECONDS, and until every kind of loss has happened.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest
from openai import AsyncOpenAI

from clew_events.events import ItemAdded
from clew_events.subjects import Address
from clew_services.compose import Clew
from support.api import ACME, served
from support.cutting import Cutting, Fate, cutting
from support.lasting import SECONDS

pytestmark = [
    pytest.mark.soak,
    pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning"),
    pytest.mark.timeout(300 + 2 * SECONDS),
]

CALLERS = 16
FATES: list[Fate] = ["pass"] * 6 + ["never arrives", "caller leaves", "answer is lost"]


class Caller:
    """One that writes numbered lines to a thread of its own, and repeats what it does not know to be done."""

    def __init__(self, number: int, client: AsyncOpenAI, *, keyed: bool) -> None:
        self._number = number
        self._client = client
        self._keyed = keyed
        self._random = random.Random(number)
        self.thread = ""
        self.said: list[str] = []
        self.acknowledged: list[str] = []
        self.killed = 0

    async def live(self, over: Callable[[], bool]) -> None:
        """Write until it is over."""
        threads = self._client.beta.threads
        self.thread = (await threads.create(extra_headers=self._key("thread"))).id
        while not over():
            await self._say(f"{self._number}-{len(self.said)}")

    async def _say(self, text: str) -> None:
        self.said.append(text)
        while True:
            try:
                async with asyncio.timeout(self._random.choice([None, None, 0.02 * self._random.random()])):
                    message = await self._client.beta.threads.messages.create(
                        self.thread, role="user", content=text, extra_headers=self._key(text)
                    )
            except TimeoutError:
                self.killed += 1
                continue
            self.acknowledged.append(message.id)
            return

    def _key(self, what: str) -> dict[str, str]:
        return {"Idempotency-Key": f"soak-{self._number}-{what}"} if self._keyed else {}


async def soaked(clew: Clew, *, keyed: bool) -> tuple[list[Caller], Cutting]:
    """What the callers said, over a wire that lost a third of it."""
    chance = random.Random(1)
    async with (
        served(clew) as url,
        cutting(url, (chance.choice(FATES) for _ in range(200_000))) as wire,
        AsyncOpenAI(api_key=ACME, base_url=f"{wire.url}/v1", max_retries=2) as client,
    ):
        callers = [Caller(number, client, keyed=keyed) for number in range(CALLERS)]
        loop = asyncio.get_running_loop()
        until = loop.time() + SECONDS

        def over() -> bool:
            every_fate = {fate for fate, _ in wire.met} == set(FATES)
            return loop.time() >= until and every_fate and any(caller.killed for caller in callers)

        await asyncio.gather(*(caller.live(over) for caller in callers))
    return callers, wire


async def added(clew: Clew, thread: str) -> list[tuple[str, str]]:
    """The id and the text of every message in a thread's history."""
    commits = [each.commit async for each in clew.histories.after(Address("acme", thread), 0)]
    events = [event for commit in commits for event in commit.events if isinstance(event, ItemAdded)]
    return [(event.item, event.message.content[0].text) for event in events]  # type: ignore[union-attr]


async def test_with_keys_every_line_is_there_once_and_in_order(clew: Clew):
    callers, _ = await soaked(clew, keyed=True)
    for caller in callers:
        found = await added(clew, caller.thread)
        assert [text for _, text in found] == caller.said
        assert [message_id for message_id, _ in found] == caller.acknowledged


async def test_without_keys_nothing_acknowledged_is_missing_and_no_answer_is_given_twice(clew: Clew):
    callers, wire = await soaked(clew, keyed=False)
    extra = 0
    for caller in callers:
        found = await added(clew, caller.thread)
        assert len(set(caller.acknowledged)) == len(caller.said) == len(caller.acknowledged)
        assert set(caller.acknowledged) <= {message_id for message_id, _ in found}
        times = Counter(text for _, text in found)
        assert set(times) == set(caller.said)
        extra += sum(times.values()) - len(caller.said)
    # Only what was cut off after it was sent can be there twice.
    fates = Counter(fate for fate, _ in wire.met)
    assert extra <= fates["answer is lost"] + fates["caller leaves"] + sum(caller.killed for caller in callers)
