"""``/v1/threads`` and ``/v1/threads/{thread_id}``."""

from __future__ import annotations

import msgspec
from msgspec import UnsetType

from clew_events import error_texts
from clew_events.commands import CreateThread, DeleteThread, EraseThread, ForkThread, RestoreThread, UpdateThread
from clew_events.errors import Invalid, NotFound
from clew_events.http_forms import (
    CreateThreadBody,
    EraseBody,
    ForkBody,
    ModifyThreadBody,
    PageOfRuns,
    PageOfThreads,
    PatchBody,
    RestoreBody,
)
from clew_events.list_query import Kind, ListThreads, kind_of
from clew_events.objects import RunPage
from clew_events.queries import AsOf, GetStateAt, GetThread
from clew_projections.index import WrittenList
from clew_services import validation
from clew_services.http.auth import check_scope
from clew_services.http.call import Call
from clew_services.http.command_call import CommandCall
from clew_services.http.responses import Answer, etag, json_answer, stamp
from clew_services.queries.reader import Reader


class Threads:
    """Creates, lists, retrieves, changes, deletes, restores and erases threads."""

    def __init__(self, commands: CommandCall, queries: Reader) -> None:
        self._commands = commands
        self._queries = queries

    async def create_thread(self, call: Call) -> Answer:
        """``POST /v1/threads``; the body may be left out."""
        body = await call.body(CreateThreadBody, empty=b"{}")
        return await self._commands.answer(
            call,
            CreateThread(
                messages=body.messages,
                metadata=body.metadata,
                tool_resources=body.tool_resources,
                expires_after=body.expires_after,
            ),
        )

    async def get_thread(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}``, now or ``?as_of=`` a moment."""
        if (as_of := call.as_of) is not None:
            return await self._retrieve_as_of(call, as_of)
        found = await self._queries.thread(call.holder.tenant, GetThread(thread_id=call.thread_id))
        return json_answer(found.thread, headers=(etag(found.n),))

    async def _retrieve_as_of(self, call: Call, as_of: AsOf) -> Answer:
        then = await self._queries.state_at(call.holder.tenant, GetStateAt(thread_id=call.thread_id, as_of=as_of))
        if then.thread is None:
            what = error_texts.name_history(call.thread_id, capital=True)
            raise NotFound(f"{what} had been deleted at 'as_of' {as_of}.", code="thread_not_found")
        return json_answer(then.thread, headers=stamp(then.position, then.n, then.at))

    async def modify_thread(self, call: Call) -> Answer:
        """``POST /v1/threads/{thread_id}``: ``metadata`` replaces all of it."""
        thread_id = call.thread_id
        body = await call.body(ModifyThreadBody)
        await self._check_sent_back(call, thread_id, body)
        return await self._commands.answer(
            call,
            UpdateThread(
                thread_id=thread_id,
                metadata=body.metadata,
                tool_resources=body.tool_resources,
                expires_after=body.expires_after,
            ),
        )

    async def _check_sent_back(self, call: Call, thread_id: str, body: ModifyThreadBody) -> None:
        """Check that a thread that is sent back is the one of the path."""
        if body.id not in {None, thread_id}:
            raise Invalid(f"Invalid 'id': '{body.id}'. The thread's id is '{thread_id}'.", param="id")
        if isinstance(body.forked_from, UnsetType):
            return
        found = await self._queries.thread(call.holder.tenant, GetThread(thread_id=thread_id))
        if found.thread is None or found.thread.forked_from != body.forked_from:
            raise Invalid(
                "Invalid 'forked_from': what a thread was forked from does not change, and this is another.",
                param="forked_from",
            )

    async def patch_thread(self, call: Call) -> Answer:
        """``PATCH /v1/threads/{thread_id}``: single metadata keys are set and unset."""
        thread_id = call.thread_id
        body = await call.body(PatchBody)
        return await self._commands.answer(call, UpdateThread(thread_id=thread_id, patch=body.metadata))

    async def delete_thread(self, call: Call) -> Answer:
        """``DELETE /v1/threads/{thread_id}``."""
        return await self._commands.answer(call, DeleteThread(thread_id=call.thread_id))

    async def fork_thread(self, call: Call) -> Answer:
        """``POST /v1/threads/{thread_id}/fork``; the body may be left out.

        Raises:
            Forbidden: it is to begin at a version, which shows the past, and the key has no ``audit``.
        """
        parent = call.thread_id
        body = await call.body(ForkBody, empty=b"{}")
        # Of an item the fork shows what is there now, and of a version what was deleted or overwritten since.
        if isinstance(body.at, int):
            check_scope(call.holder, "audit")
        return await self._commands.answer(call, ForkThread(parent=parent, at=body.at, metadata=body.metadata))

    async def restore_thread(self, call: Call) -> Answer:
        """``POST /v1/threads/{thread_id}/restore``; the body may be left out."""
        thread_id = call.thread_id
        await call.body(RestoreBody, empty=b"{}")
        return await self._commands.answer(call, RestoreThread(thread_id=thread_id))

    async def erase_thread(self, call: Call) -> Answer:
        """``POST /v1/threads/{thread_id}/erase``; the body may be left out."""
        thread_id = call.thread_id
        body = await call.body(EraseBody, empty=b"{}")
        command = EraseThread(thread_id=thread_id, reason=body.reason, forks=body.forks)
        return await self._commands.answer(call, command)

    async def list_threads(self, call: Call) -> Answer:
        """``GET /v1/threads``: those created last, unless asked otherwise."""
        return _listed(await self._queries.threads(call.holder.tenant, question(call.query(PageOfThreads))))

    async def list_forks(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/forks``: as a list of threads, of those that were forked from one."""
        parent = call.thread_id
        asked = question(call.query(PageOfThreads), kind_of(parent))
        return _listed(await self._queries.forks(call.holder.tenant, parent, asked))

    async def list_runs(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/runs``: none, if there is such a thread."""
        call.query(PageOfRuns)
        found = await self._queries.thread(call.holder.tenant, GetThread(thread_id=call.thread_id))
        return json_answer(RunPage(), headers=(etag(found.n),))


def _listed(found: WrittenList) -> Answer:
    position = found.fresh.position
    return json_answer(found, headers=((b"clew-position", position.encode()),) if position else ())


def question(asked: PageOfThreads, kind: Kind = "thread") -> ListThreads:
    """The question that a query string asks: what ``query`` says, and what the other parameters add to that.

    It is about threads of one kind, unless ``query`` says otherwise.

    Raises:
        Invalid: it is no question, or ``query`` and another parameter both say the same field.
    """
    whole = _decode_conditions(asked.query) if asked.query is not None else {}
    plain = {name: value for name, value in msgspec.to_builtins(asked).items() if name != "query"}
    if "count" in plain:
        plain["count"] = plain["count"] == "true"
    for name in (name for name in plain if name in whole):
        raise Invalid(f"Invalid '{name}': it is given in 'query' too. Say it once.", param=name)
    if kind == "conversation" and whole.get("kind", kind) != kind:
        raise error_texts.not_supported("query.kind", str(whole["kind"]), (kind,))
    return validation.convert({"kind": kind, **whole, **plain}, ListThreads)


def _decode_conditions(text: str) -> dict[str, object]:
    raw = text.encode()
    if (reason := validation.json_fault(raw)) is not None:
        raise Invalid(f"Invalid 'query': it is not valid JSON ({reason}).", param="query")
    plain = msgspec.json.decode(raw)
    if not isinstance(plain, dict):
        raise error_texts.wrong_type("query", "an object", plain)
    return plain
