"""Replies over NATS: the answer, or the error with the headers that NATS services use for errors."""

from __future__ import annotations

import logging
from typing import Final

import msgspec
import nats.errors

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
    to_fault,
)
from clew_events.replies import Answer, Done
from clew_projections.index import WrittenList
from clew_projections.nats.headers import encode_headers
from clew_projections.nats.lean_client import LeanClient

ERROR: Final = "Nats-Service-Error"
ERROR_CODE: Final = "Nats-Service-Error-Code"
OK: Final = "200"
"""What stands where an error's code would for a request that was granted."""

_CODES: Final[dict[type[ClewError], str]] = {
    Invalid: "400",
    Unauthorized: "401",
    Forbidden: "403",
    NotFound: "404",
    AlreadyExists: "409",
    AlreadyErased: "409",
    Held: "409",
    Forked: "409",
    IdReused: "409",
    Conflict: "409",
    TooLarge: "413",
    Rejected: "400",
    Unavailable: "503",
    Corrupt: "500",
}
_RESERVED: Final = ("clew.", "$")
_NO_TOKENS: Final = frozenset({"", "*", ">"})
_ENCODE: Final = msgspec.json.Encoder().encode
_LONGEST_HEADER: Final = 512
_LOG: Final = logging.getLogger("clew.nats")


class Reply(msgspec.Struct, frozen=True):
    """A reply, ready to be published."""

    body: bytes
    headers: dict[str, str] | None = None


def answer(outcome: Done | Answer | WrittenList) -> Reply:
    """The reply to a request that was granted."""
    return Reply(_ENCODE({"ok": outcome}))


def refusal(error: ClewError) -> Reply:
    """The reply to a request that was not."""
    headers = {ERROR: _one_line(error.message), ERROR_CODE: code_of(error)}
    return Reply(_ENCODE({"error": to_fault(error)}), headers)


def code_of(error: ClewError) -> str:
    """The number that stands for a kind of error in ``Nats-Service-Error-Code``."""
    if error.code == Conflict.default_code:
        return "412"  # what the caller made a condition does not hold
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), "500")


async def send(nc: LeanClient, subject: str, reply: Reply) -> None:
    """Send a reply as soon as there is room for it; see :func:`post`."""
    if nc.crowded:
        await nc.wait_for_room()
    post(nc, subject, reply)


def post(nc: LeanClient, subject: str, reply: Reply) -> None:
    """Send a reply. If it is larger than the server accepts, an error that says so is sent instead.

    A reply that cannot be sent is logged: the caller gets none, and retries.
    """
    try:
        try:
            nc.post(subject, reply.body, "", encode_headers(reply.headers) if reply.headers else b"")
        except TooLarge as fault:
            short = refusal(TooLarge(f"the answer is too large, ask for less at once: {fault.message}"))
            nc.post(subject, short.body, "", encode_headers(short.headers or {}))
    except (nats.errors.Error, TooLarge) as fault:
        _LOG.warning("no reply to %r: %s", subject[:_LONGEST_HEADER], fault)


def is_unfit(reply: str) -> bool:
    """Whether no reply may go to this subject: it is reserved, or no subject that one can publish to."""
    return is_reserved(reply) or (bool(reply) and not _NO_TOKENS.isdisjoint(reply.split(".")))


def is_reserved(subject: str) -> bool:
    """Whether a subject is Clew's or the server's own, where a reply could pass for a commit or an API call.

    Without this rule anybody who may send a request could have Clew publish in their place, with Clew's
    rights.
    """
    return subject.startswith(_RESERVED)


def _one_line(message: str) -> str:
    return "".join(c if c.isprintable() else " " for c in message)[:_LONGEST_HEADER]
