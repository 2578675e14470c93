"""The explorer's files: a page, its style and its modules, served under a strict content security policy.

The page holds no data and no key: it requests everything from the API, with the key that is entered on it.
"""

from __future__ import annotations

from hashlib import sha256
from html import escape
from importlib.resources import files
from time import perf_counter
from typing import Final

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from clew_services.http.middleware import Edge, apply_conditions, not_allowed
from clew_services.http.redirect import Redirect
from clew_services.http.responses import Answer, Headers, length

PATH: Final = "/explorer"
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # What a thread says can only become text: the browser refuses to make markup or code of any string.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""What the page may do. Everything comes from where the page came from, and no markup is made of text."""

_FOLDER: Final = "page"
_INDEX: Final = "index.html"
_TITLE_KEY: Final = b"{title_key}"
_TYPES: Final = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_HEADERS: Final[Headers] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # Kept, and asked about every time: after an upgrade nobody runs half of the old page.
    (b"cache-control", b"no-cache"),
)


class File(Edge):
    """One file of the page, by GET. It is an ASGI application."""

    def __init__(self, body: bytes, kind: bytes) -> None:
        etag = b'"%s"' % sha256(body).hexdigest()[:32].encode()
        self._whole = Answer(200, body, (*_HEADERS, (b"etag", etag), (b"content-type", kind)))

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        if scope["method"] not in {"GET", "HEAD"}:
            answer = not_allowed(scope, b"GET, HEAD")
        else:
            answer = apply_conditions(scope, self._whole)
        self.answered(scope["method"], answer.status, perf_counter() - started)
        sent = [*answer.headers, *length(answer)]
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": answer.body})  # which the server keeps from a HEAD


def explorer_routes(title_key: str) -> list[Route]:
    """The page at ``/explorer``, and each of its files beside it. They are read once, here.

    A thread is called by its metadata under ``title_key``, if that is not empty.
    """
    routes = [Route(f"{PATH}/", Redirect(b"../explorer"))]
    for file in files(__package__).joinpath(_FOLDER).iterdir():
        kind = _TYPES.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            index, body = file.name == _INDEX, file.read_bytes()
            if index:
                body = body.replace(_TITLE_KEY, escape(title_key).encode())
            routes.append(Route(PATH if index else f"{PATH}/{file.name}", File(body, kind)))
    return sorted(routes, key=lambda route: route.path)
