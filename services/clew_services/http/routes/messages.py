"""``/v1/threads/{thread_id}/messages`` and ``…/messages/{message_id}``; and ``/v1/rendered_items``."""

from __future__ import annotations

import asyncio
from typing import Final

from clew_events.commands import AddMessage, DeleteMessage, EraseMessage, UpdateMessage
from clew_events.http_forms import EraseBody, ModifyMessageBody, PageOfMessages, PatchBody, RenderBody
from clew_events.http_objects import RenderedItems
from clew_events.items import read_object
from clew_events.objects import MessagePage
from clew_events.queries import AsOf, GetMessage, GetMessageAt, GetThread, ListMessages, ListMessagesAt
from clew_events.requests import NewMessage
from clew_services.http.call import Call
from clew_services.http.command_call import CommandCall
from clew_services.http.responses import Answer, etag, json_answer, page_tag, stamp
from clew_services.queries.reader import Reader

_NO_MESSAGES: Final = MessagePage(data=(), first_id=None, last_id=None, has_more=False)


class Messages:
    """Creates, lists, retrieves, changes and deletes messages. ``If-Match`` is about the thread they are in."""

    def __init__(self, commands: CommandCall, queries: Reader) -> None:
        self._commands = commands
        self._queries = queries
        self._rendering = asyncio.Lock()

    async def create_message(self, call: Call) -> Answer:
        """``POST /v1/threads/{thread_id}/messages``."""
        thread_id = call.thread_id
        message = await call.body(NewMessage)
        return await self._commands.answer(call, AddMessage(thread_id=thread_id, message=message))

    async def render_items(self, call: Call) -> Answer:
        """``POST /v1/rendered_items``: rendered apart, an item at a time, so that nobody waits for all of another's."""
        from clew_services.report.item_html import render_tree  # noqa: PLC0415 - needed by the explorer alone

        body = await call.body(RenderBody)
        items = [read_object(item, f"items[{place}]") for place, item in enumerate(body.items)]
        data = []
        for item in items:
            async with self._rendering:
                data.append(await asyncio.to_thread(render_tree, item))
        return json_answer(RenderedItems(data=tuple(data)))

    async def list_messages(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/messages``: the newest first unless asked otherwise, now or as of a moment."""
        thread_id, tenant = call.thread_id, call.holder.tenant
        asked = call.query(PageOfMessages)
        if asked.as_of is not None:
            return await self._page_as_of(call, asked, asked.as_of)
        if asked.run_id is not None:
            # Messages here are made by callers, none by a run; but a missing thread is still told.
            found = await self._queries.thread(tenant, GetThread(thread_id=thread_id))
            return json_answer(_NO_MESSAGES, headers=(etag(found.n),))
        found = await self._queries.messages(
            tenant,
            ListMessages(
                thread_id=thread_id, limit=asked.limit, order=asked.order, after=asked.after, before=asked.before
            ),
        )
        return json_answer(found.messages, headers=page_tag(found))

    async def _page_as_of(self, call: Call, asked: PageOfMessages, as_of: AsOf) -> Answer:
        query = ListMessagesAt(
            thread_id=call.thread_id,
            as_of=as_of,
            limit=asked.limit,
            order=asked.order,
            after=asked.after,
            before=asked.before,
        )
        then = await self._queries.past.messages(call.holder.tenant, query)
        page = then.messages if asked.run_id is None else _NO_MESSAGES
        return json_answer(page, headers=stamp(then.position, then.n, then.at))

    async def get_message(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/messages/{message_id}``."""
        thread_id, message_id = call.thread_id, call.message_id
        if (as_of := call.as_of) is not None:
            past = GetMessageAt(thread_id=thread_id, message_id=message_id, as_of=as_of)
            then = await self._queries.past.message(call.holder.tenant, past)
            return json_answer(then.message, headers=stamp(then.position, then.n, then.at))
        query = GetMessage(thread_id=thread_id, message_id=message_id)
        found = await self._queries.message(call.holder.tenant, query)
        return json_answer(found.message, headers=(etag(found.n),))

    async def modify_message(self, call: Call) -> Answer:
        """``POST /v1/threads/{thread_id}/messages/{message_id}``: ``metadata`` replaces all of it."""
        thread_id, message_id = call.thread_id, call.message_id
        body = await call.body(ModifyMessageBody)
        return await self._commands.answer(
            call, UpdateMessage(thread_id=thread_id, message_id=message_id, metadata=body.metadata)
        )

    async def patch_message(self, call: Call) -> Answer:
        """``PATCH /v1/threads/{thread_id}/messages/{message_id}``: single metadata keys are set and unset."""
        thread_id, message_id = call.thread_id, call.message_id
        body = await call.body(PatchBody)
        return await self._commands.answer(
            call, UpdateMessage(thread_id=thread_id, message_id=message_id, patch=body.metadata)
        )

    async def delete_message(self, call: Call) -> Answer:
        """``DELETE /v1/threads/{thread_id}/messages/{message_id}``."""
        return await self._commands.answer(call, DeleteMessage(thread_id=call.thread_id, message_id=call.message_id))

    async def erase_message(self, call: Call) -> Answer:
        """``POST /v1/threads/{thread_id}/messages/{message_id}/erase``; the body may be left out."""
        thread_id, message_id = call.thread_id, call.message_id
        body = await call.body(EraseBody, empty=b"{}")
        command = EraseMessage(thread_id=thread_id, message_id=message_id, reason=body.reason, forks=body.forks)
        return await self._commands.answer(call, command)
