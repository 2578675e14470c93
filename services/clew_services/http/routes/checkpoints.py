"""``/v1/checkpoints`` and ``/v1/threads/{thread_id}/proof``. For keys with the scope ``audit``."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from clew_events.checkpoint_messages import GetCheckpoint, GetProof, ListCheckpoints
from clew_events.errors import NotFound
from clew_services.checkpoints.checkpoint_answers import CheckpointQueries
from clew_services.http.call import Call
from clew_services.http.responses import Answer, json_answer
from clew_services.validation import error_texts

LATEST: Final = "latest"
NUMBER_PATTERN: Final = "^(latest|[1-9][0-9]{0,8})$"
_NUMBERS: Final = frozenset({"limit", "before"})


class Checkpoints:
    """Answers what auditors ask about what was signed."""

    def __init__(self, asked: CheckpointQueries) -> None:
        self._asked = asked

    async def page(self, call: Call) -> Answer:
        """``GET /v1/checkpoints``."""
        return json_answer(await self._asked.page(call.query(ListCheckpoints, _NUMBERS)))

    async def retrieve(self, call: Call) -> Answer:
        """``GET /v1/checkpoints/{number}``, the number being ``latest`` or one."""
        said = unquote(call.path_param("number"))
        if said != LATEST and not (said.isascii() and said.isdecimal() and len(said) < 10):
            raise NotFound(f"There is no checkpoint {error_texts.quote_text(said, 40)}.", code="checkpoint_not_found")
        return json_answer(await self._asked.one(GetCheckpoint(number=None if said == LATEST else int(said))))

    async def proof(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/proof``: of the thread's head under the last checkpoint."""
        return json_answer(await self._asked.proof(call.holder.tenant, GetProof(thread_id=call.thread_id)))
