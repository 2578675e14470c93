"""``/v1/retention``: policies by which old threads are deleted or erased. For keys with the scope ``retention``."""

from __future__ import annotations

from msgspec.structs import asdict

from clew_events.commands import RemoveRetention, SetRetention
from clew_events.http_forms import SetRetentionBody
from clew_events.list_query import ListDue
from clew_services.http.call import Call
from clew_services.http.command_call import CommandCall
from clew_services.http.responses import Answer, json_answer
from clew_services.queries.reader import Reader


class RetentionPolicies:
    """Sets, removes and lists policies of retention."""

    def __init__(self, commands: CommandCall, queries: Reader) -> None:
        self._commands = commands
        self._queries = queries

    async def set_retention(self, call: Call) -> Answer:
        """``POST /v1/retention``."""
        return await self._commands.answer(call, SetRetention(**asdict(await call.body(SetRetentionBody))))

    async def remove_retention(self, call: Call) -> Answer:
        """``DELETE /v1/retention/{name}``."""
        return await self._commands.answer(call, RemoveRetention(name=call.code_param("name")))

    async def list_retention(self, call: Call) -> Answer:
        """``GET /v1/retention``: by their names."""
        return json_answer(await self._queries.retention(call.holder.tenant))

    async def list_due(self, call: Call) -> Answer:
        """``GET /v1/due``: the threads that are due, by rules."""
        return json_answer(await self._queries.due(call.holder.tenant, call.query(ListDue)))
