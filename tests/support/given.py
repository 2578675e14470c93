"""Given what has happened, when a command comes, then this happens."""

from __future__ import annotations

import pytest

from clew_events.commands import Command
from clew_events.errors import ClewError
from clew_events.events import Event
from clew_projections.apply import advance_items
from clew_projections.fold import ThreadState, evolve
from clew_projections.views import ItemView
from clew_services.threads.decide import decide
from support.commits import THREAD, commit
from support.simulation import concerned


def given(*events: Event) -> Given:
    """A thread to which some events have happened, each in a commit of its own."""
    return Given(events)


class Given:
    """What has happened so far."""

    def __init__(self, events: tuple[Event, ...]) -> None:
        self.state = ThreadState()
        self.items: dict[int, ItemView] = {}
        for n, event in enumerate(events, start=1):
            self.state = evolve(self.state, event)
            made = commit(n, event)
            self.items |= advance_items(self.items, made)

    def when(self, command: Command, *, under: str = "cmd_now") -> When:
        """A command comes, under an id."""
        return When(self, command, under)


class When:
    """A command, about to be decided."""

    def __init__(self, before: Given, command: Command, command_id: str) -> None:
        self._before = before
        self._command = command
        self._id = command_id

    @property
    def events(self) -> tuple[Event, ...]:
        """What the rules make of it."""
        command = self._command
        return decide(command, THREAD, self._id, self._before.state, concerned(command, self._before.items))

    @property
    def state(self) -> ThreadState:
        """The thread after it."""
        state = self._before.state
        for event in self.events:
            state = evolve(state, event)
        return state

    def then(self, *events: Event) -> None:
        """Exactly these events happen; none, if none are named."""
        assert self.events == events

    def refused(self, error: type[ClewError], *, code: str, param: str | None = None, saying: str = "") -> None:
        """It is refused in this way."""
        with pytest.raises(error) as refusal:
            _ = self.events
        assert type(refusal.value) is error
        assert (refusal.value.code, refusal.value.param) == (code, param)
        assert saying in refusal.value.message
