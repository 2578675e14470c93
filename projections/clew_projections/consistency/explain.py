"""Explanation of a wrong view: the commit that it missed, or the commit since which a field is right. Pure.

The view is compared with folds that leave out one commit, and with folds up to an earlier commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clew_events.commit import Recorded
from clew_events.ids import ordinal_of
from clew_projections.apply import advance, advance_message, message_ids
from clew_projections.fold import ThreadState, evolve
from clew_projections.views import MessageView, ThreadView, absent

TRIED: Final = 500
"""The number of latest commits that are each tried as the missed one."""
STATE: Final = ThreadState.__struct_fields__
SAID: Final = tuple(field for field in MessageView.__struct_fields__ if field not in {"n", "created_at"})


def why_thread(found: ThreadView, history: Sequence[Recorded]) -> str:
    """Explain why a thread's view differs from the fold of its history, given at least up to the view's ``n``."""
    history = history[: found.n]
    if len(history) < found.n:
        return (
            f"it stands at commit {found.n}, and the log ends with commit {len(history)}: commits were lost, or "
            "something other than Clew wrote it"
        )
    views = _views(found, history)
    if _same(found, views[-1]):
        return _beside(found, views[-1])
    for k in range(len(history) - 1, 0, -1):
        if _same(found, views[k]):
            return f"commits {k + 1} to {found.n} were missed: it holds the state after commit {k}"
    for k in range(len(history), max(0, len(history) - TRIED), -1):
        if _same(found, _without(views[k - 1], history[k:])):
            return f"commit {k} at sequence {history[k - 1].position.seq} was missed: without it, it would be right"
    return "; ".join(_field(name, found, views) for name in STATE if getattr(found, name) != getattr(views[-1], name))


def why_message(found: MessageView | None, message_id: str, history: Sequence[Recorded]) -> str:
    """Explain why a message's view differs from its history, or is missing."""
    concerned = [each for each in history if message_id in message_ids(each.commit)]
    first, last = concerned[0].commit.n, concerned[-1].commit.n
    if found is None:
        return f"commit {first}, which added message {message_id}, was missed, or its view was deleted"
    view: MessageView | None = None
    views = [view := advance_message(view, message_id, each.commit) for each in concerned]
    for each in reversed(views):
        if all(getattr(each, name) == getattr(found, name) for name in SAID):
            missed = [record.commit.n for record in concerned if record.commit.n > each.n]
            if missed:
                numbers = ", ".join(map(str, missed))
                return f"message {message_id}: commits {numbers} were missed: it is as it was after commit {each.n}"
            return f"message {message_id}: its content is right and its commit fields are not: {_foreign()}"
    return f"message {message_id}: it was never so, by commits {first} to {last}: {_foreign()}"


def _views(found: ThreadView, history: Sequence[Recorded]) -> list[ThreadView]:
    """Return the views after none, one, two … of the commits."""
    view = absent(found.tenant, found.id)
    return [view, *(view := advance(view, each) for each in history)]


def _without(view: ThreadView, rest: Sequence[Recorded]) -> ThreadView:
    for each in rest:
        for event in each.commit.events:
            view = evolve(view, event)
    return view


def _same(one: ThreadView, other: ThreadView) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in STATE)


def _beside(found: ThreadView, right: ThreadView) -> str:
    names = [name for name in right.__struct_fields__ if getattr(found, name) != getattr(right, name)]
    return f"the thread's state is right and its view's commit fields are not ({', '.join(names)}): {_foreign()}"


def _field(name: str, found: ThreadView, views: Sequence[ThreadView]) -> str:
    right = getattr(views[-1], name)
    since = next(k for k in range(len(views) - 1, -1, -1) if k == 0 or getattr(views[k - 1], name) != right)
    was = [k for k in range(1, len(views)) if getattr(views[k], name) == getattr(found, name)]
    said = f"as after commit {was[-1]}" if was else f"as it never was: {_foreign()}"
    return f"'{name}' has been right since commit {since} and is {said}"


def _foreign() -> str:
    return "something other than this fold wrote it"


def ordinals_of(history: Sequence[Recorded]) -> dict[int, str]:
    """Return the ids of all messages of a history, by ordinal."""
    return {ordinal_of(message_id): message_id for each in history for message_id in message_ids(each.commit)}
