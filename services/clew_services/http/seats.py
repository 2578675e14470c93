"""Places for readers of what never ends: so many in all, and so many for a tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator


class Seats:
    """Counts who reads. A place is taken as soon as it is asked for, so that two cannot have the last one."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def take(self, tenant: str, *, most: int, most_of_a_tenant: int) -> Seat | None:
        """A place for one of a tenant's readers, to be left later; nothing where there is none."""
        if self._taken.total() >= most or self._taken[tenant] >= most_of_a_tenant:
            return None
        self._taken[tenant] += 1
        return Seat(self._taken, tenant)


class Seat:
    """One reader's place, until it is left."""

    __slots__ = ("_taken", "_tenant")

    def __init__(self, taken: Counter[str], tenant: str) -> None:
        self._taken: Counter[str] | None = taken
        self._tenant = tenant

    def leave(self) -> None:
        """Give the place to somebody else. Leaving again changes nothing."""
        taken, self._taken = self._taken, None
        if taken is None:
            return
        taken[self._tenant] -= 1
        if not taken[self._tenant]:
            del taken[self._tenant]


class Seated(AsyncIterator[bytes]):
    """What a reader is given, whose place is left when that ends or is closed, even before it began."""

    def __init__(self, chunks: AsyncGenerator[bytes], seat: Seat) -> None:
        self._chunks = chunks
        self._seat = seat

    async def __anext__(self) -> bytes:
        """The next piece."""
        try:
            return await anext(self._chunks)
        except BaseException:
            self._seat.leave()
            raise

    async def aclose(self) -> None:
        """End it."""
        try:
            await self._chunks.aclose()
        finally:
            self._seat.leave()
