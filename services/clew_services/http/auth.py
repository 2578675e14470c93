"""Authentication by API key, authorization by scope, and the version of the API that a request names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from clew_events import error_texts
from clew_events.errors import Forbidden, Invalid
from clew_events.operations import Operation
from clew_services.api_keys import Holder, Keys, KeyScope
from clew_services.http.error_responses import no_key, wrong_key

_SPOKEN: Final = "assistants=v2"
_SPOKEN_ALONE: Final = _SPOKEN.encode()
_DEPRECATED: Final = "assistants=v1"
_BARE_VERSION: Final = re.compile(r"v\d{1,8}", re.ASCII)


def authenticate(headers: Mapping[bytes, bytes], keys: Keys) -> Holder:
    """Whose request this is.

    Raises:
        Unauthorized: there is no key, or nobody was given that one.
    """
    shown = headers.get(b"authorization", b"")
    scheme, _, key = shown.decode("latin-1").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise no_key()
    holder = keys.holder(key, shown)
    if holder is None:
        raise wrong_key(key)
    return holder


def parse_query(query_string: bytes) -> list[tuple[str, str]]:
    """The parameters of a query string, in their order."""
    text = query_string.decode("latin-1")
    if "%" in text or "+" in text:
        return parse_qsl(text, keep_blank_values=True)
    pairs = [part.partition("=") for part in text.split("&") if part]
    return [(name, value) for name, _, value in pairs]


def required_scopes(operation: Operation, asked: Iterable[tuple[str, str]]) -> tuple[KeyScope, ...]:
    """The scopes of which a request needs one: with ``as_of`` in its query string, reading takes ``audit``."""
    if operation.scope == "read" and any(name == "as_of" for name, _ in asked):
        return ("audit",)
    return operation.scopes


def check_scope(holder: Holder, *needed: KeyScope) -> None:
    """Pass if a key has one of the scopes ``needed``.

    Raises:
        Forbidden: it does not.
    """
    if holder.scopes.isdisjoint(needed):
        raise Forbidden(
            f"You have insufficient permissions for this operation. Missing scopes: {' or '.join(needed)}.",
            code="missing_scope",
        )


def check_api_version(headers: Mapping[bytes, bytes]) -> None:
    """Check that ``OpenAI-Beta`` asks for version 2 of the Assistants API, if it is there.

    Raises:
        Invalid: it asks for something else.
    """
    header = headers.get(b"openai-beta")
    if header is None or header == _SPOKEN_ALONE:
        return
    asked = header.decode("latin-1").strip()
    betas = {beta.strip() for beta in asked.split(",")}
    if _SPOKEN in betas or not asked:
        return
    if _DEPRECATED in betas:
        raise Invalid(
            "The v1 Assistants API has been deprecated. Please try again by setting the header 'OpenAI-Beta: "
            "assistants=v2'. See the migration guide for more information: "
            "https://platform.openai.com/docs/assistants/migration.",
            code="invalid_beta",
        )
    if _BARE_VERSION.fullmatch(asked):
        raise Invalid(
            f"Invalid beta header provided: '{asked}'. Please try again by setting the header "
            "'OpenAI-Beta: assistants=v2'.",
            code="invalid_beta",
        )
    raise Invalid(f"Unknown beta requested: '{error_texts.quote_text(asked)}'.", code="invalid_beta")
