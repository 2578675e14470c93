"""Answering questions about one thread's past: from the log alone, whatever the projection says.

To say how a thread was at a moment takes reading its history up to there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol, assert_never

from msgspec.structs import replace

from clew_events import replies
from clew_events.audit_replies import Blame, Difference, Then
from clew_events.commit import Recorded
from clew_events.errors import Invalid, NotFound
from clew_events.ids import is_message_id, ordinal_of
from clew_events.objects import MessagePage
from clew_events.queries import AsOf, GetBlame, GetDifference, GetMessageAt, ListMessagesAt
from clew_events.subjects import Address
from clew_projections.api_objects import message_object, thread_object
from clew_projections.audit.as_of import ThreadAsOf, messages_of
from clew_projections.audit.blame import BlameFold
from clew_projections.audit.diff import DiffFold
from clew_projections.audit.moments import NOW, Moment, check_reached, moment
from clew_projections.history.stretch import HistoryReader, Spot, check_unbroken
from clew_projections.state.current import CurrentState
from clew_projections.state.message_span import span
from clew_services.queries.history_hint import hint_of
from clew_services.threads.cache import Memory
from clew_services.threads.decide import no_message

LATEST_KEPT: Final = 256
"""Commits kept at hand while a history is read, so that messages they are about need not be read again."""
LONGEST: Final = 20_000
"""Commits that may lie between two moments of which the difference is asked."""


class _PastFold(Protocol):
    first: Recorded | None
    last: Recorded | None

    def add(self, recorded: Recorded) -> bool:
        """Take the next commit, unless it lies behind."""


class Past:
    """Reads the past of threads, deleted ones too. Every answer says which commit was the last by then."""

    def __init__(
        self,
        trail: HistoryReader,
        current: CurrentState,
        memory: Memory,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._trail = trail
        self._current = current
        self._memory = memory
        self._clock = clock

    async def answer(
        self, tenant: str, query: ListMessagesAt | GetMessageAt | GetDifference | GetBlame
    ) -> Then | Difference | Blame:
        """The answer to any of these queries; see the method of each."""
        match query:
            case ListMessagesAt():
                return await self.messages(tenant, query)
            case GetMessageAt():
                return await self.message(tenant, query)
            case GetDifference():
                return await self.difference(tenant, query)
            case GetBlame():
                return await self.blame(tenant, query)
            case _:
                assert_never(query)

    async def thread(self, tenant: str, thread_id: str, as_of: AsOf) -> replies.Moment:
        """A thread as it was; the answer has no thread if it had been deleted by then.

        Raises:
            NotFound: there was no such thread then.
            Invalid: the moment is still to come, or can be none.
            Unavailable: the log does not answer.
            Corrupt: the history cannot be read up to there.
        """
        until = moment(as_of, "as_of")
        folding = ThreadAsOf(Address(tenant, thread_id), until)
        await self._read(folding, Address(tenant, thread_id), until)
        self._hold(until, "as_of", thread_id, folding)
        open_then = folding.view.status == "open"
        then = _answer_of(folding)
        return replies.Moment(
            position=then.position,
            n=then.n,
            at=then.at,
            thread=thread_object(folding.view) if open_then else None,
            message_count=folding.view.messages,
        )

    async def message(self, tenant: str, query: GetMessageAt) -> Then:
        """One message as it was. Raises as :meth:`thread`; ``NotFound`` also if it or the thread was deleted then."""
        ordinal = ordinal_of(query.message_id)
        folding = await self._open(tenant, query.thread_id, query.as_of, (ordinal,))
        view = folding.messages.get(ordinal)
        if view is None or view.id != query.message_id or view.deleted:
            raise no_message(query.message_id)
        return replace(_answer_of(folding), message=message_object(view))

    async def messages(self, tenant: str, query: ListMessagesAt) -> Then:
        """A page of the messages there were. Raises as :meth:`message`."""
        recent: deque[Recorded] = deque(maxlen=LATEST_KEPT)
        folding = await self._open(tenant, query.thread_id, query.as_of, recent=recent)
        left = span(
            folding.view.last_ordinal,
            query.order,
            _cursor(folding, "after", query.after),
            _cursor(folding, "before", query.before),
        )
        places = [place for place in left.next_places(folding.view.last_ordinal) if place in folding.places]
        wanted = places[: query.limit]
        seqs = sorted({seq for place in wanted for seq in folding.places[place]})
        views = messages_of(frozenset(wanted), await self._commits(Address(tenant, query.thread_id), seqs, recent))
        data = tuple(message_object(views[place]) for place in wanted)
        page = MessagePage(
            data=data,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
            has_more=len(places) > query.limit,
        )
        return replace(_answer_of(folding), messages=page)

    async def difference(self, tenant: str, query: GetDifference) -> Difference:
        """What changed between two moments. A moment before the thread's creation is the beginning.

        Raises:
            NotFound: there never was such a thread.
            Invalid: a moment is still to come, or can be none, or the second lies before the first.
            TooLarge: more lies between them than can be shown at once.
            Unavailable: the log does not answer.
            Corrupt: the history cannot be read up to there.
        """
        since, until = moment(query.since, "from", least=0), _or_now(query.until, "to", least=0)
        differing = DiffFold(Address(tenant, query.thread_id), since, until, LONGEST)
        # Whether a time lies behind the later commit is told by the one after that.
        await self._read(differing, Address(tenant, query.thread_id), until if since.n is not None else NOW)
        if since.is_behind(until) or differing.turned_round:
            raise Invalid("Invalid 'from': it lies behind 'to'.", param="from")
        self._hold(until, "to", query.thread_id, differing)
        self._hold(since, "from", query.thread_id, differing)
        return differing.answer()

    async def blame(self, tenant: str, query: GetBlame) -> Blame:
        """Who last set each part of a thread. Raises as :meth:`thread`."""
        until = _or_now(query.as_of, "as_of")
        blaming = BlameFold(Address(tenant, query.thread_id), until)
        await self._read(blaming, Address(tenant, query.thread_id), until)
        self._hold(until, "as_of", query.thread_id, blaming)
        return blaming.answer()

    async def _open(
        self,
        tenant: str,
        thread_id: str,
        as_of: AsOf,
        keep: Container[int] = (),
        recent: deque[Recorded] | None = None,
    ) -> ThreadAsOf:
        until = moment(as_of, "as_of")
        folding = ThreadAsOf(Address(tenant, thread_id), until, keep)
        await self._read(folding, Address(tenant, thread_id), until, recent)
        self._hold(until, "as_of", thread_id, folding)
        if folding.view.status == "deleted":
            raise NotFound(
                f"Thread '{thread_id}' had been deleted at 'as_of' {until}.", code="thread_not_found", param="as_of"
            )
        return folding

    async def _read(
        self, taking: _PastFold, address: Address, until: Moment, recent: deque[Recorded] | None = None
    ) -> None:
        hint = await hint_of(address, self._memory, self._current)
        async for recorded in check_unbroken(hint, self._trail.forward(hint, Spot(0))):
            if not taking.add(recorded):
                return
            if recent is not None:
                recent.append(recorded)
            if until.ends_with(recorded.commit):
                return

    async def _commits(self, address: Address, seqs: Sequence[int], recent: Iterable[Recorded]) -> list[Recorded]:
        at_hand = {recorded.position.seq: recorded for recorded in recent}
        missing = await self._trail.read_at(address, [seq for seq in seqs if seq not in at_hand])
        at_hand |= {recorded.position.seq: recorded for recorded in missing}
        return [at_hand[seq] for seq in seqs]

    def _hold(self, until: Moment, param: str, thread_id: str, read: _PastFold) -> None:
        check_reached(until, param, thread_id, first=read.first, last=read.last, now=self._clock())


def _or_now(said: AsOf | None, param: str, *, least: int = 1) -> Moment:
    return moment(said, param, least=least) if said is not None else NOW


def _answer_of(folding: ThreadAsOf) -> Then:
    commit = folding.last
    if commit is None:
        raise AssertionError("a moment that was reached has a commit")
    return Then(position=commit.position, n=commit.commit.n, at=commit.commit.at)


def _cursor(folding: ThreadAsOf, param: str, message_id: str | None) -> int | None:
    if message_id is None:
        return None
    if is_message_id(message_id) and folding.ids.get(ordinal_of(message_id)) == message_id:
        return ordinal_of(message_id)
    raise NotFound(f"No message found with id '{message_id}'.", code="message_not_found", param=param)
