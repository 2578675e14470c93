"""A client whose calls reach Clew and whose answers get lost."""

from __future__ import annotations

from typing import TypeVar

from clew_events.client import Clew
from clew_events.commands import Command
from clew_events.errors import Unavailable

T = TypeVar("T")


class LossyClew(Clew):
    """Loses commands as ``lost`` says: for each type, whether the next one still reaches Clew, and its answer is lost.

    ``after`` is how many are let through before.
    """

    def __init__(self, clew: Clew) -> None:
        super().__init__(clew.nc, tenant=clew.tenant, actor=clew.actor)
        self.lost: dict[type[Command], bool] = {}
        self.after: dict[type[Command], int] = {}

    async def _execute(self, command: Command, answer: type[T]) -> T:
        kind = type(command)
        if kind not in self.lost:
            return await super()._execute(command, answer)
        if self.after.get(kind):
            self.after[kind] -= 1
            return await super()._execute(command, answer)
        if self.lost.pop(kind):
            await super()._execute(command, answer)
        raise Unavailable("no reply in time", code="no_reply", outcome_unknown=True)
