"""Lives of threads that are forked, changed, erased and held at random, beside a plain model of what each must show."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec import Raw, UnsetType

from clew_events.commands import (
    AddItems,
    ClearItems,
    Command,
    CreateThread,
    DeleteItem,
    DeleteThread,
    EraseItem,
    EraseThread,
    ForkThread,
    PlaceHold,
    PopItem,
    ReleaseHold,
    ReplaceItem,
    RestoreThread,
)
from clew_events.errors import Forked, Held
from clew_events.queries import ListItems, ListItemsAt
from clew_events.subjects import Address
from clew_projections import places
from clew_services.compose import Clew
from support.truth import buckets_equal_the_log, projecting

STEPS = 150
TENANT = "default"


class Content(msgspec.Struct):
    """What was written about an item in one thread, until it is erased there."""

    thread: str
    ordinal: int
    text: int
    erased: bool = False


class Life(msgspec.Struct, kw_only=True):
    """A thread: by ordinal what its items say, now and after each commit of its own; and what it begins with."""

    id: str
    parent: str | None = None
    cleared: int = 0
    ordinal: int = 0
    items: dict[int, Content]
    ids: dict[int, str]
    then: list[dict[int, Content]]
    held: bool = False
    status: str = "open"


class World:
    """The threads as they must be, and the steps that make them so."""

    def __init__(self, clew: Clew, chance: Random) -> None:
        self.clew = clew
        self.chance = chance
        self.lives: dict[str, Life] = {}
        self.texts = 0

    async def say(self, command: Command) -> Any:
        return await self.clew.handler.handle(TENANT, command)

    def note(self) -> Raw:
        self.texts += 1
        return Raw(json.dumps({"type": "note", "text": self.texts}).encode())

    async def create(self) -> None:
        thread = f"thread_{len(self.lives)}"
        self.lives[thread] = Life(id=thread, items={}, ids={}, then=[{}])
        await self.say(CreateThread(thread_id=thread))

    async def step(self) -> None:
        alive = [life for life in self.lives.values() if life.status == "open"]
        if not alive or self.chance.random() < 0.05:
            await self.create()
            return
        life = self.chance.choice(alive[-3:])
        name = self.chance.choice(
            ["add"] * 4 + ["fork"] * 2 + ["replace", "delete", "pop"] * 4 + ["erase_item"] * 2
            + ["clear", "hold", "erase", "remove"]
        )  # fmt: skip
        await getattr(self, name)(life)

    def wrote(self, life: Life) -> None:
        life.then.append(dict(life.items))

    async def add(self, life: Life) -> None:
        notes = tuple(self.note() for _ in range(self.chance.choice([1, 1, 2, 6])))
        done = await self.say(AddItems(thread_id=life.id, items=notes))
        for place, added in enumerate(done.items):
            ordinal = max([life.ordinal, *life.ids]) + 1
            life.ids[ordinal] = json.loads(bytes(added))["id"]
            life.items[ordinal] = Content(life.id, ordinal, self.texts - len(notes) + 1 + place)
        self.wrote(life)

    async def fork(self, life: Life) -> None:
        how = self.chance.choice(["now", "version", "item"])
        at: int | str | None = None
        items, n = dict(life.items), len(life.then)
        cleared, ordinal = life.cleared, max([life.ordinal, *life.ids])
        if how == "version":
            n = at = self.chance.randint(1, n)
            items = dict(life.then[n - 1])
        shown = [each for each, content in life.items.items() if not content.erased]
        if how == "item" and shown:
            ordinal = self.chance.choice(shown)
            at = life.ids[ordinal]
            items = {each: content for each, content in items.items() if each <= ordinal}
        done = await self.say(ForkThread(parent=life.id, at=at, thread_id=f"thread_{len(self.lives)}"))
        view = (await self.clew.current.read_current(Address(TENANT, done.thread.id))).thread
        forked = view.forked_from
        assert not isinstance(forked, UnsetType)
        assert (forked.thread, forked.n, forked.items) == (life.id, n, len(items))
        if how == "now" or (how == "item" and at is not None):
            assert (forked.ordinal, forked.cleared) == (ordinal, min(cleared, ordinal))
        self.lives[view.id] = Life(
            id=view.id,
            parent=life.id,
            cleared=forked.cleared,
            ordinal=forked.ordinal,
            items=items,
            ids={each: item for each, item in life.ids.items() if each <= forked.ordinal},
            then=[dict(items)],
        )

    def some(self, life: Life) -> int | None:
        return self.chance.choice([each for each, content in life.items.items() if not content.erased] or [None])

    async def replace(self, life: Life) -> None:
        if (ordinal := self.some(life)) is not None:
            await self.say(ReplaceItem(thread_id=life.id, item_id=life.ids[ordinal], item=self.note()))
            life.items[ordinal] = Content(life.id, ordinal, self.texts)
            self.wrote(life)

    async def delete(self, life: Life) -> None:
        if (ordinal := self.some(life)) is not None:
            await self.say(DeleteItem(thread_id=life.id, item_id=life.ids[ordinal]))
            del life.items[ordinal]
            self.wrote(life)

    async def pop(self, life: Life) -> None:
        shown = [each for each, content in life.items.items() if not content.erased]
        await self.say(PopItem(thread_id=life.id))
        if shown:
            del life.items[max(shown)]
            self.wrote(life)

    async def clear(self, life: Life) -> None:
        if life.items and self.chance.random() < 0.3:
            await self.say(ClearItems(thread_id=life.id))
            life.items, life.cleared = {}, max([life.ordinal, *life.ids])
            self.wrote(life)

    async def remove(self, life: Life) -> None:
        await self.say(DeleteThread(thread_id=life.id))
        self.wrote(life)
        if self.chance.random() < 0.7:
            await self.say(RestoreThread(thread_id=life.id))
            self.wrote(life)
        else:
            life.status = "deleted"

    async def hold(self, life: Life) -> None:
        kind = ReleaseHold if life.held else PlaceHold
        await self.say(kind(thread_id=life.id, hold="case-7"))
        life.held = not life.held
        self.wrote(life)

    def showing(self, life: Life, ordinals: set[int]) -> list[Life]:
        """The forks of a thread, and theirs, that begin with one of some items."""
        found: list[Life] = []
        for fork in [each for each in self.lives.values() if each.parent == life.id]:
            shown = {each for each in ordinals if fork.cleared < each <= fork.ordinal}
            if shown:
                found += [*([fork] if fork.status != "erased" else []), *self.showing(fork, shown)]
        return found

    async def erase_item(self, life: Life) -> None:
        if (ordinal := self.some(life)) is None:
            return
        command = EraseItem(thread_id=life.id, item_id=life.ids[ordinal])
        if ordinal <= life.ordinal and life.items[ordinal].thread != life.id:
            if not life.held:
                with pytest.raises(Forked, match="inherited"):
                    await self.say(msgspec.structs.replace(command, forks=True))
            return
        if await self.refused(life, command, {ordinal}):
            return
        del life.items[ordinal]
        self.wrote(life)
        for other in self.lives.values():
            self.lose(other, life.id, ordinal)

    async def erase(self, life: Life) -> None:
        if self.chance.random() < 0.4 and not await self.refused(
            life, EraseThread(thread_id=life.id), set(range(1, max([life.ordinal, *life.ids]) + 1))
        ):
            life.status, life.items = "erased", {}
            for other in self.lives.values():
                self.lose(other, life.id, None)

    async def refused(self, life: Life, command: EraseItem | EraseThread, ordinals: set[int]) -> bool:
        """Erase, if that is possible as things are; whether it is not."""
        forks = self.showing(life, ordinals)
        if life.held or any(fork.held for fork in forks):
            with pytest.raises(Held):
                await self.say(msgspec.structs.replace(command, forks=True))
            return True
        if forks:
            with pytest.raises(Forked, match=f"shown by {len(forks)} forks"):
                await self.say(command)
        await self.say(msgspec.structs.replace(command, forks=True))
        return False

    def lose(self, life: Life, thread: str, ordinal: int | None) -> None:
        for items in (*life.then, life.items):
            for content in items.values():
                if content.thread == thread and ordinal in {None, content.ordinal}:
                    content.erased = True

    async def check(self) -> None:
        """Read each thread as it is, and as of one of its versions."""
        for life in self.lives.values():
            if life.status == "open":
                query = ListItems(thread_id=life.id, order="asc", limit=100)
                found = (await self.clew.reader.answer(TENANT, query)).items  # type: ignore[union-attr]
                shown = [content.text for _, content in sorted(life.items.items()) if not content.erased]
                assert [json.loads(bytes(item))["text"] for item in found.data] == shown, life.id
            view = (await self.clew.current.read_current(Address(TENANT, life.id))).thread
            assert (view.status, view.messages) == (life.status, len(life.items)), life.id
            if life.status == "open":
                await self.check_as_of(life, self.chance.randint(1, len(life.then)))

    async def check_as_of(self, life: Life, n: int) -> None:
        history = [each.commit async for each in self.clew.histories.after(Address(TENANT, life.id), 0)]
        if any(commit.command == "DeleteThread" for commit in history[:n]):
            return
        query = ListItemsAt(thread_id=life.id, as_of=n, order="asc", limit=100)
        found = (await self.clew.reader.answer(TENANT, query)).items  # type: ignore[union-attr]
        shown = [None if content.erased else content.text for _, content in sorted(life.then[n - 1].items())]
        assert [json.loads(bytes(item)).get("text") for item in found.data] == shown, (life.id, n)


@pytest.mark.parametrize("views", [True, False], ids=["views", "log"])
@pytest.mark.parametrize("seed", range(2))
async def test_forks_show_what_they_must_whatever_happens(clew: Clew, monkeypatch, seed: int, views: bool) -> None:
    monkeypatch.setattr(places, "PAGE", 4)
    monkeypatch.setattr(places, "MOST_DELETED", (1, 1000)[seed])
    world = World(clew, Random(seed))
    async with AsyncExitStack() as stack:
        if views:
            await stack.enter_async_context(projecting(clew))
        for number in range(STEPS):
            await world.step()
            if number % 10 == 9:
                await world.check()
    if views:
        await buckets_equal_the_log(clew)
