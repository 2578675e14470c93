"""Certificates of erasures: what they say follows from the chain, and nothing of it can be changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from msgspec.structs import replace

from clew_events.codec import redact, seals_of
from clew_events.commit import Recorded
from clew_events.erasures import Erasure
from clew_events.errors import Corrupt
from clew_events.events import ErasureRequested, ItemDeleted, ThreadDeleted
from clew_projections.indexer.machines import Machine
from clew_projections.integrity.erasure_extent import Extent, fault_of, read_extent
from clew_services.checkpoints.note import SigningKey
from clew_services.erasure.certificate import CertificateNote, Knowledge, certify, read_certificate
from support.commits import CREATED, added, chain

AT = datetime(2026, 11, 28, tzinfo=UTC)
FIRST, SECOND = added(1, text="one"), added(2, text="two")
WHOLE = ErasureRequested(erasure="erasure_1", items=None, code="asked")
ONE = ErasureRequested(erasure="erasure_1", items=(FIRST.item,), code=None)
THREAD_ENDS = chain([CREATED], [FIRST, SECOND], [ThreadDeleted(), WHOLE], [])
MESSAGE_ENDS = chain([CREATED], [FIRST, SECOND], [ItemDeleted(item=FIRST.item), ONE], [])
KEY = SigningKey(bytes(32))


async def read(commits: Iterable[Recorded]) -> AsyncIterator[Recorded]:
    for each in commits:
        yield each


def asked(message: str | None = None) -> Erasure:
    return Erasure(
        id="erasure_1", status="requested", thread_id="t", message_id=message, actor="a", by="nats", requested_at=AT
    )


async def extent_of(commits: Iterable[Recorded], message: str | None = None) -> Extent:
    found = await read_extent(read(commits), asked(message))
    assert found is not None
    return found


def signed(extent: Extent, key: SigningKey = KEY) -> CertificateNote:
    return certify(extent, Knowledge(), erased_at=AT, completed_at=AT, key=key)


async def test_a_thread_takes_all_contents_of_its_earlier_commits() -> None:
    extent = await extent_of(THREAD_ENDS)
    assert list(extent.contents.values()) == [(1,), (1, 2)]
    seals = [seals_of(THREAD_ENDS[0].body)[1], *seals_of(THREAD_ENDS[1].body)[1:]]
    assert extent.taken.seals == sha256("".join(f"{seal}\n" for seal in seals).encode()).hexdigest()
    assert (extent.taken.first, extent.taken.last, extent.taken.commits, extent.taken.contents) == (1, 2, 2, 3)


async def test_a_message_takes_what_is_about_it_alone() -> None:
    extent = await extent_of(MESSAGE_ENDS, FIRST.item)
    assert extent.contents == {MESSAGE_ENDS[1].position: (1,)}


async def test_the_extent_is_the_same_after_the_erasure() -> None:
    before = await extent_of(MESSAGE_ENDS, FIRST.item)
    gone = replace(MESSAGE_ENDS[1], body=redact(MESSAGE_ENDS[1].body, (1,)))
    assert (await extent_of([MESSAGE_ENDS[0], gone, *MESSAGE_ENDS[2:]], FIRST.item)).taken == before.taken


async def test_a_thread_that_nobody_asked_to_erase_has_no_extent() -> None:
    assert await read_extent(read(THREAD_ENDS[:2]), asked()) is None


async def test_a_gap_in_the_history_stops_the_erasure() -> None:
    with pytest.raises(Corrupt, match="commit 2 is missing"):
        await read_extent(read([THREAD_ENDS[0], *THREAD_ENDS[2:]]), asked())


async def test_a_certificate_is_read_back_as_it_was_signed() -> None:
    made = signed(await extent_of(THREAD_ENDS))
    assert read_certificate(made.note, KEY.verifier) == made
    assert made.hash == sha256(made.note).hexdigest()
    assert fault_of(made.certificate, await extent_of(THREAD_ENDS)) is None


async def test_a_certificate_says_what_was_not_overwritten_and_which_index_may_have_a_copy() -> None:
    late = Machine(id="m", host="far", folder="/index", clean={}, seen_at=AT)
    known = Knowledge(left=("sequence 3 was not overwritten",), machines=3, late=(late,))
    said = certify(await extent_of(THREAD_ENDS), known, erased_at=AT, completed_at=AT, key=KEY).certificate
    assert said.remains[:2] == (
        "sequence 3 was not overwritten",
        "the index of far in /index: it did not report for 0:03:00 and may have a copy until it does",
    )
    assert said.done[0].endswith("of commits: 2, but for what remains of them")
    assert said.done[2] == "indexes of machines made anew: 2, and the snapshots of them removed"


async def test_an_altered_certificate_or_one_by_another_key_is_named() -> None:
    made = signed(await extent_of(THREAD_ENDS))
    altered = made.note.replace(b'"contents":3', b'"contents":2')
    assert altered != made.note
    for note in (altered, signed(await extent_of(THREAD_ENDS), SigningKey(bytes([1] * 32))).note, b"{}", b""):
        with pytest.raises(Corrupt):
            read_certificate(note, KEY.verifier)


async def test_a_certificate_of_another_erasure_is_named_by_what_differs() -> None:
    whole, one = await extent_of(THREAD_ENDS), await extent_of(MESSAGE_ENDS, FIRST.item)
    assert "items" in (fault_of(signed(whole).certificate, one) or "")
    longer = await extent_of(chain([CREATED], [FIRST, SECOND], [ThreadDeleted()], [WHOLE]))
    assert "'n'" in (fault_of(signed(whole).certificate, longer) or "")
