"""OpenAI's ChatKit: the threads, items and attachments of a self-hosted server in Clew. Install ``clew[chatkit]``.

::

    async with connect("nats://127.0.0.1:4222", actor="assistant") as clew:
        server = MyChatKitServer(ClewStore(clew, user=lambda context: context.user_id))
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import msgspec
from chatkit.store import NotFoundError, Store, StoreItemType, default_generate_id
from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata
from msgspec import Raw
from pydantic import TypeAdapter

from clew_adapters.conversation import PAGE, OwnCommits, conversation_id
from clew_adapters.conversation import item_id as fit_id
from clew_events.client import Clew
from clew_events.errors import AlreadyExists, NotFound
from clew_events.list_query import Condition

TContext = TypeVar("TContext")

_OWN: Final = "chatkit:"
"""What the ids of items begin with that the store has for itself: the thread as a whole, or an attachment."""
_ITEM: Final[TypeAdapter[ThreadItem]] = TypeAdapter(ThreadItem)
_ATTACHMENT: Final[TypeAdapter[Attachment]] = TypeAdapter(Attachment)


class _Body(msgspec.Struct):
    id: str
    item: Raw


_DECODER: Final = msgspec.json.Decoder(_Body)


class ClewStore(Store[TContext]):
    """Keeps threads in Clew, each in a conversation, and each attachment in one of its own.

    ``user`` says whose a request is, by its context: nobody finds what is another user's. ``id_key`` is a secret from
    which, with that and ChatKit's ids, the ids of conversations follow; give one, always the same, where users' ids are
    personal. Whatever is saved, added or deleted again is so once. Ids that it makes have 128 random bits.
    """

    def __init__(self, clew: Clew, *, user: Callable[[TContext], str], id_key: bytes = b"") -> None:
        self._clew = clew
        self._user = user
        self._key = id_key
        self._commits = OwnCommits()

    def generate_thread_id(self, context: TContext) -> str:
        """A new id of a thread."""
        return _random_id("thread")

    def generate_item_id(self, item_type: StoreItemType, thread: ThreadMetadata, context: TContext) -> str:
        """A new id of an item."""
        return _random_id(item_type)

    async def load_thread(self, thread_id: str, context: TContext) -> ThreadMetadata:
        """A thread without its items.

        Raises:
            NotFoundError: the user has none of that id.
        """
        return ThreadMetadata.model_validate_json(await self._load("thread", thread_id, context))

    async def save_thread(self, thread: ThreadMetadata, context: TContext) -> None:
        """Save a thread without its items, whether it is there or not.

        Raises:
            NotFoundError: it was deleted, and ids are used once.
        """
        body = thread.model_dump_json(include=set(ThreadMetadata.model_fields))  # A Thread has its items beside.
        await self._save("thread", thread.id, body, context)

    async def load_threads(self, limit: int, after: str | None, order: str, context: TContext) -> Page[ThreadMetadata]:
        """A page of the user's threads, by when they were created; at most 100."""
        user = self._user(context)
        page = await self._clew.list_threads(
            kind="conversation",
            where=Condition(every=(Condition.equal("chatkit", "thread"), Condition.equal("user", user))),
            limit=min(limit, PAGE),
            order="asc" if order == "asc" else "desc",
            after=None if after is None else self._id("thread", after, context),
            at_least=self._commits.at_least,
        )
        names = [thread.metadata["id"] for thread in page.data]
        found = await asyncio.gather(*(self.load_thread(name, context) for name in names), return_exceptions=True)
        threads = [thread for thread in found if isinstance(thread, ThreadMetadata)]
        for fault in found:
            if isinstance(fault, BaseException) and not isinstance(fault, NotFoundError):
                raise fault
        return Page(data=threads, has_more=page.has_more, after=names[-1] if page.has_more else None)

    async def delete_thread(self, thread_id: str, context: TContext) -> None:
        """Delete a thread with its items, if it is there. Clew keeps its history until it is erased."""
        await self._delete("thread", thread_id, context)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: TContext
    ) -> Page[ThreadItem]:
        """A page of a thread's items, in the order in which they were added; at most 99, and fewer if they are long.

        Raises:
            NotFoundError: the user has no such thread, or it has no item ``after`` which the page could begin.
        """
        own = f"{_OWN}thread"
        begin = (own if order == "asc" else None) if after is None else _name(after)
        limit = min(limit, PAGE - 1)
        with _not_found(thread_id):
            page = await self._clew.list_items(
                self._id("thread", thread_id, context),
                limit=limit + 1,
                order="asc" if order == "asc" else "desc",
                after=begin,
            )
        more = page.items.has_more and page.items.last_id != own
        bodies = map(_DECODER.decode, page.items.data)
        items = [_ITEM.validate_json(bytes(each.item)) for each in bodies if each.id != own]
        if len(items) > limit:
            items, more = items[:limit], True
        return Page(data=items, has_more=more, after=items[-1].id if more else None)

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: TContext) -> None:
        """Add an item at the end of a thread. One of its id is replaced.

        Raises:
            NotFoundError: the user has no such thread.
        """
        thread, name, body = self._id("thread", thread_id, context), _name(item.id), _item(item)
        with _not_found(thread_id):
            try:
                await self._clew.add_items(thread, [body])
            except AlreadyExists:
                await self._clew.replace_item(thread, name, body)

    async def save_item(self, thread_id: str, item: ThreadItem, context: TContext) -> None:
        """Replace an item, which keeps its place, or add it.

        Raises:
            NotFoundError: the user has no such thread.
        """
        try:
            await self._clew.replace_item(self._id("thread", thread_id, context), _name(item.id), _item(item))
        except NotFound:
            await self.add_thread_item(thread_id, item, context)

    async def load_item(self, thread_id: str, item_id: str, context: TContext) -> ThreadItem:
        """An item.

        Raises:
            NotFoundError: the user has no such thread, or it has no such item.
        """
        with _not_found(item_id):
            found = await self._clew.get_item(self._id("thread", thread_id, context), _name(item_id))
        return _ITEM.validate_json(bytes(_DECODER.decode(found.item).item))

    async def delete_thread_item(self, thread_id: str, item_id: str, context: TContext) -> None:
        """Delete an item, if it is there. Clew keeps its history until it is erased."""
        with contextlib.suppress(NotFound):
            await self._clew.delete_item(self._id("thread", thread_id, context), _name(item_id))

    async def save_attachment(self, attachment: Attachment, context: TContext) -> None:
        """Save what is known of an attachment, whether it is there or not. Its bytes are kept elsewhere."""
        await self._save("attachment", attachment.id, attachment.model_dump_json(), context)

    async def load_attachment(self, attachment_id: str, context: TContext) -> Attachment:
        """What is known of an attachment.

        Raises:
            NotFoundError: the user has none of that id.
        """
        return _ATTACHMENT.validate_json(await self._load("attachment", attachment_id, context))

    async def delete_attachment(self, attachment_id: str, context: TContext) -> None:
        """Delete what is known of an attachment, if it is there."""
        await self._delete("attachment", attachment_id, context)

    def _id(self, kind: str, name: str, context: TContext) -> str:
        return conversation_id("chatkit", kind, self._user(context), name, key=self._key)

    async def _save(self, kind: str, name: str, value: str, context: TContext) -> None:
        thread, own = self._id(kind, name, context), f"{_OWN}{kind}"
        body = _body(own, f"chatkit_{kind}", value)
        try:
            done = await self._clew.replace_item(thread, own, body)
        except NotFound:
            metadata = {"chatkit": kind, "user": self._user(context), "id": name}
            try:
                created = await self._clew.create_thread(thread_id=thread, items=[body], metadata=metadata)
            except AlreadyExists:
                with _not_found(name):
                    done = await self._clew.replace_item(thread, own, body)
            else:
                self._commits.add(created.position)
                return
        self._commits.add(done.position)

    async def _load(self, kind: str, name: str, context: TContext) -> bytes:
        with _not_found(name):
            found = await self._clew.get_item(self._id(kind, name, context), f"{_OWN}{kind}")
        return bytes(_DECODER.decode(found.item).item)

    async def _delete(self, kind: str, name: str, context: TContext) -> None:
        with contextlib.suppress(NotFound):
            done = await self._clew.delete_thread(self._id(kind, name, context))
            self._commits.add(done.position)


def _random_id(item_type: StoreItemType) -> str:
    """An id that begins as ChatKit's do, and has more random bits than their 32."""
    return f"{default_generate_id(item_type).rpartition('_')[0]}_{secrets.token_hex(16)}"


def _name(chosen: str) -> str:
    """The id of an item in Clew."""
    return fit_id(f" {chosen}" if chosen.startswith(_OWN) else chosen)


def _item(item: ThreadItem) -> Raw:
    return _body(_name(item.id), f"chatkit_{item.type}", item.model_dump_json())


def _body(name: str, kind: str, value: str) -> Raw:
    return Raw(msgspec.json.encode({"id": name, "type": kind, "item": Raw(value.encode())}))


@contextlib.contextmanager
def _not_found(name: str) -> Iterator[None]:
    """Raise ChatKit's error in place of Clew's."""
    try:
        yield
    except NotFound as fault:
        raise NotFoundError(f"{name!r} is not there: {fault.message}") from fault
