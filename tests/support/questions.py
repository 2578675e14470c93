"""Every question there is about one thread, and what it must be answered with, given the thread's stored commits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, cast, get_args

import msgspec

from clew_events.errors import ClewError
from clew_events.queries import (
    EventType,
    GetBlame,
    GetDifference,
    GetHistory,
    GetMessage,
    GetMessageAt,
    GetStateAt,
    GetThread,
    ListMessages,
    ListMessagesAt,
    Query,
)
from clew_events.replies import Answer
from support import naive
from support.naive import JSON, Kept
from support.simulation import NOWHERE


class Refused(Exception):
    """A question that is to be refused, with the class of the error."""


def asked(thread: str, history: Sequence[Kept], chance: Random) -> Iterator[Query]:
    """One question of every kind, on what there is, and now and then on what there is not."""
    n = len(history)
    messages = [*naive.state(thread, history).messages, NOWHERE]

    def moment() -> int:
        return chance.randint(1, n + 1)

    def message() -> str:
        return chance.choice(messages)

    def cursor() -> str | None:
        return chance.choice([None, None, message()])

    def place() -> str | None:
        if not history or chance.random() < 0.4:
            return None
        kept = chance.choice(history)
        return chance.choice([f"{kept.n}", f"{kept.n}-{kept.seq}", f"{kept.n}-{kept.seq + 1}", f"{n + 2}"])

    paging: JSON = {"order": chance.choice(["asc", "desc"]), "limit": chance.choice([1, 2, 3, 20, 100])}
    eventual = chance.choice(["strong", "strong", "eventual"])
    yield GetThread(thread_id=thread, consistency=eventual, at_least=chance.choice([None, None, moment()]))
    yield GetMessage(thread_id=thread, message_id=message(), consistency=eventual)
    yield ListMessages(thread_id=thread, consistency=eventual, **paging)
    yield ListMessages(thread_id=thread, after=cursor(), before=cursor(), **paging)
    types = chance.sample(cast("list[EventType]", [*get_args(EventType)]), chance.choice([0, 0, 1, 2]))
    filters: JSON = {"types": tuple(types), "actor": chance.choice([None, None, "a*", "b"])}
    history_paging = {**paging, "limit": chance.choice([1, 2, 3, 5, 100])}
    yield GetHistory(thread_id=thread, after=place(), before=place(), **history_paging, **filters)
    yield GetHistory(thread_id=thread, start=chance.choice([None, moment()]), **history_paging)
    yield GetHistory(thread_id=thread, order=chance.choice(["asc", "desc"]))
    yield GetStateAt(thread_id=thread, n=moment())
    yield GetStateAt(thread_id=thread, as_of=moment())
    yield GetMessageAt(thread_id=thread, message_id=message(), as_of=moment())
    yield ListMessagesAt(thread_id=thread, as_of=moment(), after=cursor(), before=cursor(), **paging)
    since, until = sorted((moment() - 1, moment()))
    yield GetDifference(thread_id=thread, since=since, until=until)
    yield GetBlame(thread_id=thread, as_of=chance.choice([None, moment()]))


def wanted(query: Query, history: Sequence[Kept]) -> JSON:
    """What a question has to be answered with if these are all the commits there are.

    Raises:
        Refused: with the error that is due.
    """
    match query:
        case GetThread() | GetMessage() | ListMessages():
            return _present(query, history, now=True)
        case GetHistory():
            return _history(query, history)
        case GetStateAt():
            return _state_at(query, history)
        case GetMessageAt() | ListMessagesAt():
            then = _until(history, query.as_of)
            as_if: Query = (
                GetMessage(thread_id=query.thread_id, message_id=query.message_id)
                if isinstance(query, GetMessageAt)
                else ListMessages(
                    thread_id=query.thread_id,
                    limit=query.limit,
                    order=query.order,
                    after=query.after,
                    before=query.before,
                )
            )
            return _present(as_if, then, now=False)
        case GetDifference():
            _until(history, query.until)
            assert isinstance(query.since, int)
            then = _until(history, query.until)
            _until(history, query.since)
            return naive.difference(query.thread_id, then, query.since)
        case GetBlame():
            then = _until(history, query.as_of)
            return naive.blame(then)
        case _:
            raise AssertionError(query)


def _until(history: Sequence[Kept], as_of: object) -> Sequence[Kept]:
    if not history:
        raise Refused("NotFound")
    if as_of is None:
        return history
    assert isinstance(as_of, int)
    if as_of > len(history):
        raise Refused("Invalid")
    return history[:as_of]


def _present(query: GetThread | GetMessage | ListMessages, history: Sequence[Kept], *, now: bool) -> JSON:
    state = naive.state(query.thread_id, history)
    if now:
        state.messages = {key: None if each and "erased" in each else each for key, each in state.messages.items()}
    if state.n < (query.at_least or 0):
        raise Refused("Unavailable")
    if state.status != "open":
        raise Refused("NotFound")
    found: JSON = {"n": state.n, "seq": state.seq}
    match query:
        case GetThread():
            found["thread"] = state.shown
        case GetMessage():
            if query.message_id not in state.there:
                raise Refused("NotFound")
            found["message"] = state.there[query.message_id]
        case ListMessages():
            if any(each is not None and each not in state.messages for each in (query.after, query.before)):
                raise Refused("NotFound")
            asked = {"limit": query.limit, "order": query.order, "after": query.after, "before": query.before}
            found["messages"] = naive.page(state, **asked)
    return found


def _state_at(query: GetStateAt, history: Sequence[Kept]) -> JSON:
    n = query.n or query.as_of
    assert isinstance(n, int)
    if n > len(history):
        raise Refused("NotFound" if query.n or not history else "Invalid")
    now = naive.state(query.thread_id, history[:n])
    shown = now.shown if now.status == "open" else None
    return {"n": now.n, "seq": now.seq, "thread": shown, "message_count": now.count}


def _history(query: GetHistory, history: Sequence[Kept]) -> JSON:
    if not history:
        raise Refused("NotFound")
    if query.start is not None and query.after is not None:
        raise Refused("Invalid")
    before, after = _place(history, query.before), _place(history, query.after)
    if query.start is not None:
        after = query.start - 1 if query.order == "asc" else query.start + 1
    left = list(history) if query.order == "asc" else list(reversed(history))
    for_asc = query.order == "asc"
    back = before is not None and after is None
    begun = after is not None
    left = [
        each
        for each in left
        if (after is None or (each.n > after if for_asc else each.n < after))
        and (before is None or (each.n < before if for_asc else each.n > before))
    ]
    found: list[Kept] = []
    read: list[Kept] = []
    more = False
    for each in reversed(left) if back else left:
        if len(found) == query.limit:
            more = True
            break
        read.append(each)
        if _taken(query, each.commit):
            found.append(each)
    first, last = (read[0] if read and (back or begun) else None), (read[-1] if more else None)
    if back:
        found, first, last = found[::-1], last, first
    return {
        "commits": [
            (each.n, each.seq, each.hash, each.commit["id"], each.commit["reason"], naive.events(each))
            for each in found
        ],
        "next": last.n + (1 if for_asc else -1) if last is not None else None,
        "cursor": f"{last.n}-{last.seq}" if last is not None else None,
        "previous": f"{first.n}-{first.seq}" if first is not None else None,
    }


def _place(history: Sequence[Kept], cursor: str | None) -> int | None:
    if cursor is None:
        return None
    n, _, seq = cursor.partition("-")
    if int(n) > len(history) or (seq and history[int(n) - 1].seq != int(seq)):
        raise Refused("Invalid")
    return int(n)


def _taken(query: GetHistory, commit: JSON) -> bool:
    types = {event["type"] for event in commit["events"]}
    by = query.actor is None or commit["actor"] == query.actor
    if query.actor is not None and query.actor.endswith("*"):
        by = commit["actor"].startswith(query.actor[:-1])
    return by and (not query.types or bool(types & {*query.types}))


def told(answer: Answer) -> JSON:
    """What an answer says, in the form of :func:`wanted`."""
    said: Any = plain(answer)
    if "commits" in said and "object" not in said:
        commits = [
            (
                *(each["commit"]["n"], each["position"]["seq"], each["hash"], each["commit"]["id"]),
                *(each["commit"]["reason"], events(each["commit"])),
            )
            for each in said["commits"]
        ]
        return {"commits": commits, **{name: said[name] for name in ("next", "cursor", "previous")}}
    match said.get("object"):
        case "thread.blame":
            return {
                "erased": said["erased"],
                "metadata": {each["key"]: each["by"]["n"] for each in said["metadata"]},
                "removed": {each["key"]: each["by"]["n"] for each in said["removed"]},
                "expires": (expiry := said.get("expires_after")) and (expiry["value"], expiry["by"]["n"]),
                "messages": {
                    each["id"]: [each["added"]["n"], each["changed"]["n"], each["deleted"] and each["deleted"]["n"]]
                    for each in said["messages"]
                },
            }
        case "thread.difference":
            return {
                "erased": said["erased"],
                "status": (said["status"]["before"], said["status"]["after"]),
                "commits": [(each["n"], each["reason"]) for each in said["commits"]],
                "expires": (expiry := said.get("expires_after")) and (expiry["before"], expiry["after"]),
                "metadata": {each["key"]: (each["before"], each["after"]) for each in said["metadata"]},
                "messages": {each["id"]: (each["before"], each["after"]) for each in said["messages"]},
            }
    found = {"n": said["n"], "seq": said["position"]["seq"]}
    return found | {key: said[key] for key in ("thread", "message", "messages", "message_count") if key in said}


def events(commit: JSON) -> list[JSON]:
    """The events of a commit in an answer, in the form of :func:`naive.events`."""
    return [
        {
            key: value
            for key, value in event.items()
            if key != "seal" and not ("of" in event and (key == "type" or value is None))
        }
        for event in commit["events"]
    ]


def plain(said: object) -> Any:
    """Whatever it is as JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(said))


def same(query: Query, answer: Answer | ClewError, history: Sequence[Kept]) -> str | None:
    """What is wrong with an answer if these are all the commits there are, or nothing.

    What was erased is left out of them already.
    """
    try:
        right: object = wanted(query, history)
    except Refused as refusal:
        right = str(refusal)
    said: object = type(answer).__name__ if isinstance(answer, ClewError) else plain(told(answer))
    right = plain(right)
    return None if said == right else f"{query}\n  said  {said}\n  right {right}"


def is_eventual(query: Query) -> bool:
    """Whether an answer may be behind."""
    return getattr(query, "consistency", "strong") == "eventual"
