"""The middleware: every request enters and every answer leaves here.

It authenticates, applies the rate limit, checks the scope, and turns every exception into an answer with OpenAI's
envelope, the request's id and the headers of OpenAI's API.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple

from starlette.types import Receive, Scope, Send

from clew_events.errors import ClewError, Conflict, Invalid, Unauthorized, Unavailable
from clew_events.operations import HttpRoute, Operation
from clew_services.api_keys import Holder, Keys, KeyScope
from clew_services.api_keys.sessions import ENDED, Sessions
from clew_services.http import error_responses
from clew_services.http.auth import authenticate, check_api_version, check_scope, parse_query, required_scopes
from clew_services.http.call import Call
from clew_services.http.caller_limits import RateLimit
from clew_services.http.preconditions import NO_CONDITIONS, Conditions
from clew_services.http.protocol import combine_fields, hang_up, write_whole
from clew_services.http.request_body import CallerSlow, Incomplete, Intake, UnsupportedBody
from clew_services.http.responses import NOT_KEPT, Answer, Headers, close_chunks, length, stream_response
from clew_services.http.retries import retry_count
from clew_services.http.session_cookie import check_origin, is_tls, session_token
from clew_services.http.wrong_keys import WrongKeys
from clew_services.observer import Answered, ignore_answer

Respond = Callable[[Call], Awaitable[Answer]]
Show = Callable[[], Awaitable[Answer]]

_IDS: Final = random.Random()  # noqa: S311 - see _request_id
_LOG: Final = logging.getLogger("clew.http")
_VERSION: Final = (b"openai-version", b"2020-10-01")
_SINGLE: Final = ("Authorization", "Clew-Actor", "Clew-Reason", "Idempotency-Key")


class Edge:
    """What all of these have in common: ``answered`` is told of every answer."""

    answered: Answered = staticmethod(ignore_answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        raise NotImplementedError


class Door(NamedTuple):
    """One method of a path: the function that answers it, and what the table of operations says of it."""

    respond: Respond
    operation: Operation
    route: HttpRoute
    scopes: tuple[KeyScope, ...]
    versioned: bool

    @classmethod
    def of(cls, respond: Respond, operation: Operation, route: HttpRoute) -> Door:
        """A door of the table of operations; what it asks of every request is found out once."""
        return cls(respond, operation, route, operation.scopes, route.versioned)


class Admission(NamedTuple):
    """What decides who is let in: the keys and sessions that are good, and who asks too often."""

    keys: Keys
    sessions: Sessions
    pace: RateLimit
    wrong_keys: WrongKeys


class Doorway(Edge):
    """One path for holders of a key: a door for each of its methods. It is an ASGI application."""

    def __init__(self, doors: Mapping[str, Door], admission: Admission, max_body: int) -> None:
        self._doors = {**doors, **({"HEAD": doors["GET"]} if "GET" in doors else {})}
        self.methods = frozenset(self._doors)
        self._allow = ", ".join(sorted(self.methods)).encode()
        self._keys, self._sessions, self._pace, self._wrong_keys = admission
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter_ns()
        request_id, method, query_string = _request_id(), scope["method"], scope["query_string"]
        headers = combine_fields(scope["headers"])
        intake = Intake(scope, headers, receive, self._max_body)
        holder: Holder | None = None
        try:
            door = self._doors.get(method)
            if door is None:
                answer = not_allowed(scope, self._allow)
            else:
                if len(headers) != len(scope["headers"]):
                    check_single(scope["headers"])
                holder = self._keys.recall(headers.get(b"authorization", b""))
                if holder is None:
                    holder = await self._authenticate(scope, headers)
                if (wait := self._pace.wait(holder)) is not None:
                    answer = error_responses.too_many(wait)
                else:
                    asked = parse_query(query_string) if query_string else ()
                    check_scope(holder, *(required_scopes(door.operation, asked) if asked else door.scopes))
                    if door.versioned:
                        check_api_version(headers)
                    call = Call(intake, holder, door.route, asked)
                    call.check()
                    answer = await door.respond(call)
                    if door.route.method == "GET" and call.conditions is not NO_CONDITIONS:
                        answer = await _apply_conditions(call, answer)
        except (Exception, asyncio.CancelledError) as fault:  # noqa: BLE001 - the caller gets an answer, whatever broke
            answer = _instead(fault, request_id, scope, headers)
        spent = time.perf_counter_ns() - started
        self.answered(method, answer.status, spent / 1e9)
        common: Headers = (_VERSION, (b"openai-processing-ms", b"%d" % (spent // 1_000_000)))
        if holder is not None:
            tenant = holder.tenant.encode()
            common = (*common, (b"openai-organization", tenant), (b"openai-project", tenant))
        if answer.chunks is None or method == "HEAD":
            await send_answer(send, answer, request_id, common)
        else:
            await stream_response(
                send,
                intake,
                answer.chunks,
                (*answer.headers, *common, *NOT_KEPT, _request_id_of(request_id)),
                admits=self._admits(scope, headers),
                hang_up=partial(hang_up, send),
            )

    async def _authenticate(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Holder:
        try:
            if (token := session_token(headers, tls=is_tls(scope))) is None:
                return authenticate(headers, self._keys)
            check_origin(scope["method"], headers)
            return await self._sessions.find(token)
        except Unauthorized as error:
            if error.code in {Unauthorized.default_code, ENDED}:
                await self._wrong_keys.count((scope.get("client") or ("",))[0])
            raise

    def _admits(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Callable[[], Awaitable[Holder]]:
        # Whoever loses their key or session loses what they were given by it, too.
        token = session_token(headers, tls=is_tls(scope))

        async def admit() -> Holder:
            return authenticate(headers, self._keys) if token is None else await self._sessions.find(token)

        return admit


class Window(Edge):
    """One path that shows the same to everybody, by GET. It is an ASGI application."""

    def __init__(self, show: Show) -> None:
        self._show = show

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        request_id = _request_id()
        try:
            if scope["method"] in {"GET", "HEAD"}:
                answer = apply_conditions(scope, await self._show())
            else:
                answer = not_allowed(scope, b"GET, HEAD")
        except Exception:  # noqa: BLE001 - the caller gets an answer, whatever broke
            _LOG.exception("%s: %s %s failed", request_id, scope["method"], scope["path"])
            answer = error_responses.unexpected_error(request_id)
        self.answered(scope["method"], answer.status, time.perf_counter() - started)
        await send_answer(send, answer, request_id)


class Nowhere(Edge):
    """Every path at which there is nothing. It is an ASGI application."""

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Say so."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        answer = error_responses.invalid_url(scope["method"], scope["path"])
        self.answered(scope["method"], answer.status, 0.0)
        await send_answer(send, answer)


def apply_conditions(scope: Scope, answer: Answer) -> Answer:
    """What a GET or HEAD is answered, where ``answer`` is what is there, by the conditions of its headers."""
    try:
        return Conditions.parse(combine_fields(scope["headers"])).apply(answer)
    except (Invalid, Conflict) as error:
        return error_responses.answer_of(error, conditional=True)


def check_single(lines: Iterable[tuple[bytes, bytes]]) -> None:
    """Check that a header that holds one value is there once at most: of two actors nobody is to make a third.

    Raises:
        Invalid: it is there more than once.
    """
    counts = Counter(name for name, _ in lines)
    for name in _SINGLE:
        if counts[name.lower().encode()] > 1:
            raise Invalid(f"Invalid '{name}': it is given more than once.", param=name)


async def _apply_conditions(call: Call, answer: Answer) -> Answer:
    applied = None
    try:
        applied = call.conditions.apply(answer)
    finally:
        if applied is not answer and answer.chunks is not None:
            await close_chunks(answer.chunks)
    return applied


def _request_id_of(request_id: str) -> tuple[bytes, bytes]:
    return b"x-request-id", request_id.encode()


def _request_id() -> str:
    # Unique is enough, nothing is kept secret by it: so no system call for each request.
    return f"req_{_IDS.getrandbits(128).to_bytes(16).hex()}"


def not_allowed(scope: Scope, allow: bytes) -> Answer:
    """What is answered where something is at the path, but not for that method."""
    answer = error_responses.invalid_url(scope["method"], scope["path"], 405)
    return answer._replace(headers=(*answer.headers, (b"allow", allow)))


def _instead(fault: BaseException, request_id: str, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
    """What is answered where what was asked for did not come about."""
    match fault:
        case ClewError():
            return _refusal(fault, request_id, headers)
        case Incomplete():
            return error_responses.envelope(400, "The request's body broke off before its end.")
        case UnsupportedBody():
            return error_responses.unsupported_body(fault.message, code=fault.code, param=fault.param)
        case CallerSlow():
            return error_responses.envelope(408, "The request's body did not arrive in time.")
        case asyncio.CancelledError():
            stopping = Unavailable("the service stops, and did not wait longer", code="stopping", outcome_unknown=True)
            return _refusal(stopping, request_id, headers)
        case _:
            _LOG.error("%s: %s %s failed", request_id, scope["method"], scope["path"], exc_info=fault)
            return error_responses.unexpected_error(request_id)


def _refusal(error: ClewError, request_id: str, headers: Mapping[bytes, bytes]) -> Answer:
    if error.kind in {"unavailable", "corrupt"}:
        _LOG.warning("%s: %s", request_id, error.message)
    repeatable = b"idempotency-key" in headers or retry_count(headers) is not None
    conditional = b"if-match" in headers or b"if-none-match" in headers
    return error_responses.answer_of(error, conditional=conditional, repeatable=repeatable)


async def send_answer(send: Send, answer: Answer, request_id: str | None = None, common: Headers = ()) -> None:
    """Send an answer with the headers of all answers; without a ``request_id`` it gets a new one."""
    if answer.chunks is not None:  # which nobody asked for, only what they begin with
        await close_chunks(answer.chunks)
    headers = [*answer.headers, *common, *NOT_KEPT, _request_id_of(request_id or _request_id()), *length(answer)]
    if not write_whole(send, answer.status, headers, answer.body):
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})
