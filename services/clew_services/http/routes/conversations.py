"""``/v1/conversations`` and what is below: threads and their items, as OpenAI's Conversations API has them."""

from __future__ import annotations

import functools
from collections.abc import Collection

from msgspec import UNSET

from clew_events.commands import (
    AddItems,
    Command,
    CreateThread,
    DeleteItem,
    DeleteThread,
    EraseItem,
    UpdateThread,
    extract_metadata,
)
from clew_events.errors import Invalid, NotFound
from clew_events.http_forms import (
    CreateConversationBody,
    CreateItemsBody,
    EraseBody,
    Include,
    OneItem,
    PageOfItems,
    PageOfThreads,
    ShownParts,
    UpdateConversationBody,
)
from clew_events.http_objects import (
    Conversation,
    ConversationItems,
    ConversationList,
    ConversationReceipt,
    DeletedConversation,
    ListedConversation,
)
from clew_events.list_reply import ListedThread
from clew_events.objects import ItemPage, Thread
from clew_events.queries import GetItem, GetItemAt, GetStateAt, GetThread, ListItems, ListItemsAt
from clew_services.http.call import Call
from clew_services.http.command_call import CommandCall
from clew_services.http.conversation_items import check_items, shown_item
from clew_services.http.responses import Answer, Headers, etag, json_answer, page_tag, stamp
from clew_services.http.routes.threads import question
from clew_services.queries.reader import Reader
from clew_services.threads.result import Outcome


class Conversations:
    """Creates, lists, retrieves, changes and deletes conversations and their items."""

    def __init__(self, commands: CommandCall, queries: Reader) -> None:
        self._commands = commands
        self._queries = queries

    async def create_conversation(self, call: Call) -> Answer:
        """``POST /v1/conversations``; the body may be left out."""
        body = await call.body(CreateConversationBody, empty=b"{}")
        check_items(body.items or ())
        command = CreateThread(
            kind="conversation", items=body.items, metadata=body.metadata, expires_after=body.expires_after
        )
        return await self._commands.answer(call, command, _show, _show_receipt)

    async def get_conversation(self, call: Call) -> Answer:
        """``GET /v1/conversations/{conversation_id}``, now or ``?as_of=`` a moment."""
        thread_id, tenant = call.conversation_id, call.holder.tenant
        if (as_of := call.as_of) is None:
            found = await self._queries.thread(tenant, GetThread(thread_id=thread_id))
            if found.thread is None:
                raise AssertionError("a thread that is not there is an error")
            return json_answer(_conversation(found.thread), headers=(etag(found.n),))
        then = await self._queries.state_at(tenant, GetStateAt(thread_id=thread_id, as_of=as_of))
        if then.thread is None:
            raise NotFound(f"Conversation '{thread_id}' had been deleted at 'as_of' {as_of}.", code="thread_not_found")
        return json_answer(_conversation(then.thread), headers=stamp(then.position, then.n, then.at))

    async def update_conversation(self, call: Call) -> Answer:
        """``POST /v1/conversations/{conversation_id}``: ``metadata`` replaces all of it, and may not be left out."""
        thread_id = call.conversation_id
        body = await call.body(UpdateConversationBody)
        if body.id not in {None, thread_id}:
            raise Invalid(f"Invalid 'id': '{body.id}'. The conversation's id is '{thread_id}'.", param="id")
        command = UpdateThread(thread_id=thread_id, metadata=body.metadata, expires_after=body.expires_after)
        return await self._commands.answer(call, command, _show, _show_receipt)

    async def delete_conversation(self, call: Call) -> Answer:
        """``DELETE /v1/conversations/{conversation_id}``."""
        gone = DeletedConversation(id=call.conversation_id)
        command = DeleteThread(thread_id=call.conversation_id)
        return await self._commands.answer(call, command, lambda *_: gone, lambda *_: gone)

    async def list_conversations(self, call: Call) -> Answer:
        """``GET /v1/conversations``: those created last, unless asked otherwise."""
        asked = question(call.query(PageOfThreads), "conversation")
        found = (await self._queries.threads(call.holder.tenant, asked)).read()
        page = ConversationList(
            data=tuple(map(_listed, found.data)),
            first_id=found.first_id,
            last_id=found.last_id,
            has_more=found.has_more,
            next=found.next,
            previous=found.previous,
            fresh=found.fresh,
            count=found.count,
            facets=found.facets,
            actors=found.actors,
        )
        reached = found.fresh.position
        return json_answer(page, headers=((b"clew-position", reached.encode()),) if reached else ())

    async def create_conversation_items(self, call: Call) -> Answer:
        """``POST /v1/conversations/{conversation_id}/items``: all of them, or none."""
        thread_id = call.conversation_id
        include = call.query(ShownParts).include
        body = await call.body(CreateItemsBody)
        check_items(body.items)
        show = functools.partial(_show_items, include)
        return await self._commands.answer(call, AddItems(thread_id=thread_id, items=body.items), show, show)

    async def list_conversation_items(self, call: Call) -> Answer:
        """``GET /v1/conversations/{conversation_id}/items``: the newest first, now or ``?as_of=`` a moment."""
        thread_id, tenant = call.conversation_id, call.holder.tenant
        asked = call.query(PageOfItems)
        headers: Headers
        if asked.as_of is None:
            query = ListItems(
                thread_id=thread_id, limit=asked.limit, order=asked.order, after=asked.after, before=asked.before
            )
            found = await self._queries.items(tenant, query)
            page, headers = found.items, page_tag(found)
        else:
            then = await self._queries.past.items(
                tenant,
                ListItemsAt(
                    thread_id=thread_id,
                    as_of=asked.as_of,
                    limit=asked.limit,
                    order=asked.order,
                    after=asked.after,
                    before=asked.before,
                ),
            )
            page, headers = then.items, stamp(then.position, then.n, then.at)
        return json_answer(_shown_page(page, asked.include), headers=headers)

    async def get_conversation_item(self, call: Call) -> Answer:
        """``GET /v1/conversations/{conversation_id}/items/{item_id}``, now or ``?as_of=`` a moment."""
        thread_id, item_id, tenant = call.conversation_id, call.item_id, call.holder.tenant
        asked = call.query(OneItem)
        headers: Headers
        if asked.as_of is None:
            found = await self._queries.item(tenant, GetItem(thread_id=thread_id, item_id=item_id))
            item, headers = found.item, (etag(found.n),)
        else:
            query = GetItemAt(thread_id=thread_id, item_id=item_id, as_of=asked.as_of)
            then = await self._queries.past.item(tenant, query)
            item, headers = then.item, stamp(then.position, then.n, then.at)
        if item is UNSET:
            raise AssertionError("an item that is not there is an error")
        return json_answer(shown_item(item, asked.include), headers=headers)

    async def delete_conversation_item(self, call: Call) -> Answer:
        """``DELETE /v1/conversations/{conversation_id}/items/{item_id}``: answers the conversation."""
        call.query(ShownParts)
        command = DeleteItem(thread_id=call.conversation_id, item_id=call.item_id)
        return await self._commands.answer(call, command, _show, _show_receipt)

    async def erase_conversation_item(self, call: Call) -> Answer:
        """``POST /v1/conversations/{conversation_id}/items/{item_id}/erase``; the body may be left out."""
        thread_id, item_id = call.conversation_id, call.item_id
        body = await call.body(EraseBody, empty=b"{}")
        command = EraseItem(thread_id=thread_id, item_id=item_id, reason=body.reason, forks=body.forks)
        return await self._commands.answer(call, command)


def _conversation(thread: Thread) -> Conversation:
    return Conversation(
        id=thread.id,
        created_at=thread.created_at,
        metadata=thread.metadata,
        expires_after=thread.expires_after,
        expires_at=thread.expires_at,
        erased=thread.erased,
    )


def _listed(thread: ListedThread) -> ListedConversation:
    return ListedConversation(
        id=thread.id,
        created_at=thread.created_at,
        metadata=thread.metadata,
        expires_after=thread.expires_after,
        expires_at=thread.expires_at,
        updated_at=thread.updated_at,
        version=thread.version,
        item_count=thread.message_count,
        created_by=thread.created_by,
        updated_by=thread.updated_by,
        excerpt=thread.excerpt,
        first_text=thread.first_text,
    )


def _show(_: Command, outcome: Outcome) -> Conversation:
    return _conversation(_thread(outcome))


def _show_receipt(command: Command, outcome: Outcome) -> ConversationReceipt:
    thread = _thread(outcome)
    metadata = extract_metadata(command)
    return ConversationReceipt(id=thread.id, created_at=thread.created_at, version=outcome.n, metadata=metadata)


def _thread(outcome: Outcome) -> Thread:
    if outcome.thread is None:
        raise AssertionError("the outcome of a change to a conversation has it")
    return outcome.thread


def _show_items(include: Collection[Include], _: Command, outcome: Outcome) -> ConversationItems:
    """The items that a command added, which are the caller's own."""
    named = outcome.item_ids
    page = ItemPage(
        data=outcome.items or (),
        first_id=named[0] if named else None,
        last_id=named[-1] if named else None,
        has_more=False,
    )
    return _shown_page(page, include)


def _shown_page(page: ItemPage | None, include: Collection[Include]) -> ConversationItems:
    if page is None:
        raise AssertionError("a list of items has a page")
    return ConversationItems(
        data=tuple(shown_item(item, include) for item in page.data),
        first_id=page.first_id or "",
        has_more=page.has_more,
        last_id=page.last_id or "",
    )
