"""``/v1/threads/{thread_id}/holds`` and ``/v1/holds``."""

from __future__ import annotations

from clew_events.commands import PlaceHold, PlaceStandingHold, ReleaseHold, ReleaseStandingHold
from clew_events.http_forms import PlaceHoldBody, StandingHoldBody
from clew_events.list_query import ListHolds
from clew_services.http.call import Call
from clew_services.http.command_call import CommandCall
from clew_services.http.responses import Answer, json_answer
from clew_services.queries.reader import Reader


class Holds:
    """Places, releases and lists legal holds."""

    def __init__(self, commands: CommandCall, queries: Reader) -> None:
        self._commands = commands
        self._queries = queries

    async def place_hold(self, call: Call) -> Answer:
        """``POST /v1/threads/{thread_id}/holds``."""
        thread_id = call.thread_id
        body = await call.body(PlaceHoldBody)
        return await self._commands.answer(call, PlaceHold(thread_id=thread_id, hold=body.hold))

    async def release_hold(self, call: Call) -> Answer:
        """``DELETE /v1/threads/{thread_id}/holds/{hold}``."""
        return await self._commands.answer(call, ReleaseHold(thread_id=call.thread_id, hold=call.code_param("hold")))

    async def place_standing_hold(self, call: Call) -> Answer:
        """``POST /v1/holds``: on all threads that match a filter."""
        body = await call.body(StandingHoldBody)
        return await self._commands.answer(call, PlaceStandingHold(hold=body.hold, where=body.where))

    async def release_standing_hold(self, call: Call) -> Answer:
        """``DELETE /v1/holds/{hold}``."""
        return await self._commands.answer(call, ReleaseStandingHold(hold=call.code_param("hold")))

    async def list_holds(self, call: Call) -> Answer:
        """``GET /v1/holds``: by the ids of their threads."""
        return json_answer(await self._queries.holds(call.holder.tenant, call.query(ListHolds)))
