"""Decoding of inbox messages: tenant, command, and the command id that all deliveries share."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import msgspec
from nats.aio.msg import Msg

from clew_events import ids
from clew_events.commands import Command
from clew_events.errors import Invalid
from clew_events.operations import COMMANDS as KINDS
from clew_events.subjects import OUTCOME
from clew_projections.nats.stream_messages import MSG_ID, STORED_AT, StoredMessage
from clew_services import validation
from clew_services.nats_api.reply_codec import is_reserved, is_unfit
from clew_services.nats_api.services import parse_subject

_COMMAND_ID: Final = re.compile(ids.COMMAND_ID_PATTERN)


class Letter(msgspec.Struct, frozen=True):
    """A valid inbox message. Its command has an id, which all deliveries share."""

    tenant: str
    command: Command


def read(message: Msg) -> Letter:
    """Decode a message.

    Raises:
        Invalid: it does not follow the contract, or its reply subject is reserved or none that one can publish to.
        NotFound: there is no such command.
    """
    tenant, kind = parse_subject(message.subject, KINDS, "command")
    command = validation.decode(message.data, kind)
    if command.reply_to is not None:
        _check_reply_to(command.reply_to, f"{OUTCOME}.{tenant}.")
    return Letter(tenant, msgspec.structs.replace(command, id=command.id or given_id(message)))


def _check_reply_to(subject: str, outcomes: str) -> None:
    if subject.startswith("_"):
        raise _refused_reply_to("at subjects that begin with '_' others wait for replies to their requests")
    if is_reserved(subject) and not subject.startswith(outcomes):
        raise _refused_reply_to(
            f"subjects that begin with 'clew.' or '$' are not for replies, except those that begin with '{outcomes}'"
        )
    if is_unfit(subject) and not is_reserved(subject):
        raise _refused_reply_to("expected a subject without wildcards and empty tokens")


def _refused_reply_to(why: str) -> Invalid:
    return Invalid(f"Invalid 'reply_to': {why}.", code="invalid_value", param="reply_to")


def given_id(message: Msg) -> str:
    """The id of a command that names none: from the message's id if it has one, else from its place in the stream.

    The place includes the time, because a stream that is created again numbers from 1 again.
    """
    header = message.headers.get(MSG_ID) if message.headers else None
    return _from_header(header) if header else place_of(message)


def id_of_stored(stored: StoredMessage) -> str:
    """The id of :func:`given_id`, for a message that is read out of the stream and not delivered."""
    header = stored.headers.get(MSG_ID)
    return _from_header(header) if header else _place(stored.seq, datetime.fromisoformat(stored.headers[STORED_AT]))


def place_of(message: Msg) -> str:
    """An id that is unique among all messages that were ever in the inbox, and the same for all deliveries."""
    metadata = message.metadata
    return _place(metadata.sequence.stream, metadata.timestamp)


def _from_header(header: str) -> str:
    return header if _COMMAND_ID.fullmatch(header) else ids.derive_id("inbox-", header)


def _place(seq: int, at: datetime) -> str:
    return f"inbox-{seq}-{int(at.timestamp() * 1000)}"
