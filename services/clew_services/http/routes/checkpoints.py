"""``/v1/checkpoints``, and ``/proof`` below a thread or ``/v1/history``. For keys with the scope ``audit``."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from clew_events import error_texts
from clew_events.checkpoint_messages import GetCheckpoint, GetProof, ListCheckpoints
from clew_events.errors import NotFound
from clew_services.checkpoints.checkpoint_answers import CheckpointQueries
from clew_services.http.call import Call
from clew_services.http.responses import Answer, json_answer

LATEST: Final = "latest"


class Checkpoints:
    """Answers what auditors ask about what was signed."""

    def __init__(self, asked: CheckpointQueries) -> None:
        self._asked = asked

    async def list_checkpoints(self, call: Call) -> Answer:
        """``GET /v1/checkpoints``."""
        return json_answer(await self._asked.page(call.query(ListCheckpoints)))

    async def get_checkpoint(self, call: Call) -> Answer:
        """``GET /v1/checkpoints/{number}``, the number being ``latest`` or one."""
        said = unquote(call.path_param("number"))
        if said != LATEST and not (said.isascii() and said.isdecimal() and len(said) < 10):
            raise NotFound(f"There is no checkpoint {error_texts.quote_text(said, 40)}.", code="checkpoint_not_found")
        return json_answer(await self._asked.one(GetCheckpoint(number=None if said == LATEST else int(said))))

    async def prove_thread(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/proof``: of the thread's head under the last checkpoint."""
        return json_answer(await self._asked.answer(call.holder.tenant, GetProof(thread_id=call.thread_id)))

    async def prove_own(self, call: Call) -> Answer:
        """``GET /v1/history/proof``: of the head of the tenant's own history."""
        return json_answer(await self._asked.answer(call.holder.tenant, GetProof()))
