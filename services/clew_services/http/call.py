"""A request as a route sees it: who asks, about which thread, and what for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec
from starlette.types import Scope

from clew_events import ids
from clew_events.errors import Invalid
from clew_events.queries import AsOf
from clew_services import validation
from clew_services.api_keys import Holder
from clew_services.http import retries
from clew_services.http.bodies import AsOfMoment
from clew_services.http.request_body import Intake
from clew_services.threads.decide import no_message, no_thread
from clew_services.validation import error_texts

T = TypeVar("T")
NONE: Final[frozenset[str]] = frozenset()
AS_OF: Final = "as_of"
MOMENT: Final = frozenset({AS_OF})
BETWEEN: Final = frozenset({"from", "to"})
_SPACED_OFFSET: Final = re.compile(r"(?<=\d) (\d\d:\d\d)$")


class Call:
    """One request of a caller who was let in. What is wrong with a part is raised when that part is asked for."""

    __slots__ = ("_intake", "_scope", "headers", "holder")

    def __init__(self, scope: Scope, headers: Mapping[bytes, bytes], intake: Intake, holder: Holder) -> None:
        self.headers = headers
        self.holder = holder
        self._scope = scope
        self._intake = intake

    @property
    def thread_id(self) -> str:
        """The thread that the path names.

        Raises:
            Invalid: it is not the id of a thread at all.
            NotFound: no thread can have that id.
        """
        said = unquote(self._path_params["thread_id"])
        if not ids.is_thread_id(said):
            if not said.startswith("thread"):
                raise error_texts.wrong_prefix("thread_id", said, "thread")
            raise no_thread(error_texts.quote_text(said, 128))
        return said

    @property
    def message_id(self) -> str:
        """The message that the path names.

        Raises:
            Invalid: it is not the id of a message at all.
            NotFound: no message can have that id.
        """
        said = unquote(self._path_params["message_id"])
        if not ids.is_message_id(said):
            if not said.startswith("msg"):
                raise error_texts.wrong_prefix("message_id", said, "msg")
            raise no_message(error_texts.quote_text(said, 128))
        return said

    async def body(self, form: type[T], *, empty: bytes = b"") -> T:
        """The body, as ``form``; ``empty`` stands for a body that is not there.

        Raises:
            Invalid: it is not of that form.
            TooLarge: it has more bytes than the service takes.
        """
        return validation.decode(await self._intake.read() or empty, form)

    def query(self, form: type[T], numbers: frozenset[str] = NONE, times: frozenset[str] = NONE) -> T:
        """The query string, as ``form``; ``numbers`` are the parameters that are written in digits.

        In ``times`` a plus sign that was not encoded, and so came as a space, is taken for what was meant.

        Raises:
            Invalid: it is not of that form.
        """
        return self._formed(self._said(), form, numbers, times)

    def _said(self) -> list[tuple[str, str]]:
        return parse_qsl(self._scope["query_string"].decode("latin-1"), keep_blank_values=True)

    def _formed(
        self, texts: Iterable[tuple[str, str]], form: type[T], numbers: frozenset[str], times: frozenset[str]
    ) -> T:
        said: dict[str, object] = {}
        for name, text in texts:
            if name in said:
                raise Invalid(
                    f"Invalid '{error_texts.quote_text(name)}': it is given more than once.",
                    param=error_texts.quote_text(name),
                )
            if name in numbers and _is_number(text):
                said[name] = int(text)
            else:
                said[name] = _time(name, text) if name in times else text
        return validation.convert(said, form)

    @property
    def as_of(self) -> AsOf | None:
        """The moment of the past that is asked for, if one is, of whatever else the query string says.

        Raises:
            Invalid: it can be none.
        """
        said = [(name, text) for name, text in self._said() if name == AS_OF]
        return self._formed(said, AsOfMoment, MOMENT, MOMENT).as_of if said else None

    async def likeness(self) -> Callable[[], bytes]:
        """What makes out what this request and its repetitions have in common, the whole body included.

        Raises:
            TooLarge: the body has more bytes than the service takes.
        """
        body, method, path = await self._intake.read(), self._scope["method"], self._scope["raw_path"]
        return partial(retries.likeness, self.holder, method, path, self.headers, body)

    @asynccontextmanager
    async def watch_caller(self, gone: Callable[[], None]) -> AsyncIterator[None]:
        """A block during which ``gone`` is called as soon as the caller leaves. The body has to be read before."""

        async def waiting() -> None:
            await self._intake.left()
            gone()

        watch = asyncio.create_task(waiting())
        try:
            yield
        finally:
            watch.cancel()

    def path_param(self, name: str) -> str:
        """A part of the path, as it was sent."""
        return str(self._path_params[name])

    @property
    def _path_params(self) -> Mapping[str, Any]:
        params: Mapping[str, Any] = self._scope["path_params"]
        return params


def _time(name: str, text: str) -> datetime:
    try:
        return msgspec.convert(_SPACED_OFFSET.sub(r"+\1", text), datetime)
    except msgspec.ValidationError:
        what = "a commit's number, a time" if name in MOMENT | BETWEEN else "a time"
        raise error_texts.malformed_value(name, text, f"{what} such as 2026-11-22T22:00:00Z, or Unix seconds") from None


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and len(digits) <= 40
