"""What a message asks for: the tenant and the operation, from its subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from clew_events import ids
from clew_events.errors import Invalid, NotFound

T = TypeVar("T")
_LONGEST_SHOWN: Final = 64


def parse_subject(subject: str, kinds: Mapping[str, type[T]], word: str) -> tuple[str, type[T]]:
    """The tenant, and which of ``kinds`` is asked for, from a subject ``clew.<where>.<tenant>.<name>``.

    Raises:
        Invalid: the tenant could not be one.
        NotFound: there is no such kind; the message lists those there are.
    """
    _, _, tenant, name = subject.split(".", 3)
    if not ids.is_tenant(tenant):
        raise Invalid(
            f"Invalid tenant '{_quote_token(tenant)}' in the subject. Expected 1 to 64 of a-z, 0-9, '_' and '-', "
            "beginning with a letter or digit.",
            code="invalid_tenant",
        )
    kind = kinds.get(name)
    if kind is None:
        raise NotFound(
            f"There is no {word} '{_quote_token(name)}'. Known are: {', '.join(sorted(kinds))}.",
            code=f"{word}_not_found",
        )
    return tenant, kind


def _quote_token(token: str) -> str:
    return token if len(token) <= _LONGEST_SHOWN else f"{token[:_LONGEST_SHOWN]}…"
