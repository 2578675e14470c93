"""Contents may be gone only as the chain says, and as a certificate or an erasure under way bears out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from clew_events.codec import decode_recorded, redact
from clew_events.commit import Recorded
from clew_events.events import ErasureCompleted, ErasureRequested, Event, ItemDeleted, MetadataUpdated
from clew_projections.integrity.erasure_check import Evidence, check_erasures
from clew_projections.integrity.erasure_extent import Extent, ExtentFold
from clew_services.checkpoints.note import SigningKey
from clew_services.erasure.certificate import CertificateNote, Knowledge, certify
from clew_services.erasure.evidence import evidence_in
from support.commits import CREATED, added, chain

AT = datetime(2026, 11, 28, tzinfo=UTC)
KEY, OTHER_KEY = SigningKey(bytes(32)), SigningKey(bytes([1] * 32))
KEYS = {KEY.verifier.id: KEY.verifier}
FIRST, SECOND = added(1, text="one"), added(2, text="two")
ONE = ErasureRequested(erasure="erasure_one", items=(FIRST.item,), code=None)
WHOLE = ErasureRequested(erasure="erasure_all", items=None, code="asked")
LATER = MetadataUpdated(set={"a": "b"}, unset=())
BEGUN: list[list[Event]] = [[CREATED], [FIRST, SECOND], [ItemDeleted(item=FIRST.item), ONE]]


def extent_of(history: list[Recorded], request: ErasureRequested) -> Extent:
    """What a request takes, which is in the history."""
    place = next(place for place, each in enumerate(history) if request in each.commit.events)
    fold = ExtentFold(request)
    for earlier in history[:place]:
        fold.add(earlier)
    return Extent(history[place], request, fold.contents, fold.taken)


def signed(extent: Extent, key: SigningKey = KEY) -> CertificateNote:
    return certify(extent, Knowledge(), erased_at=AT, completed_at=AT, key=key)


def without(history: Iterable[Recorded], gone: dict[int, set[int]]) -> list[Recorded]:
    """A history as it is read when the contents of some numbers are gone, by the commit's."""
    return [decode_recorded(redact(each.body, gone.get(each.commit.n, ())), each.position) for each in history]


def completed(note: CertificateNote | None, *more: list[Event], erasure: str = ONE.erasure) -> list[Recorded]:
    """A history with an erased message that names a certificate."""
    end = [ErasureCompleted(erasure=erasure, certificate=note.hash)] if note is not None else []
    return chain(*BEGUN, end, *more)


NOTE = signed(extent_of(chain(*BEGUN), ONE))
CERTIFIED = {ONE.erasure: evidence_in(NOTE.note, KEYS)}
ERASED = {2: {1}}


def code_of(history: list[Recorded], evidence: dict[str, Evidence]) -> tuple[str, int] | None:
    found = check_erasures(history, evidence)
    return (found.code, found.seq) if found is not None else None


def test_a_history_that_lost_nothing_needs_no_evidence() -> None:
    assert code_of(chain([CREATED], [FIRST], [LATER]), {}) is None


def test_what_is_certified_is_in_order_once_it_is_gone() -> None:
    assert code_of(without(completed(NOTE), ERASED), CERTIFIED) is None


@pytest.mark.parametrize("gone", [{}, ERASED])
def test_an_erasure_under_way_explains_what_is_gone_and_what_is_not_yet(gone: dict[int, set[int]]) -> None:
    assert code_of(without(completed(None), gone), {ONE.erasure: Evidence(under_way=True)}) is None
    half = replace(CERTIFIED[ONE.erasure], under_way=True)  # signed, and not named by the chain yet
    assert code_of(without(completed(None), gone), {ONE.erasure: half}) is None


@pytest.mark.parametrize(
    ("history", "evidence", "wrong"),
    [
        pytest.param(
            without(chain([CREATED], [FIRST], [LATER]), {2: {1}}), {}, ("missing_content", 2), id="no request"
        ),
        pytest.param(without(completed(NOTE), {2: {1, 2}}), CERTIFIED, ("missing_content", 2), id="a neighbour"),
        pytest.param(without(completed(NOTE), {1: {1}, 2: {1}}), CERTIFIED, ("missing_content", 1), id="the thread's"),
        pytest.param(
            without(completed(NOTE, [LATER]), {2: {1}, 5: {1}}), CERTIFIED, ("missing_content", 5), id="a later commit"
        ),
        pytest.param(without(completed(None), ERASED), {}, ("missing_certificate", 3), id="nothing but the request"),
        pytest.param(without(completed(NOTE), ERASED), {}, ("missing_certificate", 3), id="its certificate removed"),
        pytest.param(
            without(completed(NOTE), ERASED),
            {ONE.erasure: Evidence(under_way=True)},
            ("missing_certificate", 3),
            id="said to be under way again",
        ),
        pytest.param(without(completed(None), ERASED), CERTIFIED, ("missing_certificate", 3), id="not in the chain"),
        pytest.param(completed(NOTE), CERTIFIED, ("not_erased", 2), id="still there"),
        pytest.param(
            without(completed(NOTE), ERASED),
            {ONE.erasure: evidence_in(signed(extent_of(chain(*BEGUN), ONE), OTHER_KEY).note, KEYS)},
            ("wrong_certificate", 3),
            id="signed with another key",
        ),
        pytest.param(
            without(completed(NOTE), ERASED),
            {ONE.erasure: evidence_in(NOTE.note.replace(b'"contents":1', b'"contents":2'), KEYS)},
            ("wrong_certificate", 3),
            id="altered after it was signed",
        ),
        pytest.param(
            without(completed(NOTE), ERASED),
            {ONE.erasure: evidence_in(NOTE.note.replace(b'"done":["contents', b'"done":["nothing'), {})},
            ("wrong_certificate", 3),
            id="altered, and no key given",
        ),
    ],
)
def test_whatever_was_forged_is_named_and_where(
    history: list[Recorded], evidence: dict[str, Evidence], wrong: tuple[str, int]
) -> None:
    assert code_of(history, evidence) == wrong


def test_the_certificate_of_another_thread_is_none() -> None:
    other = chain(*BEGUN, thread="thread_another")
    note = signed(extent_of(other, ONE))
    evidence = {ONE.erasure: evidence_in(note.note, KEYS)}
    assert code_of(without(completed(note), ERASED), evidence) == ("wrong_certificate", 3)


def test_two_erasures_may_take_one_content_and_each_needs_its_certificate() -> None:
    begun = completed(NOTE, [WHOLE])
    whole = signed(extent_of(begun, WHOLE))
    history = completed(NOTE, [WHOLE], [ErasureCompleted(erasure=WHOLE.erasure, certificate=whole.hash)])
    gone = without(history, {1: {1}, 2: {1, 2}})
    both = {**CERTIFIED, WHOLE.erasure: evidence_in(whole.note, KEYS)}
    assert code_of(gone, both) is None
    assert code_of(gone, CERTIFIED) == ("missing_certificate", 5)
    assert code_of(gone, {WHOLE.erasure: both[WHOLE.erasure]}) == ("missing_certificate", 3)
