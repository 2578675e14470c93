"""Errors as HTTP responses: a status, OpenAI's envelope, and headers that say whether to retry."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from clew_events.errors import (
    AlreadyErased,
    AlreadyExists,
    ClewError,
    Conflict,
    Corrupt,
    Forbidden,
    Forked,
    Held,
    IdReused,
    Invalid,
    NotFound,
    Rejected,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from clew_services.http.responses import RETRY_AFTER, Answer, Headers, json_answer

_STATUS: Final[tuple[tuple[type[ClewError], int], ...]] = (
    (NotFound, 404),
    (Invalid, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (AlreadyExists, 409),
    (AlreadyErased, 409),
    (Held, 409),
    (Forked, 409),
    (IdReused, 409),
    (TooLarge, 413),
    (Conflict, 409),
    (Rejected, 400),
    (Unavailable, 503),
    (Corrupt, 500),
)
_NO_KEY: Final = "missing_api_key"
_TOO_MANY: Final = 429
_DO_NOT_RETRY: Final = (b"x-should-retry", b"false")


class ErrorObject(Struct, frozen=True):
    """What went wrong: ``message`` for people, ``code`` for programs, ``param`` is the field at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(Struct, frozen=True):
    """OpenAI's envelope: all four keys are always there."""

    error: ErrorObject


def no_key() -> Unauthorized:
    """Nobody said who asks."""
    return Unauthorized(
        "You didn't provide an API key. You need to provide your API key in an Authorization header using "
        "Bearer auth (i.e. Authorization: Bearer YOUR_KEY), which you can find where Clew was started.",
        code=_NO_KEY,
    )


def wrong_key(key: str) -> Unauthorized:
    """A key that nobody was given; its middle is masked, for answers end up in logs."""
    shown = f"{key[:8]}****{key[-4:]}" if len(key) >= 16 else f"{key[:2]}****"
    return Unauthorized(f"Incorrect API key provided: {shown}. You can find your API key where Clew was started.")


def envelope(status: int, message: str, *, code: str | None = None, param: str | None = None) -> Answer:
    """An error that is an answer from the start."""
    kind = "server_error" if status >= 500 else "requests" if status == _TOO_MANY else "invalid_request_error"
    return json_answer(ErrorResponse(ErrorObject(message, kind, param, code)), status)


def unsupported_body(message: str, *, code: str, param: str) -> Answer:
    """A body in a form that is not read here; ``param`` is the header that names the form."""
    answer = envelope(415, message, code=code, param=param)
    if param == "Content-Encoding":
        answer = answer._replace(headers=(*answer.headers, (b"accept-encoding", b"identity")))
    return answer


def invalid_url(method: str, path: str, status: int = 404) -> Answer:
    """There is nothing at that path, or not with that method."""
    return envelope(status, f"Invalid URL ({method} {path if len(path) <= 256 else path[:256] + '...'})")


def too_many(wait: int) -> Answer:
    """The key is used faster than it may be; ``wait`` is in seconds."""
    answer = envelope(
        _TOO_MANY,
        f"Rate limit reached for requests of this API key. Please try again in {wait}s.",
        code="rate_limit_exceeded",
    )
    return answer._replace(headers=(*answer.headers, (b"retry-after", b"%d" % wait)))


def too_many_readers(wait: int) -> Answer:
    """As many read live as may."""
    answer = envelope(
        _TOO_MANY, f"Too many read the live feed already. Please try again in {wait}s.", code="too_many_streams"
    )
    return answer._replace(headers=(*answer.headers, (b"retry-after", b"%d" % wait)))


def too_many_connections(status: int, message: str) -> Answer:
    """As many are connected as may be."""
    answer = envelope(status, message, code="too_many_connections")
    return answer._replace(headers=(*answer.headers, RETRY_AFTER))


def unexpected_error(request_id: str) -> Answer:
    """Something broke that should not; the log says what, under the request's id."""
    return envelope(500, f"The server had an error while processing your request ({request_id}).")


def answer_of(error: ClewError, *, conditional: bool = False, repeatable: bool = True) -> Answer:
    """An error as an answer.

    ``conditional`` says that the request named the version it was for, ``repeatable`` that sending it once more cannot
    do it twice.
    """
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if conditional and error.code == Conflict.default_code:
        status = 412
    silent = isinstance(error, NotFound) or error.code == _NO_KEY
    answer = envelope(
        status,
        error.message,
        code=None if silent else error.code,
        param=None if isinstance(error, NotFound) else error.param,
    )
    return answer._replace(headers=(*answer.headers, *_headers(error, status, repeatable=repeatable)))


def _headers(error: ClewError, status: int, *, repeatable: bool) -> Headers:
    headers: list[tuple[bytes, bytes]] = []
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, Unavailable):
        headers.append(RETRY_AFTER)
    doubtful = isinstance(error, Unavailable) and error.outcome_unknown and not repeatable
    # Clients repeat 409 and 5xx by themselves: not where it cannot help, nor where it might do the thing twice.
    if doubtful or status in {409, 412} or isinstance(error, Corrupt):
        headers.append(_DO_NOT_RETRY)
    return tuple(headers)
