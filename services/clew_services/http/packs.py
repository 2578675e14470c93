"""``/v1/threads/{thread_id}/export``: one thread's audit pack. For keys with the scope ``audit``."""

from __future__ import annotations

from typing import Final

from clew_events.checkpoints import GetProof
from clew_events.errors import NotFound
from clew_events.subjects import Address
from clew_services.http.answers import Answer
from clew_services.http.call import Call
from clew_services.http.checkpoints import Asked
from clew_services.packs.exporting import Exporter

MEDIA_TYPE: Final = "application/zstd"


class Packs:
    """Gives threads away to be taken home."""

    def __init__(self, exporter: Exporter, asked: Asked) -> None:
        self._exporter = exporter
        self._asked = asked

    async def export(self, call: Call) -> Answer:
        """``GET /v1/threads/{thread_id}/export``: the pack, as it is made; one that is cut short has no end."""
        address = Address(call.holder.tenant, call.thread_id)
        try:
            proof = (await self._asked.proof(address.tenant, GetProof(thread_id=address.thread))).head
        except NotFound:
            proof = None  # no checkpoint yet, or none since the thread was created
        packing = await self._exporter.thread(address, proof)
        name = f'attachment; filename="{address.thread}.clew.tar.zst"'.encode()
        headers = ((b"content-type", MEDIA_TYPE.encode()), (b"content-disposition", name))
        return Answer(200, b"", headers, packing.chunks())
