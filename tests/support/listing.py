"""Threads kept in plain lists, and questions about them answered by looking at every one: what the index must equal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from hypothesis import strategies as st
from msgspec import Raw, Struct
from msgspec.json import encode
from msgspec.structs import replace

from clew_events.commit import Position, Recorded
from clew_events.content import ExpiresAfter, Message, Provenance, Text, ToolResources
from clew_events.events import (
    Event,
    ExpiryUpdated,
    HoldPlaced,
    HoldReleased,
    ItemAdded,
    ItemDeleted,
    ItemMetadataUpdated,
    ItemReplaced,
    MetadataUpdated,
    ThreadCreated,
    ThreadDeleted,
    ThreadRestored,
    ordinal_of,
)
from clew_events.ids import item_id
from clew_events.list_query import (
    ActorTest,
    Condition,
    ForkTest,
    HoldTest,
    IdTest,
    ListThreads,
    MetadataTest,
    NumberTest,
    TimeTest,
)
from clew_events.objects import HeldThread
from clew_events.subjects import Address, shard_of
from clew_projections.apply import advance
from clew_projections.views import ThreadView, absent
from support.commits import NOON, commit, forked, hash_of

SHARDS = 2
TENANTS = ("default", "other")
PARENTS = ("thread_a", "thread_x")
THREADS = tuple(f"thread_{letter}" for letter in "abcdefgh")
KEYS = ("plan", "n", "")
VALUES = ("gold", "golden", "silver", "1", "2.5", "-10", "1e400", "", "é", "\U0010ffff")
WORDS = ("refund", "policy", "NEAR", "déjà", "x")
ACTORS = ("ada", "bob")
IMPORTED = {"1": 1, "2.5": 2, "-10": -1}
"""How many days before anything happened here the original of a thread with this number was created."""
HOLDS = ("case-1", "case-11", "se-1")
EXPIRIES = {
    "old": ExpiresAfter("created_at", 1),
    "idle": ExpiresAfter("last_active_at", 1),
    "late": ExpiresAfter("created_at", 36_500),
    "never": None,
}


class Kept(Struct, kw_only=True):
    """A thread as it is kept for comparison."""

    view: ThreadView
    created_by: str
    updated_by: str
    texts: dict[int, tuple[datetime, str]] = {}


class World:
    """What happened, commit by commit, and what is there now."""

    def __init__(self) -> None:
        self.threads: dict[tuple[str, str], Kept] = {}
        self.records: list[Recorded] = []
        self._seqs: Counter[int] = Counter()

    def happen(self, happening: tuple[str, str, str, str, int, dict[str, str]]) -> None:
        """One more commit, if it is possible as things are: ``after`` microseconds after the one before."""
        tenant, thread, actor, what, after, payload = happening
        kept = self.threads.get((tenant, thread))
        view = kept.view if kept is not None else absent(tenant, thread)
        events = self._events(view, kept, what, payload)
        if not events:
            return
        before = self.records[-1].commit.at if self.records else NOON
        at = before + timedelta(microseconds=after)
        made = commit(view.n + 1, *events, prev=view.hash, thread=thread, tenant=tenant, actor=actor, at=at)
        shard = shard_of(thread, SHARDS)
        self._seqs[shard] += 1
        record = Recorded(made, Position(shard, self._seqs[shard]), hash_of(made))
        self.records.append(record)
        if kept is None:
            kept = Kept(view=view, created_by=actor, updated_by=actor)
        texts = dict(kept.texts)
        for event in events:
            if isinstance(event, ItemAdded | ItemReplaced):
                texts[ordinal_of(event)] = (at, payload.get("text", ""))
            elif isinstance(event, ItemDeleted):
                texts.pop(max(texts), None)
        self.threads[tenant, thread] = Kept(
            view=advance(view, record), created_by=kept.created_by, updated_by=actor, texts=texts
        )

    def history(self, address: Address, end: int) -> list[Recorded]:
        """A thread's commits among the first ``end`` of all."""
        return [each for each in self.records[:end] if (each.commit.tenant, each.commit.thread) == address]

    def held(self, tenant: str, hold: str | None) -> list[HeldThread]:
        """The threads that have a hold of a name, or any, deleted ones too."""
        return [
            HeldThread(id=thread, holds=kept.view.holds, deleted=kept.view.status == "deleted")
            for (owner, thread), kept in sorted(self.threads.items())
            if owner == tenant and kept.view.holds and (hold is None or hold in kept.view.holds)
        ]

    @property
    def marks(self) -> dict[int, int]:
        """How far each shard is."""
        return dict(self._seqs)

    def answer(self, tenant: str, query: ListThreads) -> list[str]:
        """The ids of all threads that are meant, in order, however many."""
        found: list[tuple[tuple[object, ...], str]] = []
        for (owner, thread), kept in self.threads.items():
            if owner != tenant or kept.view.status != "open":
                continue
            if query.where is not None and not holds(query.where, kept):
                continue
            key: object = kept.view.created_at if query.ordered_by == "created" else kept.view.updated_at
            if query.search is not None:
                times = [(at, ordinal) for ordinal, (at, text) in kept.texts.items() if _says(text, query.search)]
                if not times:
                    continue
                key = (max if query.order == "desc" else min)(times)[0]
            found.append(((key, thread), thread))
        return [thread for _, thread in sorted(found, reverse=query.order == "desc")]

    def _events(  # noqa: C901, PLR0912 - one case a happening
        self, view: ThreadView, kept: Kept | None, what: str, payload: dict[str, str]
    ) -> list[Event]:
        metadata = {key: value for key, value in payload.items() if key in KEYS}
        ordinal = view.last_ordinal + 1
        message = Message(role="user", content=(Text(payload.get("text", "")),), metadata={})
        added = ItemAdded(item=item_id(ordinal, view.id), ordinal=ordinal, message=message)
        body = Raw(encode({"role": "user", "content": payload.get("text", ""), "metadata": metadata}))
        newest = item_id(max(kept.texts), view.id) if kept is not None and kept.texts else None
        if view.n == 0:
            created = _created(view.id, metadata)
            if what == "end":
                created = forked(2, thread=PARENTS[len(payload.get("text", "")) % 2], metadata=metadata)
            return [created, added] if what == "say" else [created]
        if what == "hold":
            hold = payload["hold"]
            return [HoldReleased(hold=hold) if hold in view.holds else HoldPlaced(hold=hold)]
        if view.status == "deleted":
            return [ThreadRestored()] if what == "end" else []
        match what:
            case "say":
                return [added]
            case "item":
                return [ItemAdded(item=added.item, ordinal=ordinal, body=body)]
            case "replace" if newest is not None:
                return [ItemReplaced(item=newest, body=body)]
            case "label" if newest is not None:
                return [ItemMetadataUpdated(item=newest, set=dict.fromkeys(KEYS, payload["hold"]))]
            case "tag":
                return [MetadataUpdated(set=metadata, unset=tuple(set(view.metadata) - set(metadata)))]
            case "unsay" if newest is not None:
                return [ItemDeleted(item=newest)]
            case "end":
                return [ThreadDeleted()]
            case "expire":
                return [ExpiryUpdated(expires_after=EXPIRIES[payload["expires"]])]
            case _:
                return []


def _created(thread: str, metadata: dict[str, str]) -> ThreadCreated:
    created = ThreadCreated(metadata=metadata, tool_resources=ToolResources())
    if (days := IMPORTED.get(metadata.get("n", ""))) is None:
        return created
    return replace(created, imported=Provenance("chatgpt", thread, "0" * 64, NOON - timedelta(days=days)))


def holds(condition: Condition, kept: Kept) -> bool:
    """Whether a condition holds for a thread, by the letter of its documentation."""
    view = kept.view
    parts = [holds(each, kept) for each in condition.every or ()]
    if condition.some is not None:
        parts.append(any(holds(each, kept) for each in condition.some))
    if condition.no is not None:
        parts.append(not holds(condition.no, kept))
    if condition.metadata is not None:
        parts.append(_metadata(condition.metadata, view.metadata))
    for time, moment in (
        (condition.created, view.created_at),
        (condition.recorded, view.recorded_at),
        (condition.updated, view.updated_at),
        (condition.expires_at, view.expires_at),
    ):
        if time is not None:
            parts.append(moment is not None and _time(time, moment))
    if condition.messages is not None:
        parts.append(_bounds(condition.messages, view.messages) and condition.messages.eq in {None, view.messages})
    for actor, name in ((condition.created_by, kept.created_by), (condition.updated_by, kept.updated_by)):
        if actor is not None:
            parts.append(actor.eq in {None, name} and (actor.one_of is None or name in actor.one_of))
    parts.append(condition.hold is None or _hold(condition.hold, view.holds))
    parts.append(condition.forked_from is None or _fork(condition.forked_from, view))
    if condition.id is not None:
        parts.append(view.id.startswith(condition.id.prefix))
    return all(parts)


def _metadata(test: MetadataTest, metadata: dict[str, str]) -> bool:
    values = [value for key, value in metadata.items() if test.key in {None, key}]
    wanted = [test.eq, test.one_of, test.prefix, test.gt, test.gte, test.lt, test.lte]
    positive = test.exists is True or any(each is not None for each in wanted)
    if positive and not any(_value(test, value) for value in values):
        return False
    return not (test.ne is not None and test.ne in values) and not (test.exists is False and values)


def _value(test: MetadataTest, value: str) -> bool:
    if test.eq not in {None, value} or (test.one_of is not None and value not in test.one_of):
        return False
    if test.prefix is not None and not value.startswith(test.prefix):
        return False
    for name in ("gt", "gte", "lt", "lte"):
        bound = getattr(test, name)
        if isinstance(bound, str) and not _compares(name, value, bound):
            return False
        if isinstance(bound, float):
            number = float(value) if re.fullmatch(r"-?\d+(\.\d+)?(e\d+)?", value) else None
            if number is None or abs(number) == float("inf") or not _compares(name, number, bound):
                return False
    return True


def _hold(test: HoldTest, there: tuple[str, ...]) -> bool:
    return (test.eq is None or test.eq in there) and test.exists in {None, bool(there)}


def _fork(test: ForkTest, view: ThreadView) -> bool:
    parent = view.forked_from.thread if view.forked_from else None
    return (test.eq is None or test.eq == parent) and test.exists in {None, parent is not None}


def _time(test: TimeTest, moment: datetime) -> bool:
    seconds = {name: getattr(test, name) for name in ("gt", "gte", "lt", "lte")}
    return all(
        _compares(name, moment, bound if isinstance(bound, datetime) else datetime.fromtimestamp(bound, moment.tzinfo))
        for name, bound in seconds.items()
        if bound is not None
    )


def _bounds(test: NumberTest, number: int) -> bool:
    bounds = {name: getattr(test, name) for name in ("gt", "gte", "lt", "lte")}
    return all(_compares(name, number, bound) for name, bound in bounds.items() if bound is not None)


def _compares(name: str, left: object, right: object) -> bool:
    compare = {"gt": "__gt__", "gte": "__ge__", "lt": "__lt__", "lte": "__le__"}[name]
    return getattr(left, compare)(right) is True


def _says(text: str, search: str) -> bool:
    said = _tokens(text)
    wanted = _tokens(search)
    return bool(wanted) and wanted <= said


def _tokens(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower().replace("é", "e").replace("à", "a")))


_texts = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
_payloads = st.fixed_dictionaries(
    {"text": _texts, "hold": st.sampled_from(HOLDS), "expires": st.sampled_from([*EXPIRIES])},
    optional={key: st.sampled_from(VALUES) for key in KEYS},
)
_values = st.none() | st.sampled_from(VALUES)
_bound = st.none() | st.sampled_from(VALUES) | st.sampled_from((-10.0, 1.0, 2.5, 3.0))
_moments = (
    st.none() | st.integers(-1, 5).map(lambda s: NOON + timedelta(seconds=s)) | st.just(int(NOON.timestamp()) + 2)
)
_dues = _moments.map(lambda at: at + timedelta(days=1) if isinstance(at, datetime) else at)
_few = st.none() | st.integers(0, 3)
_some_actors = st.lists(st.sampled_from((*ACTORS, "nobody")), min_size=1, max_size=2).map(tuple)
_leaves: st.SearchStrategy[Condition] = st.one_of(
    st.builds(
        Condition,
        metadata=st.builds(
            MetadataTest,
            key=st.none() | st.sampled_from((*KEYS, "nowhere")),
            eq=_values,
            ne=_values,
            one_of=st.none() | st.lists(st.sampled_from(VALUES), min_size=1, max_size=3).map(tuple),
            prefix=st.none() | st.sampled_from(("", "gol", "1", "z", "\U0010ffff")),
            exists=st.none() | st.booleans(),
        ),
    ),
    st.builds(Condition, metadata=st.builds(MetadataTest, key=st.sampled_from(KEYS), gt=_bound, lte=_bound)),
    st.builds(Condition, metadata=st.builds(MetadataTest, key=st.sampled_from(KEYS), gte=_bound, lt=_bound)),
    st.builds(Condition, metadata=st.builds(MetadataTest, key=st.sampled_from(KEYS), eq=st.sampled_from(VALUES))),
    st.builds(Condition, created=st.builds(TimeTest, gt=_moments, lte=_moments)),
    st.builds(Condition, recorded=st.builds(TimeTest, gt=_moments, lte=_moments)),
    st.builds(Condition, updated=st.builds(TimeTest, gte=_moments, lt=_moments)),
    st.builds(Condition, expires_at=st.builds(TimeTest, gt=_dues, lte=_dues)),
    st.builds(Condition, messages=st.builds(NumberTest, eq=_few, gt=_few, lte=_few)),
    st.builds(Condition, created_by=st.builds(ActorTest, eq=st.none() | st.sampled_from(ACTORS))),
    st.builds(
        Condition, id=st.builds(IdTest, prefix=st.sampled_from(("thread", "thread_c", "thread_cc", "\U0010ffff")))
    ),
    st.builds(
        Condition,
        hold=st.builds(HoldTest, eq=st.none() | st.sampled_from((*HOLDS, "case-9")), exists=st.none() | st.booleans()),
    ),
    st.builds(
        Condition,
        forked_from=st.builds(
            ForkTest, eq=st.none() | st.sampled_from((*PARENTS, "thread_h")), exists=st.none() | st.booleans()
        ),
    ),
    st.builds(Condition, updated_by=st.builds(ActorTest, one_of=_some_actors)),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(Condition, every=st.lists(inner, max_size=3).map(tuple), no=st.none() | inner),
        st.builds(Condition, some=st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Condition, no=inner),
    ),
    max_leaves=5,
)


def question(draw: st.DrawFn) -> ListThreads:
    """Any question but for its page."""
    search = draw(st.none() | st.sampled_from((*WORDS, "refund policy", "(NEAR", "nothing", '"*-', "REFUND deja")))
    ordered = None if search is not None else draw(st.sampled_from((None, "created", "updated")))
    return ListThreads(
        where=draw(st.none() | conditions),
        search=search,
        order_by=ordered,
        order=draw(st.sampled_from(("asc", "desc"))),
        limit=draw(st.integers(1, 4)),
    )


questions: st.SearchStrategy[ListThreads] = st.composite(question)()


def histories(
    size: int = 60, threads: Sequence[str] = THREADS, *, least: int = 0
) -> st.SearchStrategy[list[tuple[str, str, str, str, int, dict[str, str]]]]:
    """What may happen, in order. What ends a thread restores one that was ended."""
    happenings = st.tuples(
        st.sampled_from(("default", "default", "default", "other")),
        st.sampled_from(threads),
        st.sampled_from(ACTORS),
        st.sampled_from(("say", "item", "label", "replace", "tag", "tag", "unsay", "end", "hold", "expire")),
        st.sampled_from((0, 1, 700_000, 1_000_000)),
        _payloads,
    )
    return st.lists(happenings, min_size=least, max_size=size)


def happened(what: Iterable[tuple[str, str, str, str, int, dict[str, str]]], world: World | None = None) -> World:
    """A world in which that happened."""
    there = world or World()
    for each in what:
        there.happen(each)
    return there
