"""Paths that lead to another page: ``/`` and ``/explorer/``."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive, Scope, Send

from clew_services.http.middleware import Nowhere, send_answer
from clew_services.http.responses import Answer

_HTML: Final = b"text/html"


class Redirect(Nowhere):
    """Sends a GET to ``location``, which is relative to the path. It is an ASGI application.

    With ``browsers_only`` there is nothing at the path for those who do not accept HTML.
    """

    def __init__(self, location: bytes, *, browsers_only: bool = False) -> None:
        self._answer = Answer(307, b"", ((b"location", location), *(((b"vary", b"accept"),) if browsers_only else ())))
        self._browsers_only = browsers_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        accepted = b",".join(value for name, value in scope["headers"] if name == b"accept").lower()
        if scope["method"] not in {"GET", "HEAD"} or (self._browsers_only and _HTML not in accepted):
            await super().__call__(scope, receive, send)
            return
        self.answered(scope["method"], self._answer.status, 0.0)
        await send_answer(send, self._answer)
