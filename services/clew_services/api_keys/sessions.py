"""Sessions: what a browser shows in place of an API key, until it is closed, signed out, or half a day is over.

A session's token is ``<id of the key>-<slot>-<secret>``. Its record is in the bucket of API keys, under
``session-<id of the key>-<slot>``, and has the token's SHA-256 alone. A key has :data:`SLOTS` slots, which are used
again, so that the bucket does not grow with every sign-in.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from clew_events.codec import UNREADABLE
from clew_events.errors import Unauthorized, Unavailable
from clew_projections.kv.bucket import Bucket, LostRace
from clew_projections.nats.jetstream import JetStream
from clew_services.api_keys.holders import Holder, Keys, digest
from clew_services.api_keys.key_bucket import KEYS, now

LASTS: Final = timedelta(hours=12)
"""For how long a session is good, however it is used."""
SLOTS: Final = 16
"""Sessions that a key has at a time; the oldest gives way."""
ENDED: Final = "session_ended"
"""The error code of a session that is over, or never was."""
_TOKEN: Final = re.compile("(?P<key>[0-9a-f]{16})-(?P<slot>[0-9a-f])-[A-Za-z0-9_-]{43}")
_RECORD: Final = re.compile("session-[0-9a-f]{16}-[0-9a-f]")
_TRIES: Final = 10
_ENCODE: Final = msgspec.json.Encoder().encode


class Session(Struct, frozen=True, kw_only=True):
    """The record of a session: the SHA-256 of its token, and until when it is good."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    expires_at: datetime


_DECODE: Final = msgspec.json.Decoder(Session).decode


def is_session_record(name: str) -> bool:
    """Whether a key of the bucket is that of a session's record."""
    return _RECORD.fullmatch(name) is not None


class Sessions:
    """Opens, knows and ends sessions. What was read of the bucket is remembered until it is said to have changed.

    A session is good for as long as its key is, and no longer than :data:`LASTS`.
    """

    def __init__(self, js: JetStream, keys: Keys, clock: Callable[[], datetime] = now) -> None:
        self._bucket = Bucket(js, KEYS)
        self._keys = keys
        self._clock = clock

    async def open(self, holder: Holder) -> tuple[str, datetime]:
        """Open a session for the holder of a key: its token, which is not stored, and until when it is good.

        Raises:
            Unavailable: JetStream does not answer, or others took every slot at the same time.
        """
        expires_at = self._clock() + LASTS
        for _ in range(_TRIES):
            slot, revision = await self._free_slot(holder.key)
            token = f"{holder.key}-{slot}-{secrets.token_urlsafe(32)}"
            record = Session(sha256=digest(token).hex(), expires_at=expires_at)
            name = f"session-{holder.key}-{slot}"
            try:
                await self._bucket.put(name, _ENCODE(record), revision)
            except LostRace:
                continue
            self._keys.sessions[name] = record.sha256, expires_at
            return token, expires_at
        raise Unavailable("too many open a session with this key right now", code="no_session")

    async def find(self, token: str) -> Holder:
        """Whose session a token is of.

        Raises:
            Unauthorized: it is over, its key was revoked, or there never was one.
            Unavailable: JetStream does not answer.
        """
        key, name = _parse(token)
        if not self._is_known(name, token):
            # Another process opened it a moment ago, or all keys were read again, by which what is known is forgotten.
            value = await self._bucket.latest(name)
            record = _read(value.body) if value is not None else None
            if record is None:
                raise _ended()
            self._keys.sessions[name] = record.sha256, record.expires_at
        if not self._is_known(name, token) or (holder := self._keys.holder_of(key)) is None:
            raise _ended()
        return holder

    def expires_at(self, token: str) -> datetime:
        """Until when a session is good that was found.

        Raises:
            Unauthorized: it was ended meanwhile.
        """
        known = self._keys.sessions.get(_parse(token)[1])
        if known is None:
            raise _ended()
        return known[1]

    async def close(self, token: str) -> None:
        """End a session. One that has ended stays so.

        Raises:
            Unauthorized: it can be no session's.
            Unavailable: JetStream does not answer.
        """
        _, name = _parse(token)
        value = await self._bucket.latest(name)
        record = _read(value.body) if value is not None else None
        if value is not None and record is not None and hmac.compare_digest(record.sha256, digest(token).hex()):
            with contextlib.suppress(LostRace):  # it was ended, or its slot given to another, meanwhile
                await self._bucket.delete(name, value.revision)
            self._keys.sessions.pop(name, None)

    def _is_known(self, name: str, token: str) -> bool:
        sha256, expires_at = self._keys.sessions.get(name, ("", None))
        return (
            expires_at is not None and expires_at > self._clock() and hmac.compare_digest(sha256, digest(token).hex())
        )

    async def _free_slot(self, key: str) -> tuple[str, int]:
        """A slot that is free, or else the one that is free soonest, and the revision at which it is."""
        names = {f"session-{key}-{slot:x}": f"{slot:x}" for slot in range(SLOTS)}
        values = await self._bucket.latest_of(names)
        soonest: tuple[datetime, str, int] | None = None
        for name, slot in names.items():
            value = values.get(name)
            record = _read(value.body) if value is not None else None
            if record is None or record.expires_at <= self._clock():
                return slot, value.revision if value is not None else 0
            if value is not None and (soonest is None or record.expires_at < soonest[0]):
                soonest = record.expires_at, slot, value.revision
        assert soonest is not None
        return soonest[1:]


def _parse(token: str) -> tuple[str, str]:
    """The id of the key that a token is of, and the name of the session's record."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise _ended()
    return match["key"], f"session-{match['key']}-{match['slot']}"


def _read(body: bytes) -> Session | None:
    try:
        return _DECODE(body) if body else None
    except UNREADABLE:
        return None


def _ended() -> Unauthorized:
    return Unauthorized("This session has ended. Open another one with an API key.", code=ENDED)
