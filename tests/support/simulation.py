"""Histories that could have happened: random commands, decided by the rules, kept in a plain list instead of a log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import strategies as st
from msgspec import UNSET, Struct
from msgspec.structs import replace

from clew_events import ids
from clew_events.commands import (
    AddMessage,
    Command,
    CreateThread,
    DeleteMessage,
    DeleteThread,
    EraseMessage,
    EraseThread,
    PlaceHold,
    ReleaseHold,
    RestoreThread,
    UpdateMessage,
    UpdateThread,
)
from clew_events.commit import FORMAT, Commit, Position, Recorded
from clew_events.errors import ClewError
from clew_events.events import Event
from clew_events.requests import (
    ExpiresAfterIn,
    FilesForCode,
    MetadataPatch,
    NewAttachment,
    NewImageUrl,
    NewImageUrlSource,
    NewMessage,
    NewStoresForSearch,
    NewText,
    NewTool,
    NewToolResources,
    NewVectorStore,
    StoresForSearch,
    ToolResourcesIn,
)
from clew_projections.apply import advance
from clew_projections.views import ItemView, ThreadView, absent
from clew_services.threads.decide import decide
from support.commits import NOON, THREAD, advance_named, body_of, hash_of

NOWHERE = ids.item_id(1, "no thread has this one")

_keys = st.sampled_from([*"abcdefghijklmnopqrstu", "ключ", ""])
_values = st.sampled_from(["", "1", "2", "3", "\U0001f9f6", "\u0000\n"])
_metadata = st.dictionaries(_keys, _values, max_size=16)
_patches = st.builds(MetadataPatch, set=_metadata, unset=st.lists(_keys, max_size=4).map(tuple))
_files = st.sampled_from([f"file-{n}" for n in range(30)])
_file_lists = st.lists(_files, max_size=20).map(tuple)
_stores = st.lists(st.sampled_from(["vs_x", "vs_y"]), max_size=1).map(tuple)
_tools = st.lists(st.sampled_from([NewTool(type="code_interpreter"), NewTool(type="file_search")]), max_size=2)
_attachments = st.lists(st.builds(NewAttachment, file_id=_files, tools=_tools.map(tuple)), max_size=3).map(tuple)
_parts = st.one_of(
    st.text(max_size=5).map(lambda text: NewText(text=text)),
    st.just(NewImageUrl(image_url=NewImageUrlSource(url="https://example.org/a.png"))),
)
_messages = st.builds(
    NewMessage,
    role=st.sampled_from(["user", "assistant"]),
    content=st.text(max_size=5) | st.lists(_parts, min_size=1, max_size=3).map(tuple),
    attachments=st.none() | _attachments,
    metadata=st.none() | _metadata,
)
_new_stores = st.builds(
    NewStoresForSearch,
    vector_stores=st.lists(st.builds(NewVectorStore, file_ids=_file_lists), max_size=1).map(tuple),
) | st.builds(NewStoresForSearch, vector_store_ids=_stores)
_new_tools = st.builds(
    NewToolResources,
    code_interpreter=st.none() | st.builds(FilesForCode, file_ids=_file_lists),
    file_search=st.none() | _new_stores,
)
_changed_tools = st.builds(
    ToolResourcesIn,
    code_interpreter=st.none() | st.builds(FilesForCode, file_ids=_file_lists),
    file_search=st.none() | st.builds(StoresForSearch, vector_store_ids=_stores),
)
_expiries = st.builds(ExpiresAfterIn, anchor=st.sampled_from(["created_at", "last_active_at"]), days=st.integers(1, 3))
_here = st.just(THREAD)
_whole = st.one_of(st.just(UNSET), st.none(), _metadata)
_patch = st.one_of(st.just(UNSET), _patches)
_picks = st.integers(0, 7).map(str)
"""Which of the messages there are: a number that :meth:`Simulation.meant` puts an id in place of."""

creations = st.builds(
    CreateThread,
    thread_id=_here,
    messages=st.none() | st.lists(_messages, max_size=3).map(tuple),
    metadata=st.none() | _metadata,
    tool_resources=st.none() | _new_tools,
    expires_after=st.none() | _expiries,
)
updates = st.builds(
    UpdateThread,
    thread_id=_here,
    metadata=_whole,
    patch=_patch,
    tool_resources=st.one_of(st.just(UNSET), st.none(), _changed_tools),
    expires_after=st.one_of(st.just(UNSET), st.none(), _expiries),
)
message_updates = st.builds(UpdateMessage, thread_id=_here, message_id=_picks, metadata=_whole, patch=_patch)
additions = st.builds(AddMessage, thread_id=_here, message=_messages)
deletions = st.builds(DeleteMessage, thread_id=_here, message_id=_picks)
endings = st.sampled_from((DeleteThread(thread_id=THREAD), RestoreThread(thread_id=THREAD)))
erasures = st.one_of(
    st.builds(EraseThread, thread_id=_here, reason=st.sampled_from([None, "asked"])),
    *[st.builds(EraseMessage, thread_id=_here, message_id=_picks)] * 3,
)
_holds = st.sampled_from(["case-7", "case-8"])
holdings = st.builds(PlaceHold, thread_id=_here, hold=_holds) | st.builds(ReleaseHold, thread_id=_here, hold=_holds)
commands: st.SearchStrategy[Command] = st.one_of(
    creations,
    updates,
    updates,
    additions,
    additions,
    additions,
    message_updates,
    message_updates,
    deletions,
    endings,
    holdings,
)
lives: st.SearchStrategy[list[Command]] = st.builds(
    lambda creation, rest: [creation, *rest],
    creations,
    st.lists(st.one_of(updates, additions, additions, message_updates, message_updates, deletions), max_size=12),
)
"""A thread's whole life but for its end, most of which the rules accept."""


class Decided(Struct, frozen=True):
    """A command as it was meant, and what came of it."""

    command: Command
    id: str
    before: ThreadView
    items: tuple[ItemView, ...]
    events: tuple[Event, ...] | ClewError


class Simulation:
    """One thread, as the rules make it."""

    def __init__(self) -> None:
        self.view = absent("default", THREAD)
        self.messages: dict[str, ItemView] = {}
        self.records: list[Recorded] = []
        self.bodies: list[bytes] = []
        self.decided: list[Decided] = []

    def run(self, commands: Sequence[Command]) -> Simulation:
        """Carry out commands one after the other."""
        for command in commands:
            self.do(command)
        return self

    def do(self, command: Command, command_id: str | None = None) -> Decided:
        """Decide a command, and record what it comes to."""
        command = self.meant(command)
        command_id = command_id or f"cmd_{len(self.decided)}"
        decided = Decided(command, command_id, self.view, self._concerned(command), ())
        try:
            events = decide(command, THREAD, command_id, self.view, decided.items)
        except ClewError as refusal:
            decided = replace(decided, events=refusal)
        else:
            decided = replace(decided, events=events)
            if events:
                self._record(command, command_id, events)
        self.decided.append(decided)
        return decided

    def meant(self, command: Command) -> Command:
        """A command about a message with the id of one that was added, or of none."""
        if isinstance(command, UpdateMessage | DeleteMessage) and command.message_id.isdigit():
            pick = int(command.message_id)
            known = list(self.messages)
            return replace(command, message_id=known[pick] if pick < len(known) else NOWHERE)
        return command

    def _concerned(self, command: Command) -> tuple[ItemView, ...]:
        if isinstance(command, UpdateMessage | DeleteMessage) and command.message_id in self.messages:
            return (self.messages[command.message_id],)
        return ()

    def _record(self, command: Command, command_id: str, events: tuple[Event, ...]) -> None:
        n = self.view.n + 1
        commit = Commit(
            v=FORMAT,
            id=command_id,
            tenant="default",
            thread=THREAD,
            n=n,
            at=NOON + timedelta(microseconds=n),
            actor="test",
            by="nats",
            command=command.named,
            prev=self.view.hash,
            events=events,
        )
        body = body_of(commit)
        recorded = Recorded(commit, Position(0, self.view.seq + 3), hash_of(commit), body=body)
        self.view = advance(self.view, recorded)
        self.messages = advance_named(self.messages, commit)
        self.records.append(recorded)
        self.bodies.append(body)
