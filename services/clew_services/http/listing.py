"""``GET /v1/threads``: the tenant's threads, by what they are, what was said in them, and when."""

from __future__ import annotations

from typing import Final

import msgspec

from clew_events.errors import Invalid
from clew_events.listing import ListThreads
from clew_services import refusals
from clew_services.http.answers import Answer, json_answer, position
from clew_services.http.bodies import PageOfThreads
from clew_services.http.call import Call
from clew_services.http.parts import Queries
from clew_services.refusals import words

_NUMBERS: Final = frozenset({"limit"})


class Listing:
    """Lists threads. The scope ``read`` will do."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def page(self, call: Call) -> Answer:
        """``GET /v1/threads``: those created last, unless asked otherwise."""
        asked = call.query(PageOfThreads, _NUMBERS)
        found = await self._queries.threads(call.holder.tenant, question(asked))
        return json_answer(found, headers=(position(found.fresh.position),) if found.fresh.position else ())


def question(asked: PageOfThreads) -> ListThreads:
    """The question that a query string asks: what ``query`` says, and what the other parameters add to that.

    Raises:
        Invalid: it is no question, or ``query`` and another parameter both say the same field.
    """
    whole = _decoded(asked.query) if asked.query is not None else {}
    plain = {name: value for name, value in msgspec.to_builtins(asked).items() if name != "query"}
    if "count" in plain:
        plain["count"] = plain["count"] == "true"
    for name in plain.keys() & whole.keys():
        raise Invalid(f"Invalid '{name}': it is given in 'query' too. Say it once.", param=name)
    return refusals.convert({**whole, **plain}, ListThreads)


def _decoded(text: str) -> dict[str, object]:
    try:
        plain = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as fault:
        why = "it is nested too deeply" if isinstance(fault, RecursionError) else str(fault).partition(" - at ")[0]
        raise Invalid(f"Invalid 'query': it is not valid JSON ({why.rstrip('.')}).", param="query") from None
    if not isinstance(plain, dict):
        raise words.wrong_type("query", "an object", plain)
    return plain
