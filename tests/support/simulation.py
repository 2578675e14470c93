"""Histories that could have happened: random commands, decided by the rules, kept in a plain list instead of a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from hypothesis import strategies as st
from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from clew_events import ids
from clew_events.commands import (
    AddItems,
    AddMessage,
    ClearItems,
    Command,
    CreateThread,
    DeleteItem,
    DeleteMessage,
    DeleteThread,
    EraseItem,
    EraseMessage,
    EraseThread,
    MessageCommand,
    OneItemCommand,
    PlaceHold,
    PopItem,
    ReleaseHold,
    ReplaceItem,
    RestoreThread,
    UpdateMessage,
    UpdateThread,
)
from clew_events.commit import FORMAT, Commit, Position, Recorded
from clew_events.errors import ClewError
from clew_events.events import Event
from clew_events.items import own_ids
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
from clew_projections.apply import advance, advance_items
from clew_projections.views import ItemView, ThreadView, absent
from clew_services.threads.decide import decide
from support.commits import NOON, THREAD, body_of, hash_of

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
_bodies = st.builds(
    lambda number, own: Raw(b'{"type":"note","n":%d.10%s}' % (number, b',"id":"own-%d"' % own if own else b"")),
    st.integers(0, 99),
    st.sampled_from([0, 0, 1, 2, 3]),
)
_said = st.sampled_from([Raw(b'{"role":"user","content":"hi"}'), Raw(b'{"role":"system","content":"be kind"}')])
of_items: st.SearchStrategy[Command] = st.one_of(
    *[st.builds(AddItems, thread_id=_here, items=st.lists(_bodies | _said, max_size=4).map(tuple))] * 4,
    st.builds(ReplaceItem, thread_id=_here, item_id=_picks, item=st.just(Raw(b'{"type":"note","n":-0}'))),
    st.builds(DeleteItem, thread_id=_here, item_id=_picks),
    st.builds(EraseItem, thread_id=_here, item_id=_picks),
    st.just(PopItem(thread_id=THREAD)),
    st.just(ClearItems(thread_id=THREAD)),
    additions,
    message_updates,
    deletions,
)
"""Commands about items of any type, under ids of their own, which are used again, and of Clew's."""
lives: st.SearchStrategy[list[Command]] = st.builds(
    lambda creation, rest: [creation, *rest],
    creations,
    st.lists(st.one_of(updates, additions, additions, message_updates, message_updates, deletions), max_size=12),
)
"""A thread's whole life but for its end, most of which the rules accept."""


def concerned(command: Command, items: Mapping[int, ItemView]) -> tuple[ItemView, ...]:
    """The items that a command is decided on, of all that a thread ever had."""
    if isinstance(command, PopItem):
        return tuple(view for view in items.values() if not view.gone)[-1:]
    named = {command.about} if isinstance(command, OneItemCommand) else set()
    named |= set(own_ids(command.items)) if isinstance(command, AddItems) else set()
    return tuple(view for _, view in sorted(items.items()) if view.id in named)


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
        self.items: dict[int, ItemView] = {}
        self.records: list[Recorded] = []
        self.bodies: list[bytes] = []
        self.decided: list[Decided] = []

    @property
    def messages(self) -> dict[str, ItemView]:
        """All items there ever were by their ids; of those that had the same the latest."""
        return {view.id: view for view in self.items.values()}

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
        if isinstance(command, OneItemCommand) and command.about.isdigit():
            pick = int(command.about)
            known = list(self.messages)
            named = "message_id" if isinstance(command, MessageCommand) else "item_id"
            return replace(command, **{named: known[pick] if pick < len(known) else NOWHERE})
        return command

    def _concerned(self, command: Command) -> tuple[ItemView, ...]:
        return concerned(command, self.items)

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
        self.items |= advance_items(self.items, commit)
        self.records.append(recorded)
        self.bodies.append(body)
