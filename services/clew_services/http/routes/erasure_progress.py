"""``/v1/erasures``. For keys with the scope ``erase`` or ``audit``."""

from __future__ import annotations

from urllib.parse import unquote

from clew_events import error_texts, ids
from clew_events.queries import GetErasure, ListErasures
from clew_services.erasure.erasure_answers import ErasureQueries
from clew_services.erasure.records import no_erasure
from clew_services.http.call import Call
from clew_services.http.responses import Answer, json_answer


class Erasures:
    """Answers how far erasures are."""

    def __init__(self, queries: ErasureQueries) -> None:
        self._queries = queries

    async def list_erasures(self, call: Call) -> Answer:
        """``GET /v1/erasures``: the newest first."""
        return json_answer(await self._queries.page(call.holder.tenant, call.query(ListErasures)))

    async def get_erasure(self, call: Call) -> Answer:
        """``GET /v1/erasures/{erasure_id}``."""
        said = unquote(call.path_param("erasure_id"))
        if not ids.is_erasure_id(said):
            raise no_erasure(error_texts.quote_text(said, 128))
        return json_answer(await self._queries.one(call.holder.tenant, GetErasure(erasure_id=said)))
