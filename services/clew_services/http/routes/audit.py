"""The past of a thread, ``…/events``, ``…/diff``, ``…/blame``, packs and reports; and ``/v1/history``. For auditors."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final, cast, get_args

from clew_events import error_texts
from clew_events.errors import Corrupt
from clew_events.http_forms import Between, BlameForm, PageOfHistory, ReportForm
from clew_events.operations import AUDIT_PACK, REPORT
from clew_events.queries import EventType, GetBlame, GetDifference, GetHistory
from clew_events.subjects import TENANT, Address
from clew_projections.audit.moments import moment
from clew_services.checkpoints.checkpoint_answers import CheckpointQueries
from clew_services.http.call import Call
from clew_services.http.commit_objects import commit_page
from clew_services.http.responses import Answer, json_answer
from clew_services.packs.exporter import Exporter
from clew_services.queries.reader import Reader
from clew_services.report.thread_pack import report_thread, start_thread_pack

_TYPES: Final = get_args(EventType)
_LONGEST_REPORTED: Final = 1024 * 1024
"""Bytes of the greatest pack of which a report is made here."""


class Past:
    """Answers what auditors ask about one thread, deleted or not."""

    def __init__(self, queries: Reader) -> None:
        self._queries = queries

    async def list_events(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/events``: the oldest first unless asked otherwise."""
        return await self._events(call, call.thread_id)

    async def list_own_events(self, call: Call) -> Answer:
        """``GET /v1/history``: of the tenant itself."""
        return await self._events(call, None)

    async def _events(self, call: Call, thread_id: str | None) -> Answer:
        asked = call.query(PageOfHistory)
        query = GetHistory(
            thread_id=thread_id,
            limit=asked.limit,
            order=asked.order,
            after=asked.after,
            before=asked.before,
            types=event_types(asked.type),
            actor=asked.actor,
            by=asked.by,
            since=asked.since,
            until=asked.until,
            stored=asked.stored == "true",
        )
        history = await self._queries.history(call.holder.tenant, query)
        return json_answer(commit_page(history, backward=asked.before is not None and asked.after is None))

    async def diff_thread(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/diff``: what changed between two moments."""
        asked = call.query(Between)
        query = GetDifference(thread_id=call.thread_id, since=asked.since, until=asked.until, limit=asked.limit)
        return json_answer(await self._queries.past.difference(call.holder.tenant, query))

    async def blame_thread(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/blame``: who last set each part, now or as of a moment."""
        asked = call.query(BlameForm)
        query = GetBlame(thread_id=call.thread_id, as_of=asked.as_of, limit=asked.limit)
        return json_answer(await self._queries.past.blame(call.holder.tenant, query))


def event_types(said: str | None) -> tuple[EventType, ...]:
    """The types of events in a list of them with commas between.

    Raises:
        Invalid: there is no such type.
    """
    names = [name.strip() for name in said.split(",")] if said is not None else []
    for name in names:
        if name not in _TYPES:
            raise error_texts.not_supported("type", name, _TYPES)
    return cast("tuple[EventType, ...]", tuple(names))


class Packs:
    """Gives threads away to be taken home, as packs and as reports."""

    def __init__(self, exporter: Exporter, asked: CheckpointQueries) -> None:
        self._exporter = exporter
        self._asked = asked

    async def export_thread(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/export``: the pack, as it is made; one that is cut short has no end."""
        return await self._export(Address(call.holder.tenant, call.thread_id))

    async def export_own(self, call: Call) -> Answer:
        """``GET /v1/history/export``: of the tenant itself."""
        return await self._export(Address(call.holder.tenant, TENANT))

    async def _export(self, address: Address) -> Answer:
        packing, fault = await start_thread_pack(self._exporter, self._asked, address)
        if fault is not None:
            raise Corrupt(fault.what, code=fault.code)
        name = f'attachment; filename="{address.thread}.clew.tar.zst"'.encode()
        headers = ((b"content-type", AUDIT_PACK.encode()), (b"content-disposition", name))
        return Answer(200, b"", headers, packing.chunks())

    async def report_thread(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/report``: a file, which is to be saved; no browser runs anything in it."""
        from clew_services.report.report_files import Report, policy, write_report  # noqa: PLC0415 - seldom needed

        address, now = Address(call.holder.tenant, call.thread_id), datetime.now(UTC)
        asked = call.query(ReportForm)
        moments = [moment(each, "as_of") for each in asked.as_of]
        report = await report_thread(self._exporter, self._asked, address, moments, now=now, most=_LONGEST_REPORTED)
        file = await asyncio.to_thread(write_report, Report(made_at=now, threads=(report,)), asked.format)
        headers = (
            (b"content-type", f"{REPORT[asked.format]}; charset=utf-8".encode()),
            (b"content-security-policy", f"{policy()}; sandbox".encode()),
            (b"content-disposition", f'attachment; filename="{address.thread}.{asked.format}"'.encode()),
        )
        return Answer(200, file, headers)
