"""``/v1/checkpoints`` and ``/v1/threads/{thread_id}/proof``. For keys with the scope ``audit``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, Protocol
from urllib.parse import unquote

from msgspec import Meta, Struct

from clew_events.errors import NotFound
from clew_events.requests import Request
from clew_events.subjects import Address
from clew_projections.proof.checkpoint import ShardHeads
from clew_services.checkpoints.signed import KeptProof, Signed
from clew_services.http.answers import Answer, json_answer
from clew_services.http.call import Call
from clew_services.refusals import words

LATEST: Final = "latest"
NUMBER_PATTERN: Final = "^(latest|[1-9][0-9]{0,8})$"
_NUMBERS: Final = frozenset({"limit", "before"})


class Ledger(Protocol):
    """The signed checkpoints; see :class:`clew_services.checkpoints.ledger.Ledger`."""

    async def chosen(self, number: int | None) -> Signed:
        """The one under a number, or the last."""

    async def before(self, number: int | None, limit: int) -> list[Signed]:
        """At most ``limit``, the newest first, those before a number or all."""


class Proofs(Protocol):
    """Proofs under the last checkpoint; see :class:`clew_services.checkpoints.proving.Proofs`."""

    async def latest(self, address: Address) -> KeptProof:
        """The head that a thread had."""


class PageOfCheckpoints(Request, frozen=True, kw_only=True):
    """The query string of ``GET /v1/checkpoints``."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    before: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None


class CheckpointObject(Struct, frozen=True, kw_only=True):
    """A checkpoint. ``note`` is what was signed, with its signatures, by ``keys``; ``hash`` is its SHA-256.

    Whether a signature is right is for whoever has the public key.
    """

    number: int
    object: Literal["checkpoint"] = "checkpoint"
    created_at: int
    at: datetime
    log: str
    prev: str | None
    shards: tuple[ShardHeads, ...]
    reason: str | None
    hash: str
    keys: tuple[str, ...]
    note: str


class CheckpointPage(Struct, frozen=True, kw_only=True):
    """A page of checkpoints, the newest first. The ``number`` of the last is the ``before`` of the page after it."""

    object: Literal["list"] = "list"
    data: tuple[CheckpointObject, ...]
    has_more: bool


class Checkpoints:
    """Answers what auditors ask about what was signed."""

    def __init__(self, ledger: Ledger, proofs: Proofs) -> None:
        self._ledger = ledger
        self._proofs = proofs

    async def page(self, call: Call) -> Answer:
        """``GET /v1/checkpoints``."""
        asked = call.query(PageOfCheckpoints, _NUMBERS)
        found = await self._ledger.before(asked.before, asked.limit)
        more = bool(found) and found[-1].checkpoint.number > 1
        return json_answer(CheckpointPage(data=tuple(map(_shown, found)), has_more=more))

    async def retrieve(self, call: Call) -> Answer:
        """``GET /v1/checkpoints/{number}``, the number being ``latest`` or one."""
        said = unquote(call.path_param("number"))
        if said != LATEST and not (said.isascii() and said.isdecimal() and len(said) < 10):
            raise NotFound(f"There is no checkpoint {words.shown(said, 40)}.", code="checkpoint_not_found")
        return json_answer(_shown(await self._ledger.chosen(None if said == LATEST else int(said))))

    async def proof(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/proof``: of the thread's head under the last checkpoint."""
        return json_answer(await self._proofs.latest(Address(call.holder.tenant, call.thread_id)))


def _shown(signed: Signed) -> CheckpointObject:
    checkpoint = signed.checkpoint
    return CheckpointObject(
        number=checkpoint.number,
        created_at=int(checkpoint.at.timestamp()),
        at=checkpoint.at,
        log=checkpoint.log,
        prev=checkpoint.prev,
        shards=checkpoint.shards,
        reason=checkpoint.reason,
        hash=signed.hash,
        keys=signed.key_ids,
        note=signed.note.decode(),
    )
