"""A request as a route sees it: its caller, its path, its query string and its body, validated when they are read."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import inspect

from clew_events import error_texts, ids
from clew_events.errors import Invalid
from clew_events.http_forms import AsOfMoment
from clew_events.operations import HttpRoute
from clew_events.queries import AsOf
from clew_services import validation
from clew_services.api_keys import Holder
from clew_services.http import retries
from clew_services.http.preconditions import NO_CONDITIONS, Conditions
from clew_services.http.request_body import Intake, check_body_form
from clew_services.http.session_cookie import is_tls
from clew_services.threads.decide import no_item, no_message

T = TypeVar("T")
_API_VERSION: Final = "api-version"
"""A query parameter that clients for Azure send with every request; it is ignored."""
_MOMENTS: Final = frozenset({"as_of", "from", "to"})
"""The parameters that take a commit's number beside a time."""
_SPACED_OFFSET: Final = re.compile(r"(?<=\d) (\d\d:\d\d)$")


class Call:
    """One request of a caller who was let in. What is wrong with a part is raised when that part is asked for."""

    __slots__ = ("_intake", "_route", "_said", "_scope", "conditions", "headers", "holder")

    def __init__(self, intake: Intake, holder: Holder, route: HttpRoute, asked: Sequence[tuple[str, str]]) -> None:
        self.headers = intake.headers
        self.holder = holder
        self.conditions = NO_CONDITIONS
        self._scope = intake.scope
        self._intake = intake
        self._route = route
        self._said = asked
        if asked:
            lists = _parameters(route.form).lists if route.form is not None else ()
            self._said = [
                (f"{name}[]" if f"{name}[]" in lists else name, text) for name, text in asked if name != _API_VERSION
            ]

    def check(self) -> None:
        """Hold the request against what holds for all routes, before any of it is used.

        Raises:
            Invalid: the query string has a parameter that the route does not know, the body is said not to be JSON, or
                a condition is none.
            UnsupportedBody: the body is said to be coded otherwise than in UTF-8.
        """
        if b"if-match" in self.headers or b"if-none-match" in self.headers:
            self.conditions = Conditions.parse(self.headers)
        known = _parameters(self._route.form).names if self._said and self._route.form is not None else ()
        for name, _ in self._said:
            if name not in known:
                raise error_texts.unknown(name)
        if self._route.body is not None:
            check_body_form(self.headers)

    @property
    def tls(self) -> bool:
        """Whether it came over TLS to this process."""
        return is_tls(self._scope)

    @property
    def thread_id(self) -> str:
        """The thread that the path names.

        Raises:
            Invalid: it is not the id of a thread at all.
            NotFound: no thread can have that id.
        """
        said = unquote(self._path_params["thread_id"])
        conversation = ids.is_conversation_id(said)
        if not said.startswith("thread") and (not conversation or self._is_about_threads_only):
            raise error_texts.wrong_prefix("thread_id", said, "thread")
        return _existing(said)

    @property
    def conversation_id(self) -> str:
        """The conversation that the path names.

        Raises:
            Invalid: it is not the id of a conversation at all.
            NotFound: no conversation can have that id.
        """
        said = unquote(self._path_params["conversation_id"])
        if not said.startswith("conv"):
            raise error_texts.wrong_prefix("conversation_id", said, "conv")
        return _existing(said)

    @property
    def item_id(self) -> str:
        """The item of a conversation that the path names.

        Raises:
            NotFound: no item can have that id.
        """
        said = unquote(self._path_params["item_id"])
        if not ids.is_item_id(said):
            raise no_item(self.conversation_id, error_texts.quote_text(said, 128))
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
        assert form is self._route.body, f"the table of operations has another body for {self._route.name}"
        return validation.decode(await self._intake.read() or empty, form)

    def query(self, form: type[T]) -> T:
        """The query string, as ``form``.

        In a time, a plus sign that was not encoded, and so came as a space, is taken for what was meant.

        Raises:
            Invalid: it is not of that form.
        """
        assert form is self._route.form, f"the table of operations has another query string for {self._route.name}"
        return _formed(self._said, form)

    @property
    def as_of(self) -> AsOf | None:
        """The moment of the past that is asked for, if one is.

        Raises:
            Invalid: it can be none.
        """
        return self.query(AsOfMoment).as_of if self._said else None

    async def likeness(self) -> Callable[[], bytes]:
        """What makes out what this request and its repetitions have in common, the whole body included.

        Raises:
            TooLarge: the body has more bytes than the service takes.
        """
        body, method, path = await self._intake.read(), self._scope["method"], self._scope["raw_path"]
        return functools.partial(retries.likeness, self.holder, method, path, self.headers, body)

    async def watch_caller(self, gone: Callable[[], None]) -> None:
        """Wait until the caller leaves, and call ``gone`` then. The body has to be read before."""
        await self._intake.left()
        gone()

    def code_param(self, name: str) -> str:
        """A code in the path, such as the name of a hold.

        Raises:
            Invalid: it is none.
        """
        said = unquote(self.path_param(name))
        if not ids.is_code(said):
            raise error_texts.malformed_value(name, said, ids.CODE_FORM)
        return said

    def path_param(self, name: str) -> str:
        """A part of the path, as it was sent."""
        return str(self._path_params[name])

    @property
    def _is_about_threads_only(self) -> bool:
        return self._route.threads_only and not any(name == "as_of" for name, _ in self._said)

    @property
    def _path_params(self) -> Mapping[str, Any]:
        params: Mapping[str, Any] = self._scope["path_params"]
        return params


def _existing(said: str) -> str:
    """The id of a thread that there may be."""
    if not ids.is_thread_id(said):
        raise error_texts.no_thread(error_texts.quote_text(said, 128))
    return said


def _formed(texts: Sequence[tuple[str, str]], form: type[T]) -> T:
    _, numbers, times, lists = _parameters(form)  # type: ignore[arg-type]

    def read(name: str, text: str) -> object:
        if name in numbers and _is_number(text):
            return int(text)
        return _time(name, text) if name in times else text

    said: dict[str, object] = {name: [read(name, text) for said, text in texts if said == name] for name in lists}
    for name, text in texts:
        if name in lists:
            continue
        if name in said:
            raise Invalid(
                f"Invalid '{error_texts.quote_text(name)}': it is given more than once.",
                param=error_texts.quote_text(name),
            )
        said[name] = read(name, text)
    return validation.convert(said, form)


class _Parameters(NamedTuple):
    """The parameters of a query string: all of them, and those that take numbers, times, or several values."""

    names: frozenset[str]
    numbers: frozenset[str]
    times: frozenset[str]
    lists: frozenset[str]


@functools.cache
def _parameters(form: type) -> _Parameters:
    described = inspect.type_info(form)
    assert isinstance(described, inspect.StructType)
    numbers, times, lists = set(), set(), set()
    for field in described.fields:
        kind = field.type.item_type if isinstance(field.type, inspect.VarTupleType) else field.type
        kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
        if any(isinstance(each, inspect.IntType) for each in kinds):
            numbers.add(field.encode_name)
        if any(isinstance(each, inspect.DateTimeType) for each in kinds):
            times.add(field.encode_name)
        if isinstance(field.type, inspect.VarTupleType):
            lists.add(field.encode_name)
    names = frozenset(field.encode_name for field in described.fields)
    return _Parameters(names, frozenset(numbers), frozenset(times), frozenset(lists))


def _time(name: str, text: str) -> datetime:
    try:
        return msgspec.convert(_SPACED_OFFSET.sub(r"+\1", text), datetime)
    except msgspec.ValidationError:
        what = "a commit's number, a time" if name in _MOMENTS else "a time"
        raise error_texts.malformed_value(name, text, f"{what} such as 2026-11-22T22:00:00Z, or Unix seconds") from None


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and len(digits) <= 40
