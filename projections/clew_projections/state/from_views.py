"""Current state from views: a thread and its items as of the latest acknowledged commit.

A view is a fold up to some commit. The tail of the log, folded on top, gives the current state. So a projector that
lags or does not run makes reads more expensive, and never stale.

A view says where the thread's items are, and an item is folded from its commits, which are read from the log by
sequence. What stands at a sequence never changes, so a page of messages is of the view's moment. Places that are newer
than the view are cut back to it. A missing, old or unreadable page is not believed: the leader is asked, and then the
history is folded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Final

from msgspec import Struct, UnsetType
from msgspec.structs import replace

from clew_events import ids
from clew_events.commit import Commit, Recorded
from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.apply import (
    added_ordinals,
    advance,
    advance_items,
    delete_item,
    deleted_ordinals,
    fold_commits,
    inherit_items,
    item_ordinals,
)
from clew_projections.history.histories import CommitPlaces, Histories, read_about
from clew_projections.kv.bucket import Bucket
from clew_projections.kv.command_ids import SpentIds
from clew_projections.kv.key_names import page_key, thread_key
from clew_projections.kv.position import read_position
from clew_projections.lru_cache import LRUCache
from clew_projections.places import ALL, ItemPlace, Places, decode_page, find_changes, find_place, page_number
from clew_projections.state.item_memory import ItemMemory
from clew_projections.state.state_reads import CurrentThread, OlderCommandIds
from clew_projections.views import (
    ItemView,
    Parent,
    SpentId,
    StoredView,
    ThreadView,
    absent_stored,
    decode_stored,
    parent_of,
    weight_of,
)

SEEN: Final = 1_000_000
"""The most weight of cached views, as last read from the bucket."""
PAGES: Final = 1_000
"""Cached full pages. A view says whether a page is recent enough for it."""

_LOG: Final = logging.getLogger("clew.state")


class _Seen(Struct, frozen=True):
    """A view as it is stored, and without its places."""

    stored: StoredView
    thread: ThreadView


class _Level(Struct, frozen=True, kw_only=True):
    """What is to be read of items in a thread, or in an ancestor of it as of a fork.

    ``known`` are the ``wanted`` ones whose commits, at ``places`` or in the tail, are known. ``inherited`` are read
    from the parent; ``unlisted``: its history alone says what the thread did to them.
    """

    current: CurrentThread
    wanted: set[int]
    known: set[int]
    inherited: set[int]
    places: CommitPlaces
    unlisted: bool


class StateFromViews:
    """Reads current state from one generation's buckets and the log."""

    def __init__(self, threads: Bucket, spent: SpentIds, histories: Histories, lost: Callable[[], int]) -> None:
        """``lost`` counts the lost connections."""
        self._items = ItemMemory(lost)
        self._threads = threads
        self._spent = spent
        self._histories = histories
        self._seen = LRUCache[Address, _Seen](SEEN, lambda seen: weight_of(seen.stored))
        self._pages = LRUCache[tuple[Address, int], Places](PAGES)
        self._forked = LRUCache[tuple[Address, int], int](PAGES)

    async def read_cached(self, address: Address) -> CurrentThread:
        """Read a thread's view from the bucket, which may lag; it is absent if there is no readable view."""
        seen = await self._view(address)
        return CurrentThread(seen.thread, self, seen.stored)

    async def _view(self, address: Address) -> _Seen:
        value = await self._threads.get(thread_key(address))
        stored: StoredView | None = None
        if value is not None and value.body:
            try:
                stored = decode_stored(value.body)
            except Corrupt as fault:
                _LOG.warning("reading thread %s of tenant %s from the log: %s", address.thread, address.tenant, fault)
        if stored is None:
            nothing = absent_stored(*address)
            return _Seen(nothing, nothing.without_places())
        seen = _Seen(stored, stored.without_places())
        self._seen.put(address, seen)
        return seen

    def forget(self, address: Address) -> None:
        """Drop the cached view and the cached items of a thread."""
        self._seen.drop(address)
        self._items.forget(address)

    async def catch_up(self, view: ThreadView) -> ThreadView:
        """Bring a view up to the latest commit: one request if it is current already, or one commit short."""
        address = Address(view.tenant, view.id)
        latest = await self._histories.read_latest(address, view.seq)
        if latest is None:
            return view
        if latest.alone:
            return advance(view, latest.recorded)
        projected = (await self._view(address)).thread
        if projected.n > view.n:
            view = projected
        async for commit in self._histories.after(address, view.seq):
            view = advance(view, commit)
        return view

    async def read_current(self, address: Address) -> CurrentThread:
        """Read a thread at its latest commit.

        The bucket is read only if the cached view is missing or more than one commit behind.
        """
        known = self._seen.get(address)
        seen = known if known is not None else await self._view(address)
        latest = await self._histories.read_latest(address, seen.thread.seq)
        if latest is not None and not latest.alone and known is not None:
            seen = await self._view(address)
            latest = await self._histories.read_latest(address, seen.thread.seq)
        view, tail = seen.thread, list[Recorded]()
        if latest is not None:
            tail = [latest.recorded] if latest.alone else await self._histories.tail(address, view.seq)
        for commit in tail:
            view = advance(view, commit)
        return CurrentThread(view, self, seen.stored, tuple(tail), latest=True)

    async def items(
        self, current: CurrentThread, ordinals: Sequence[int], *, deleted: bool = False
    ) -> dict[int, ItemView]:
        """Read items by ordinal as of ``current``, deleted ones if asked for; others are left out."""
        if not current.latest:
            return await self._read_items(current, ordinals, deleted=deleted)
        address, moment = Address(current.thread.tenant, current.thread.id), self._items.moment
        places = await self._lasting_places(address, current, ordinals)
        items = self._items.recall(address, places)
        if missing := [ordinal for ordinal in ordinals if ordinal not in items]:
            views = await self._read_items(current, missing, deleted=deleted)
            self._items.remember(address, places, views, moment)
            items |= views
        return items

    async def _lasting_places(
        self, address: Address, current: CurrentThread, ordinals: Sequence[int]
    ) -> dict[int, tuple[int, ...]]:
        """Find the commits of those items that are neither inherited, nor deleted, nor changed by the tail."""
        stored, before = current.stored, max(current.thread.inherited, current.thread.cleared)
        own = [ordinal for ordinal in ordinals if ordinal > before]
        changed = {ordinal for each in current.tail for ordinal in item_ordinals(each.commit)}
        found: dict[int, tuple[int, ...]] = {}
        for ordinal, run in (await self._runs(address, stored, own)).items():
            place = _find(run, ordinal, stored)
            if place.seqs and not place.deleted and ordinal not in changed:
                found[ordinal] = place.seqs
        return found

    async def _read_items(
        self, current: CurrentThread, ordinals: Sequence[int], *, deleted: bool
    ) -> dict[int, ItemView]:
        if any(ordinal <= current.thread.inherited for ordinal in ordinals):
            # A thread does not say what was erased in those that it inherits from.
            await self._histories.refresh()
        levels = [level := await self._level(current, ordinals, deleted=deleted)]
        while level.inherited:
            source = await self._forked_at(level.current.thread)
            while max(level.inherited) <= source.thread.inherited and _changes_nothing(source):
                source = await self._forked_at(source.thread)
            levels.append(level := await self._level(source, level.inherited, deleted=deleted))
        # Those of all ancestors are read together.
        wanted = frozenset(ordinals)
        reads = await self._histories.read_each(
            [level.places for level in levels], lambda stored, shard: read_about(stored, shard, wanted)
        )
        views: dict[int, ItemView] = {}
        for level, commits in zip(reversed(levels), reversed(reads), strict=True):
            if not _changes_nothing(level.current):
                views = inherit_items(views, level.current.thread.id)
            views = await self._fold(level, commits, views, deleted=deleted)
        shown = {ordinal: view for ordinal, view in views.items() if deleted or not view.gone}
        return inherit_items(shown, current.thread.id) if len(levels) > 1 else shown

    async def _level(self, current: CurrentThread, ordinals: Collection[int], *, deleted: bool) -> _Level:
        """Find where items are, of those that a thread has: in its own commits, and in those of its ancestors."""
        address, stored = Address(current.thread.tenant, current.thread.id), current.stored
        wanted = {ordinal for ordinal in ordinals if 1 <= ordinal <= current.thread.last_ordinal}
        inherited = current.thread.inherited
        own = {ordinal for ordinal in wanted if ordinal > inherited} if inherited else wanted
        runs = await self._runs(address, stored, own)
        overlay = stored.overlay if stored.overlay and stored.overlay.seq else _NOTHING
        places = {ordinal: _find(run, ordinal, stored) for ordinal, run in runs.items()}
        if overlay is not _NOTHING or stored.cleared:
            places |= {ordinal: _find_overlaid(overlay, ordinal, stored) for ordinal in wanted - own}
        if not deleted:
            wanted = wanted - {ordinal for ordinal, place in places.items() if place.deleted}
        known = {ordinal: place.seqs for ordinal, place in places.items() if place.seqs and ordinal in wanted}
        large = {seq for run in (overlay, *{run.first: run for run in runs.values()}.values()) for seq in run.large}
        seqs = sorted(set().union(*known.values()))
        return _Level(
            current=current,
            wanted=wanted,
            known=known.keys() | {ordinal for ordinal in wanted & own if ordinal > stored.last_ordinal},
            inherited=(wanted - own).difference(overlay.scattered),
            places=CommitPlaces(address, seqs, frozenset(seqs) - large),
            unlisted=overlay.scattered == ALL,
        )

    async def _fold(
        self, level: _Level, commits: list[Commit] | Corrupt, begun: dict[int, ItemView], *, deleted: bool
    ) -> dict[int, ItemView]:
        """Fold items of a thread, or of an ancestor as of a fork, from what it inherits and from its own commits."""
        current, wanted = level.current, level.wanted - (level.inherited - begun.keys())
        address, views = level.places.address, dict[int, ItemView]()
        try:
            if isinstance(commits, Corrupt):
                raise commits
            if level.unlisted:
                async for recorded in self._histories.after(address, 0):
                    if recorded.position.seq > current.stored.seq:
                        break
                    begun |= advance_items(begun, recorded.commit, level.inherited)
            tail = [each.commit for each in current.tail]
            views = fold_commits(wanted & (level.known | begun.keys()), [*commits, *tail], begun)
        except Corrupt as fault:
            # The places may be wrong. If the log is, folding the history says so.
            _LOG.warning("reading messages of thread %s of tenant %s from its history: %s", *reversed(address), fault)
        if missing := wanted - views.keys():
            views |= await self._histories.items_at(address, missing, current.thread.n)
        cleared = current.thread.cleared
        views = {ordinal: delete_item(view) if ordinal <= cleared else view for ordinal, view in views.items()}
        # A fork may have replaced what is erased.
        return {ordinal: view for ordinal, view in views.items() if deleted or not view.deleted}

    async def _forked_at(self, fork: ThreadView) -> CurrentThread:
        """Read the thread that another was forked from, as it was then."""
        forked, parent = fork.forked_from, parent_of(fork)
        if parent is None or isinstance(forked, UnsetType):
            raise AssertionError("only a fork inherits")
        seen = self._seen.get(parent.address)
        if seen is None or seen.thread.n < parent.n:
            seen = await self._view(parent.address)
        stored, tail = seen.stored, tuple[Recorded, ...]()
        if stored.n < parent.n:
            later = await self._histories.tail(parent.address, stored.seq)
            tail = tuple(each for each in later if each.commit.n <= parent.n)
        else:
            stored = replace(stored, n=parent.n, seq=await self._seq_of(parent, seen.thread), cleared=forked.cleared)
        view = seen.thread
        for recorded in tail:
            view = advance(view, recorded)
        if view.n < parent.n:
            raise Corrupt(
                f"thread {fork.id} was forked at commit {parent.n} of thread {forked.thread}, which ends before it",
                code="wrong_parent",
            )
        view = replace(view, n=parent.n, seq=stored.seq, cleared=forked.cleared, last_ordinal=forked.ordinal)
        return CurrentThread(view, self, stored, tail)

    async def _seq_of(self, parent: Parent, view: ThreadView) -> int:
        """Return the sequence of the commit that a fork was made at; it may have moved since."""
        back = view.n - parent.n
        if back < len(view.commands):
            return view.commands[-1 - back].seq
        key = parent.address, parent.n
        if (seq := self._forked.get(key)) is None:
            seq = await self._histories.find_parent(parent)
            self._forked.put(key, seq)
        return seq

    async def count(self, current: CurrentThread, ordinals: range) -> int:
        """Count the items that exist among some ordinals, by what is stored of their places."""
        deleted = await self._deleted(current, ordinals)
        return len(ordinals) - len(deleted) if deleted is not None else len(await self.items(current, ordinals))

    async def _deleted(self, current: CurrentThread, ordinals: range) -> set[int] | None:
        """Return which of some ordinals were deleted, but for those that were cleared; ``None`` if that is not said."""
        thread, stored = current.thread, current.stored
        own = range(max(ordinals.start, thread.inherited + 1), min(ordinals.stop, stored.last_ordinal + 1))
        runs = await self._runs(Address(thread.tenant, thread.id), stored, own)
        overlay = stored.overlay or _NOTHING
        if len(runs) < len(own) or overlay.scattered:
            return None
        deleted = {ordinal for ordinal, run in runs.items() if (find_place(run, ordinal, stored.seq) or _GONE).deleted}
        if inherited := range(ordinals.start, min(ordinals.stop, thread.inherited + 1)):
            before = await self._deleted(await self._forked_at(thread), inherited)
            if before is None:
                return None
            here = {ordinal for ordinal, seq in overlay.deleted.items() if ordinal in inherited and seq <= stored.seq}
            deleted |= before | here
        for recorded in current.tail:
            deleted.update(deleted_ordinals(recorded.commit) & set(ordinals))
        return deleted

    async def find_items(self, current: CurrentThread, items: Collection[str]) -> set[int]:
        """Find the ordinals of the items that were added under some ids, and maybe of others.

        An id that Clew made carries the ordinal. Others are looked for by their fingerprints.
        """
        stored, address = current.stored, Address(current.thread.tenant, current.thread.id)
        carried = {ids.ordinal_of(item) for item in items}
        found = {ordinal for ordinal in carried if 1 <= ordinal <= current.thread.last_ordinal}
        for commit in current.tail:
            found |= added_ordinals(commit.commit, items)
        if current.thread.inherited:
            theirs = await self.find_items(await self._forked_at(current.thread), items)
            found |= {ordinal for ordinal in theirs if ordinal <= current.thread.inherited}
        own = stored.own or ()
        pages = await self._full_pages(address, stored, own) if own else {}
        if len(pages) < len(own):
            return found | await self._histories.find_items(address, items, current.thread.n)
        for print_ in map(ids.fingerprint, items):
            for run in (stored.recent, *pages.values()):
                found.update(run.own.get(print_, ()))
        return found

    async def _runs(self, address: Address, view: StoredView, ordinals: Collection[int]) -> dict[int, Places]:
        """Return for each ordinal of a view the run that it is in; ordinals of pages that are lost are left out."""
        by_number: dict[int, list[int]] = {}
        recent, last, inherited = view.recent, view.last_ordinal, view.inherited
        if ordinals and min(ordinals) >= recent.first:
            return {ordinal: recent for ordinal in ordinals if ordinal <= last}
        for ordinal in ordinals:
            if ordinal <= last:
                by_number.setdefault(page_number(ordinal, inherited), []).append(ordinal)
        full = by_number.keys() - {len(view.pages)}
        pages = {len(view.pages): recent}
        if full:
            pages |= await self._full_pages(address, view, full)
        return {ordinal: pages[number] for number, some in by_number.items() if number in pages for ordinal in some}

    async def _full_pages(self, address: Address, view: StoredView, numbers: Collection[int]) -> dict[int, Places]:
        """Read pages that a view names, at least as of the view; those that are missing or older are left out."""
        pages: dict[int, Places] = {}

        def take(number: int, page: Places | None) -> None:
            if page is not None and page.seq >= view.pages[number]:
                pages[number] = page

        for number in numbers:
            take(number, self._pages.get((address, number)))
        # A lagging replica may not have it yet.
        for read in (self._threads.get_many, self._threads.latest_of):
            keys = {page_key(address, number): number for number in numbers if number not in pages}
            for key, value in (await read(keys)).items() if keys else ():
                take(keys[key], _readable(value.body, keys[key], view.inherited))
            for number in keys.values() & pages.keys():
                self._pages.put((address, number), pages[number])
        return pages

    async def read_older_ids(self, address: Address) -> OlderCommandIds:
        """Read the marks of the stored command ids: at least those of all commits up to the returned sequence."""
        view = (await self._view(address)).thread
        position = await read_position((self._threads, self._spent.bucket), self._histories.shard(address))
        return OlderCommandIds(await self._spent.marks(address), min(view.seq, position))

    async def find_spent(self, address: Address, command_id: str) -> SpentId | None:
        """Return what is stored about a command id; ``None`` if nothing is."""
        return await self._spent.find(address, command_id)


def _changes_nothing(fork: CurrentThread) -> bool:
    """Whether a fork shows what it inherits as its parent does."""
    return not (fork.tail or (fork.stored.overlay and fork.stored.overlay.seq))


_GONE: Final = ItemPlace(deleted=True)
_NOTHING: Final = Places()


def _find(run: Places, ordinal: int, view: StoredView) -> ItemPlace:
    """Return where an item is, as of a view; nowhere if the run does not say."""
    if run.seq <= view.seq and not (ordinal in run.changed or ordinal in run.deleted or ordinal in run.scattered):
        return ItemPlace((run.added[ordinal - run.first],), deleted=ordinal <= view.cleared)
    place = find_place(run, ordinal, view.seq) or ItemPlace()
    return ItemPlace(place.seqs, deleted=True) if ordinal <= view.cleared else place


def _find_overlaid(overlay: Places, ordinal: int, view: StoredView) -> ItemPlace:
    """Return the commits of a fork about an item that it inherits, as of a view."""
    place = find_changes(overlay, ordinal, view.seq)
    return ItemPlace(place.seqs, deleted=True) if ordinal <= view.cleared else place


def _readable(body: bytes, number: int, inherited: int) -> Places | None:
    try:
        return decode_page(body, number, inherited) if body else None
    except Corrupt:
        return None
