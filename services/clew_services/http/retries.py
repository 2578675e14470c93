"""Retries without an idempotency key: a retry takes the command id of an earlier attempt whose answer was not received.

OpenAI's clients retry a failed request without an id, and send only the number of the retry. A retry takes the command
id of an earlier attempt with the same content; the handler then answers as the first time and does nothing twice.

An attempt can be taken only if its answer is known not to have reached its caller, and by one retry only. So no caller
gets the answer to another caller's request, and of several equal requests each is carried out. Attempts are remembered
by this process alone, for a limited time.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from clew_events import ids
from clew_services.api_keys import Holder

WINDOW: Final = 60.0
"""Seconds for which an attempt whose answer reached nobody can be found."""
MOST: Final = 10_000
"""Attempts that can be found at a time; the oldest give way."""

_COUNT: Final = b"x-stainless-retry-count"
_MARKS: Final = (b"user-agent", b"openai-organization", b"openai-project", b"if-match", b"if-none-match")


class Attempt:
    """One request that changes something, made by a client that numbers its retries."""

    __slots__ = ("_alike", "_attempts", "_known", "count", "id")

    def __init__(self, attempts: Attempts, alike: Callable[[], bytes], count: int, command_id: str) -> None:
        self._attempts = attempts
        self._alike = alike
        self._known = False
        self.count = count
        self.id = command_id

    def lost(self) -> None:
        """The caller left, or was told that the outcome is not known: a retry may take this attempt's id."""
        if not self._known:
            self._known = True
            self._attempts.keep(self, self._alike())


class Attempts:
    """The attempts of this process that told nobody what came of them."""

    def __init__(
        self, *, window: float = WINDOW, most: int = MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._window = window
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[Attempt, tuple[float, bytes]] = OrderedDict()
        self._alike: dict[bytes, list[Attempt]] = {}

    def begin(self, alike: Callable[[], bytes], count: int) -> Attempt:
        """A new attempt, the ``count``-th retry of a request: under the id of an earlier one, or of its own.

        ``alike`` gives the request's likeness; that takes time, and few are ever asked for theirs. Of several attempts
        that it may be a retry of, it takes the latest. A request that is no retry takes none.
        """
        self._forget_old()
        earlier = self._take(alike(), count) if count and self._kept else None
        return Attempt(self, alike, count, earlier.id if earlier is not None else ids.random_id("cmd_"))

    def keep(self, attempt: Attempt, likeness: bytes) -> None:
        """Let a retry find an attempt for a while."""
        self._kept[attempt] = (self._clock() + self._window, likeness)
        self._alike.setdefault(likeness, []).append(attempt)
        self._forget_old()

    def _take(self, likeness: bytes, count: int) -> Attempt | None:
        earlier = [attempt for attempt in self._alike.get(likeness, ()) if attempt.count < count]
        if not earlier:
            return None
        self._drop(earlier[-1])
        return earlier[-1]

    def _forget_old(self) -> None:
        now = self._clock()
        while self._kept:
            oldest, (until, _) = next(iter(self._kept.items()))
            if until > now and len(self._kept) <= self._most:
                return
            self._drop(oldest)

    def _drop(self, attempt: Attempt) -> None:
        _, likeness = self._kept.pop(attempt)
        alike = self._alike[likeness]
        alike.remove(attempt)
        if not alike:
            del self._alike[likeness]

    def __len__(self) -> int:
        return len(self._kept)


def retry_count(headers: Mapping[bytes, bytes]) -> int | None:
    """The number of this retry, 0 for the first attempt; ``None`` if the client does not send it."""
    said = headers.get(_COUNT, b"")
    return int(said) if said.isdigit() and len(said) <= 6 else None


def likeness(holder: Holder, method: str, path: bytes, headers: Mapping[bytes, bytes], body: bytes) -> bytes:
    """What a request and its retries have in common: key, method, path, condition, client and body."""
    marks = sorted(
        (name, value)
        for name, value in headers.items()
        if name in _MARKS or (name.startswith(b"x-stainless-") and name != _COUNT)
    )
    digest = hashlib.sha256(repr((holder.tenant, holder.actor, method, path, marks)).encode())
    digest.update(body)
    return digest.digest()
