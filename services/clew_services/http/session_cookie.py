"""The cookie that a session is shown by, and what else a browser has to send with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.requests import cookie_parser
from starlette.types import Scope

from clew_events.errors import Forbidden

HEADER: Final = b"clew-session"
"""The header that only pages of the API's own origin can send: for others a browser asks first, and gets no answer."""
_SECURE: Final = "__Host-"
_ATTRIBUTES: Final = "Path=/; HttpOnly; SameSite=Strict"
_OURS: Final = frozenset({b"", b"same-origin", b"none"})


def is_tls(scope: Scope) -> bool:
    """Whether a request came over TLS to this process."""
    return bool(scope.get("scheme") == "https")


def session_token(headers: Mapping[bytes, bytes], *, tls: bool) -> str | None:
    """The token of the session that a request is made with, if it is made with one, and with no key.

    Over TLS it is in the cookie that this host alone can set: another one could be from a site beside it, which signs
    the person in as somebody else.
    """
    if b"authorization" in headers or b"cookie" not in headers:
        return None
    cookies, name = cookie_parser(headers[b"cookie"].decode("latin-1")), _name(headers)
    return cookies.get(_SECURE + name) or (None if tls else cookies.get(name))


def check_origin(method: str, headers: Mapping[bytes, bytes]) -> None:
    """Check that a request with a session is made by a page of this origin, or by the person.

    Raises:
        Forbidden: another site makes it, or it changes something, and does not have the header.
    """
    if headers.get(b"sec-fetch-site", b"") not in _OURS:
        raise Forbidden("Another site made this request with the session of this one.", code="cross_site")
    if method not in {"GET", "HEAD"} and HEADER not in headers:
        raise Forbidden(
            "A request with a session that is not a GET needs the header 'Clew-Session: 1', which other sites cannot "
            "send.",
            code="cross_site",
        )


def cookie_with(token: str, headers: Mapping[bytes, bytes], *, tls: bool) -> tuple[bytes, bytes]:
    """The header that sets the cookie: for the browser's session, for this host, and only for TLS where there is TLS.

    Where a proxy ends TLS, the browser's ``Origin`` says so.
    """
    secure = tls or headers.get(b"origin", b"").startswith(b"https://")
    start, end = (_SECURE, "; Secure") if secure else ("", "")
    return b"set-cookie", f"{start}{_name(headers)}={token}; {_ATTRIBUTES}{end}".encode()


def cookies_without(headers: Mapping[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that have the browser forget the cookie."""
    name = _name(headers)
    return (
        (b"set-cookie", f"{name}=; {_ATTRIBUTES}; Max-Age=0".encode()),
        (b"set-cookie", f"{_SECURE}{name}=; {_ATTRIBUTES}; Secure; Max-Age=0".encode()),
    )


def _name(headers: Mapping[bytes, bytes]) -> str:
    """The cookie's name. Cookies are of a host and all its ports, and each port may be another deployment."""
    port = headers.get(b"host", b"").decode("latin-1").rpartition("]")[2].rpartition(":")[2]
    return f"clew_session_{port}" if port.isascii() and port.isdigit() else "clew_session"
