"""Places for what takes room while it lasts: so many in all, and so many for each owner, a tenant or an address."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator


class StreamLimit:
    """Counts who is there. A place is taken as soon as it is asked for, so that two cannot have the last one."""

    def __init__(self) -> None:
        self.taken = 0
        self._of: dict[str, int] = {}

    def take(self, owner: str, *, most: int, most_of_one: int) -> StreamPlace | None:
        """A place for ``owner``, to be left later; nothing where there is none."""
        mine = self._of.get(owner, 0)
        if self.taken >= most or mine >= most_of_one:
            return None
        self._of[owner] = mine + 1
        self.taken += 1
        return StreamPlace(self, owner)

    def give_back(self, owner: str) -> None:
        """Have room for one more of ``owner``."""
        self.taken -= 1
        self._of[owner] -= 1
        if not self._of[owner]:
            del self._of[owner]


class StreamPlace:
    """One place, until it is left."""

    __slots__ = ("_owner", "_seats")

    def __init__(self, seats: StreamLimit, owner: str) -> None:
        self._seats: StreamLimit | None = seats
        self._owner = owner

    def leave(self) -> None:
        """Give the place to somebody else. Leaving again changes nothing."""
        seats, self._seats = self._seats, None
        if seats is not None:
            seats.give_back(self._owner)


class LimitedStream(AsyncIterator[bytes]):
    """What a reader is given, whose place is left when that ends or is closed, even before it began."""

    def __init__(self, chunks: AsyncGenerator[bytes], seat: StreamPlace) -> None:
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
