"""``/v1/session``: what a browser shows in place of an API key."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, UnsetType

from clew_events.http_forms import OpenSessionBody
from clew_events.http_objects import ClosedSession, Session
from clew_services.api_keys import SCOPES
from clew_services.api_keys.sessions import Sessions
from clew_services.http.call import Call
from clew_services.http.error_responses import no_key
from clew_services.http.responses import Answer, json_answer
from clew_services.http.session_cookie import cookie_with, cookies_without, session_token


class SessionDesk:
    """Opens, shows and ends sessions."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def open_session(self, call: Call) -> Answer:
        """``POST /v1/session``, with an API key.

        Raises:
            Unauthorized: it is made with a session, which opens no other.
            Invalid: its body has anything in it.
        """
        await call.body(OpenSessionBody, empty=b"{}")
        if b"authorization" not in call.headers:
            raise no_key()
        token, expires_at = await self._sessions.open(call.holder)
        return json_answer(_shown(call, expires_at), headers=(cookie_with(token, call.headers, tls=call.tls),))

    async def get_session(self, call: Call) -> Answer:
        """``GET /v1/session``, with an API key or a session."""
        token = session_token(call.headers, tls=call.tls)
        return json_answer(_shown(call, UNSET if token is None else self._sessions.expires_at(token)))

    async def close_session(self, call: Call) -> Answer:
        """``DELETE /v1/session``; with an API key there is nothing to end."""
        token = session_token(call.headers, tls=call.tls)
        if token is not None:
            await self._sessions.close(token)
        return json_answer(ClosedSession(), headers=cookies_without(call.headers))


def _shown(call: Call, expires_at: datetime | UnsetType) -> Session:
    holder = call.holder
    scopes = tuple(scope for scope in SCOPES if scope in holder.scopes)
    return Session(tenant=holder.tenant, key=holder.key, actor=holder.actor, scopes=scopes, expires_at=expires_at)
