"""Explanation of a wrong view: the commit that it missed, or the commit since which a field is right. Pure.

The view is compared with folds that leave out one commit, and with folds up to an earlier commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clew_events.commit import Recorded
from clew_projections.apply import advance_stored
from clew_projections.fold import ThreadState, evolve
from clew_projections.places import Places
from clew_projections.views import StoredView, ThreadView, absent_stored

TRIED: Final = 500
"""The number of latest commits that are each tried as the missed one."""
STATE: Final = ThreadState.__struct_fields__


def why_thread(found: StoredView, history: Sequence[Recorded]) -> str:
    """Explain why a thread's view differs from the fold of its history, given at least up to the view's ``n``."""
    history = history[: found.n]
    if len(history) < found.n:
        return (
            f"it stands at commit {found.n}, and the log ends with commit {len(history)}: commits were lost, or "
            "something other than Clew wrote it"
        )
    views = [view for view, _ in _states(found.tenant, found.id, history)]
    if _same(found, views[-1]):
        return _beside(found, views[-1])
    for k in range(len(history) - 1, 0, -1):
        if _same(found, views[k]):
            return f"commits {k + 1} to {found.n} were missed: it holds the state after commit {k}"
    for k in range(len(history), max(0, len(history) - TRIED), -1):
        if _same(found, _without(views[k - 1], history[k:])):
            return f"commit {k} at sequence {history[k - 1].position.seq} was missed: without it, it would be right"
    return "; ".join(_field(name, found, views) for name in STATE if getattr(found, name) != getattr(views[-1], name))


def why_page(found: Places | None, number: int, history: Sequence[Recorded]) -> str:
    """Explain why a full page of places differs from its history, or is missing."""
    if found is None:
        return f"page {number} of its places was deleted, or cannot be read"
    commit = history[0].commit
    states = [pages.get(number) for _, pages in _states(commit.tenant, commit.thread, history)]
    for k in range(len(states) - 1, -1, -1):
        if states[k] == found:
            missed = [n for n in range(k + 1, len(states)) if states[n] != states[n - 1]]
            return f"page {number}: commits {', '.join(map(str, missed))} were missed: it is as after commit {k}"
    return f"page {number}: it never was so, by commits 1 to {len(history)}: {_foreign()}"


def _states(tenant: str, thread: str, history: Sequence[Recorded]) -> list[tuple[StoredView, dict[int, Places]]]:
    """Return the views and full pages after none, one, two … of the commits."""
    view, pages = absent_stored(tenant, thread), dict[int, Places]()
    states = [(view, pages)]
    for recorded in history:
        view, pages = advance_stored(view, pages, recorded)
        states.append((view, pages))
    return states


def _without(view: StoredView, rest: Sequence[Recorded]) -> StoredView:
    for each in rest:
        for event in each.commit.events:
            view = evolve(view, event)
    return view


def _same(one: ThreadView, other: ThreadView) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in STATE)


def _beside(found: ThreadView, right: ThreadView) -> str:
    names = [name for name in right.__struct_fields__ if getattr(found, name) != getattr(right, name)]
    return f"the thread's state is right and other fields of its view are not ({', '.join(names)}): {_foreign()}"


def _field(name: str, found: ThreadView, views: Sequence[StoredView]) -> str:
    right = getattr(views[-1], name)
    since = next(k for k in range(len(views) - 1, -1, -1) if k == 0 or getattr(views[k - 1], name) != right)
    was = [k for k in range(1, len(views)) if getattr(views[k], name) == getattr(found, name)]
    said = f"as after commit {was[-1]}" if was else f"as it never was: {_foreign()}"
    return f"'{name}' has been right since commit {since} and is {said}"


def _foreign() -> str:
    return "something other than this fold wrote it"
