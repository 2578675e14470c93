"""Queries for erasures."""

from __future__ import annotations

from contextlib import aclosing
from typing import assert_never

import msgspec

from clew_events.erasures import Erasure, ErasurePage, RetrievedErasure, SignedCertificate
from clew_events.errors import Corrupt
from clew_events.queries import GetErasure, ListErasures
from clew_services.checkpoints.note import parts
from clew_services.erasure.certificate import CertificateNote
from clew_services.erasure.records import ErasureRecords, no_erasure


class ErasureQueries:
    """Answers queries for a tenant's erasures."""

    def __init__(self, records: ErasureRecords) -> None:
        self._records = records

    async def answer(self, tenant: str, query: ListErasures | GetErasure) -> ErasurePage | RetrievedErasure:
        """The answer to a query.

        Raises:
            NotFound: there is no such erasure.
            Corrupt: a record or a certificate cannot be read.
            Unavailable: JetStream does not answer.
        """
        match query:
            case ListErasures():
                return await self.page(tenant, query)
            case GetErasure():
                return await self.one(tenant, query)
            case _:
                assert_never(query)

    async def page(self, tenant: str, query: ListErasures) -> ErasurePage:
        """A page of erasures, the newest first."""
        data: list[Erasure] = []
        more = False
        async with aclosing(self._records.iterate(tenant, query.after)) as erasures:
            async for erasure in erasures:
                if query.status not in {None, erasure.status} or query.thread_id not in {None, erasure.thread_id}:
                    continue
                if more := len(data) == query.limit:
                    break
                data.append(erasure)
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return ErasurePage(data=tuple(data), first_id=first, last_id=last, has_more=more)

    async def one(self, tenant: str, query: GetErasure) -> RetrievedErasure:
        """An erasure, with its certificate once it is completed."""
        record = await self._records.find(tenant, query.erasure_id)
        if record is None:
            raise no_erasure(query.erasure_id)
        completed = record.erasure.status == "completed"
        found = await self._records.certificate(query.erasure_id) if completed else None
        if record.erasure.certificate not in {None, found.hash if found is not None else None}:
            what = "is missing" if found is None else "is not the one that was recorded: it was altered"
            raise Corrupt(f"the certificate of '{query.erasure_id}' {what}", code="wrong_certificate")
        signed = _signed_certificate(found) if found is not None else None
        return RetrievedErasure(**msgspec.structs.asdict(record.erasure), signed=signed)


def _signed_certificate(certificate: CertificateNote) -> SignedCertificate:
    keys = tuple(key for key, _ in parts(certificate.note)[1])
    return SignedCertificate(says=certificate.certificate, keys=keys, note=certificate.note.decode())
