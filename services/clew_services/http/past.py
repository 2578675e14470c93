"""How a thread came to be what it is: ``…/events``, ``…/diff`` and ``…/blame``. For keys with the scope ``audit``."""

from __future__ import annotations

from typing import Final, cast, get_args

from clew_events.queries import EventType, GetBlame, GetDifference, GetHistory
from clew_services.http.answers import Answer, json_answer
from clew_services.http.bodies import AsOfMoment, Between, PageOfHistory
from clew_services.http.call import BETWEEN, MOMENT, Call
from clew_services.http.commits import commit_page
from clew_services.http.parts import Queries
from clew_services.refusals import words

TIMES: Final = frozenset({"since", "until"})
_NUMBERS: Final = TIMES | {"limit"}
_TYPES: Final = get_args(EventType)


class Past:
    """Answers what auditors ask about one thread, deleted or not."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def events(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/events``: the oldest first unless asked otherwise."""
        thread_id = call.thread_id
        asked = call.query(PageOfHistory, _NUMBERS, TIMES)
        query = GetHistory(
            thread_id=thread_id,
            limit=asked.limit,
            order=asked.order,
            after=asked.after,
            before=asked.before,
            types=event_types(asked.type),
            actor=asked.actor,
            since=asked.since,
            until=asked.until,
        )
        return json_answer(commit_page(await self._queries.history(call.holder.tenant, query)))

    async def diff(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/diff``: what changed between two moments."""
        asked = call.query(Between, BETWEEN, BETWEEN)
        query = GetDifference(thread_id=call.thread_id, since=asked.since, until=asked.until)
        return json_answer(await self._queries.past.difference(call.holder.tenant, query))

    async def blame(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/blame``: who last set each part, now or as of a moment."""
        asked = call.query(AsOfMoment, MOMENT, MOMENT)
        query = GetBlame(thread_id=call.thread_id, as_of=asked.as_of)
        return json_answer(await self._queries.past.blame(call.holder.tenant, query))


def event_types(said: str | None) -> tuple[EventType, ...]:
    """The types of events in a list of them with commas between.

    Raises:
        Invalid: there is no such type.
    """
    names = [name.strip() for name in said.split(",")] if said is not None else []
    for name in names:
        if name not in _TYPES:
            raise words.not_supported("type", name, _TYPES)
    return cast("tuple[EventType, ...]", tuple(names))
