"""Google ADK: sessions, their events and their state in Clew. Install ``clew[adk]``.

::

    async with connect("nats://127.0.0.1:4222", actor="assistant") as clew:
        runner = Runner(agent=agent, app_name="shop", session_service=ClewSessionService(clew))

Each session is a conversation, and each event an item of it. State goes with the events: an event's item has the
session's whole state where as much was stored since the last one that has it. So a state is found by reading little
more than its own length, and storing it takes at most as much as the events do.

State of ``app:`` and of ``user:`` is in conversations of its own, written before the session's. Where one of them was
deleted or erased, the state begins anew in another.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec
from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.sessions.base_session_service import BaseSessionService, GetSessionConfig, ListSessionsResponse
from google.adk.sessions.session import Session
from google.adk.sessions.state import State
from msgspec import UNSET, Raw, Struct, UnsetType
from pydantic import PrivateAttr
from pydantic_core import to_json

from clew_adapters.conversation import PAGE, OwnCommits, conversation_id, create
from clew_events.client import Clew
from clew_events.errors import AlreadyExists, Conflict, IdReused, NotFound
from clew_events.list_query import Condition

_PREFIXES: Final = {"app": State.APP_PREFIX, "user": State.USER_PREFIX}
_FIRST: Final = "session"
"""The id of a session's first item, which has the state that it began with."""
_AT_ONCE: Final = 16
"""How many sessions of a list are read at the same time."""

Values = dict[str, Any]


class Place(Struct, frozen=True):
    """Where a session object is in its conversation: at version ``n``, where the newest item has the id ``tail``.

    ``state`` is what is stored of the session's own state, and ``since`` the bytes stored since it was stored whole.
    """

    n: int
    tail: str
    since: int
    state: Values


class StoredSession(Session):
    """A session that knows its place, so that an event is added to what its holder has seen, or not at all."""

    _place: Place | None = PrivateAttr(default=None)

    @property
    def place(self) -> Place | None:
        """Where it is; None where that is not known."""
        return self._place

    def move(self, place: Place | None) -> None:
        """Say where it is from now on."""
        self._place = place


class _Actions(Struct):
    state_delta: Raw = Raw(b"{}")


class _Event(Struct):
    timestamp: float = 0.0
    actions: _Actions = msgspec.field(default_factory=_Actions)


class _Item(Struct):
    """What an item has: the event, or what changes the state of an app or a user; and the state after it, if at all."""

    id: str
    event: Raw | UnsetType = UNSET
    delta: Raw | UnsetType = UNSET
    state: Raw | UnsetType = UNSET
    time: float = 0.0


_ITEM: Final = msgspec.json.Decoder(_Item)
_EVENT: Final = msgspec.json.Decoder(_Event)


class _Reading(Struct, frozen=True):
    """The end of a conversation: the place there, the newest events, and when the last one was."""

    place: Place
    events: list[Event]
    time: float


class ClewSessionService(BaseSessionService):
    """Keeps sessions in Clew, in one tenant.

    ``id_key`` is a secret from which, with the names of app, user and session, the ids of conversations follow. Give
    one, always the same, where a user's id is personal: ids stay in the log when all else is erased.

    Two programs that add to one session at a time do so one after the other, or the second gets ADK's
    ``StaleSessionError``. An event that is added again is stored once. A session that was deleted does not come back
    under its id.
    """

    def __init__(self, clew: Clew, *, id_key: bytes = b"") -> None:
        self._clew = clew
        self._key = id_key
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._commits = OwnCommits()

    async def create_session(
        self, *, app_name: str, user_id: str, state: Values | None = None, session_id: str | None = None
    ) -> Session:
        """Create a session. Blanks around its id are left out; without one it gets one.

        Raises:
            AlreadyExistsError: there is or was a session of that id.
        """
        session_id = (session_id or "").strip() or str(uuid.uuid4())
        thread = self._id("session", app_name, user_id, session_id)
        scopes = _scopes(json.loads(to_json(state or {}, fallback=str, inf_nan_mode="null")))
        own, began = scopes.pop("session"), time.time()
        exists = AlreadyExistsError(f"Session with id {session_id} already exists.")
        if any(scopes.values()):
            if await self._was_there(thread):
                raise exists
            await self._write_scopes(app_name, user_id, scopes, thread)
        first = {"id": _FIRST, "type": "adk_session", "time": began, "state": own}
        metadata = {"adk": "session", "app": app_name, "user": user_id, "session": session_id}
        try:
            done = await self._clew.create_thread(thread_id=thread, items=[first], metadata=metadata)
        except AlreadyExists as fault:
            raise exists from fault
        self._commits.add(done.position)
        shared = await self._shared_state(app_name, user_id)
        return _session(metadata, own | shared, [], began, Place(done.n, _FIRST, 0, own))

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        """A session with its events, or the newest of them; None if there is no such session."""
        session_id = session_id.strip()
        wanted = config.num_recent_events if config is not None else None
        reading, shared = await asyncio.gather(
            self._read(
                self._id("session", app_name, user_id, session_id),
                wanted=wanted,
                since=config.after_timestamp if config is not None else None,
            ),
            self._shared_state(app_name, user_id),
        )
        if reading is None:
            return None
        names = {"app": app_name, "user": user_id, "session": session_id}
        return _session(names, reading.place.state | shared, reading.events, reading.time, reading.place)

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """The sessions of a user, or of all users, without their events; the one with the newest event last."""
        tests = [Condition.equal("adk", "session"), Condition.equal("app", app_name)]
        if user_id is not None:
            tests.append(Condition.equal("user", user_id))
        where = Condition(every=tuple(tests))
        listing = self._clew.iter_threads(kind="conversation", where=where, at_least=self._commits.at_least)
        found = [thread async for thread in listing]
        turn, users = asyncio.Semaphore(_AT_ONCE), {thread.metadata["user"] for thread in found}

        async def read(thread: str) -> _Reading | None:
            async with turn:
                return await self._read(thread, wanted=0)

        async def share(user: str) -> Values:
            async with turn:
                return await self._scope_state("user", app_name, user)

        readings = await asyncio.gather(*(read(thread.id) for thread in found))
        of_app, *of_users = await asyncio.gather(self._scope_state("app", app_name), *map(share, users))
        shared = {user: _join(of_app, of_user) for user, of_user in zip(users, of_users, strict=True)}
        sessions = [
            _session(
                thread.metadata, reading.place.state | shared[thread.metadata["user"]], [], reading.time, reading.place
            )
            for thread, reading in zip(found, readings, strict=True)
            if reading is not None
        ]
        return ListSessionsResponse(sessions=sorted(sessions, key=lambda s: (s.last_update_time, s.user_id, s.id)))

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Delete a session, if it is there. Clew keeps its history until it is erased."""
        try:
            done = await self._clew.delete_thread(self._id("session", app_name, user_id, session_id.strip()))
        except NotFound:
            return
        self._commits.add(done.position)

    async def get_user_state(self, *, app_name: str, user_id: str) -> Values:
        """What is stored under ``user:``, without that prefix."""
        return await self._scope_state("user", app_name, user_id)

    async def append_event(self, session: Session, event: Event) -> Event:
        """Add an event to a session, with the state that it sets. A partial one is not stored.

        Raises:
            StaleSessionError: others added to the session since ``session`` was read.
            SessionNotFoundError: there is no such session, or not any more.
        """
        if event.partial:
            return event
        self._apply_temp_state(session, event)
        event = self._trim_temp_delta_state(event)
        thread = self._id("session", session.app_name, session.user_id, session.id)
        async with self._locks.setdefault(thread, asyncio.Lock()):
            if any(known.id == event.id and known == event for known in session.events):
                return event
            try:
                place = await self._append(thread, session, event)
            except NotFound as fault:
                raise SessionNotFoundError(f"Session {session.id} not found.") from fault
            if isinstance(session, StoredSession):
                session.move(place)
            await super().append_event(session, event)
            session.last_update_time = event.timestamp
        return event

    async def _append(self, thread: str, session: Session, event: Event) -> Place | None:
        """Add an event. The place after it; None where it was added before, and it is not known what came after it."""
        body = event.model_dump_json(exclude_none=True).encode()
        scopes = _scopes(_delta_of(body))
        own, command = scopes.pop("session"), _key(thread, body)
        place = session.place if isinstance(session, StoredSession) else None
        if place is None or any(scopes.values()):
            place, added = await self._check(thread, session, place, body)
            if added:
                return place
            await self._write_scopes(session.app_name, session.user_id, scopes, command)
        while True:
            state = place.state | own
            item, since = _item("adk_event", "event", body, state, place.since)
            try:
                done = await self._clew.add_items(thread, [item], expected_version=place.n, command_id=command)
            except Conflict:
                place, added = await self._check(thread, session, place, body)
                if added:
                    return place
            except IdReused:
                return None
            else:
                self._commits.add(done.position)
                return Place(done.n, done.items.ids[0], since, state)

    async def _check(self, thread: str, session: Session, known: Place | None, body: bytes) -> tuple[Place, bool]:
        """The place at the end of a session, and whether the event is there already, as its newest item.

        Raises:
            StaleSessionError: the newest item is another one than the newest that the session object has.
        """
        reading = await self._read(thread, wanted=1)
        if reading is None:
            raise SessionNotFoundError(f"Session {session.id} not found.")
        if reading.events == [Event.model_validate_json(body)]:
            return reading.place, True
        newest, seen = ([event.id for event in events[-1:]] for events in (reading.events, session.events))
        if newest != seen if known is None else known.tail != reading.place.tail:
            raise StaleSessionError(
                f"Session {session.id} has been modified in storage since it was loaded: load it again."
            )
        return reading.place, False

    async def _write_scopes(self, app: str, user: str, scopes: Mapping[str, Values], key: str) -> None:
        for scope, delta in scopes.items():
            if delta:
                await self._write_scope(scope, (app,) if scope == "app" else (app, user), delta, key)

    async def _write_scope(self, scope: str, names: tuple[str, ...], delta: Values, key: str) -> None:
        """Change the state of an app or of a user, once for a key, whoever changes it meanwhile."""
        body = to_json(delta)
        while True:
            thread, reading = await self._find_scope(scope, *names)
            if reading is None:
                await create(self._clew, thread, {"adk": scope, **dict(zip(("app", "user"), names, strict=False))})
                continue
            place = reading.place
            item, _ = _item("adk_state", "delta", body, place.state | delta, place.since)
            try:
                await self._clew.add_items(
                    thread, [item], expected_version=place.n, command_id=_key(key, scope.encode(), body)
                )
            except Conflict:
                continue
            except IdReused:
                return  # It was changed before, over another state.
            return

    async def _shared_state(self, app: str, user: str) -> Values:
        of_app, of_user = await asyncio.gather(self._scope_state("app", app), self._scope_state("user", app, user))
        return _join(of_app, of_user)

    async def _scope_state(self, scope: str, *names: str) -> Values:
        _, reading = await self._find_scope(scope, *names)
        return {} if reading is None else reading.place.state

    async def _find_scope(self, scope: str, *names: str) -> tuple[str, _Reading | None]:
        """The conversation with the state of an app or of a user: the first that was not deleted or erased."""
        thread, gone = self._id(scope, *names), 0
        while (reading := await self._read(thread, wanted=0)) is None and await self._was_there(thread):
            gone += 1
            thread = self._id(scope, *names, str(gone))
        return thread, reading

    async def _read(self, thread: str, *, wanted: int | None, since: float | None = None) -> _Reading | None:
        """Read a conversation from its end, until there is its state, and the ``wanted`` newest events or all.

        With ``since``, there are no more events before the newest one that is older.
        """
        events: list[Event] = []
        deltas: list[Values] = []
        state: Values | None = None
        n, tail, size, last, after = 0, "", 0, 0.0, None
        enough = wanted == 0
        limit = PAGE if wanted is None else min(PAGE, max(wanted, 1))
        while True:
            try:
                page = await self._clew.list_items(thread, limit=limit, order="desc", after=after)
            except NotFound:
                return None
            n = n or page.n
            for raw in page.items.data:
                item = _ITEM.decode(raw)
                change = item.event or item.delta or b""
                at = _EVENT.decode(item.event).timestamp if item.event else item.time
                tail, last = tail or item.id, last or at
                if state is None:
                    deltas.append(_change_in(item))
                    if item.state:
                        state = json.loads(bytes(item.state))
                    else:
                        size += len(change)
                enough = enough or (since is not None and at < since)
                if item.event and not enough:
                    events.append(Event.model_validate_json(bytes(item.event)))
                    enough = len(events) == wanted
                if enough and state is not None:
                    break
            if not page.items.has_more or (enough and state is not None):
                break
            after, limit = page.items.last_id, min(PAGE, 4 * limit)
        for delta in reversed(deltas):
            state = (state or {}) | delta
        return _Reading(Place(n, tail, size, state or {}), events[::-1], last)

    async def _was_there(self, thread: str) -> bool:
        """Whether there is or was such a conversation."""
        try:
            await self._clew.history(thread, limit=1)
        except NotFound:
            return False
        return True

    def _id(self, scope: str, *names: str) -> str:
        return conversation_id("adk", scope, *names, key=self._key)


def _session(names: Mapping[str, str], state: Values, events: list[Event], last: float, place: Place) -> Session:
    session = StoredSession(
        id=names["session"],
        app_name=names["app"],
        user_id=names["user"],
        state=state,
        events=events,
        last_update_time=last,
    )
    session.move(place)
    return session


def _join(of_app: Values, of_user: Values) -> Values:
    """What sessions share, as they show it."""
    prefixed = [(State.APP_PREFIX, of_app), (State.USER_PREFIX, of_user)]
    return {prefix + key: value for prefix, values in prefixed for key, value in values.items()}


def _scopes(delta: Values) -> dict[str, Values]:
    """What a delta sets for the app, the user and the session, without prefixes; what is temporary is left out."""
    scopes: dict[str, Values] = {"app": {}, "user": {}, "session": {}}
    for key, value in delta.items():
        scope = next((each for each, prefix in _PREFIXES.items() if key.startswith(prefix)), "session")
        if not key.startswith(State.TEMP_PREFIX):
            scopes[scope][key.removeprefix(_PREFIXES.get(scope, ""))] = value
    return scopes


def _delta_of(event: bytes) -> Values:
    delta: Values = json.loads(bytes(_EVENT.decode(event).actions.state_delta))
    return delta


def _change_in(item: _Item) -> Values:
    """What an item without the whole state changes in it."""
    if item.state:
        return {}
    if item.event:
        return _scopes(_delta_of(bytes(item.event)))["session"]
    delta: Values = json.loads(bytes(item.delta)) if item.delta else {}
    return delta


def _item(kind: str, name: str, body: bytes, state: Values, since: int) -> tuple[Raw, int]:
    """An item, and the bytes that are then stored since the whole state was."""
    whole, since = to_json(state), since + len(body)
    content: dict[str, object] = {"type": kind, name: Raw(body)}
    if since >= len(whole):
        content["state"], since = Raw(whole), 0
    return Raw(msgspec.json.encode(content)), since


def _key(*parts: str | bytes) -> str:
    """The id of a command that is to happen once for these parts."""
    whole = b"\x00".join(part.encode() if isinstance(part, str) else part for part in parts)
    return f"adk:{hashlib.sha256(whole).hexdigest()}"
