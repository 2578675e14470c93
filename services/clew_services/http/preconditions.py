"""What request headers ask for beyond the body: a version to act on, an id to act under, a trace to belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from clew_events import error_texts
from clew_events.errors import Invalid
from clew_events.ids import COMMAND_ID_PATTERN, is_traceparent
from clew_services.validation.rules import GREATEST_VERSION

_COMMAND_ID: Final = re.compile(COMMAND_ID_PATTERN)
_VERSION: Final = re.compile(rb'"(0|[1-9][0-9]{0,15})"')


def command_id(headers: Mapping[bytes, bytes]) -> str | None:
    """The id to carry a command out under, once: what ``Idempotency-Key`` says.

    Raises:
        Invalid: it cannot be one.
    """
    said = headers.get(b"idempotency-key")
    if said is None:
        return None
    key = said.decode("latin-1")
    if _COMMAND_ID.fullmatch(key) is None:
        raise error_texts.malformed_value("Idempotency-Key", key, "1 to 128 visible ASCII characters")
    return key


def expected_version(headers: Mapping[bytes, bytes]) -> int | None:
    """The version of the thread that ``If-Match`` names; ``*`` is any.

    Raises:
        Invalid: it is no version of a thread.
    """
    said = headers.get(b"if-match")
    if said is None or said.strip() == b"*":
        return None
    named = _VERSION.fullmatch(said.strip())
    if named is None or int(named[1]) > GREATEST_VERSION:
        raise Invalid(
            f"Invalid 'If-Match': {error_texts.quote_text(said.decode('latin-1'))}. Expected one ETag of the thread, "
            'such as "3", or *.',
            param="If-Match",
        )
    return int(named[1])


def is_known(headers: Mapping[bytes, bytes], n: int) -> bool:
    """Whether ``If-None-Match`` says that the caller has the thread at version ``n`` already."""
    said = headers.get(b"if-none-match")
    if said is None:
        return False
    tags = [tag.strip().removeprefix(b"W/") for tag in said.split(b",")]
    return b"*" in tags or b'"%d"' % n in tags


def trace(headers: Mapping[bytes, bytes]) -> str | None:
    """The W3C trace that the request belongs to, if its ``traceparent`` is well formed."""
    said = headers.get(b"traceparent", b"").decode("latin-1")
    return said if is_traceparent(said) else None
