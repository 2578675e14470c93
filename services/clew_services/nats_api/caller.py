"""The caller of a command over NATS, as far as the server tells: ``nats:<account>/<user>``, or ``nats``.

Where another account imports commands with ``share: true``, nats-server names the client in the header
``Nats-Request-Info``. Within an account any client can write such a header itself, so it counts only on the subjects
that are exported for this (:data:`clew_events.subjects.IMPORTED`), and only beside a reply subject that the server made
for an import: a client that names such a one is refused, and a message that JetStream reads out of a stream has none.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta
from nats.aio.msg import Msg

from clew_events import subjects

NATS: Final = "nats"
"""What is recorded of a caller over NATS whom the server does not name, and the actor of a command that names none."""
REQUEST_INFO: Final = "Nats-Request-Info"
_IMPORT_REPLY: Final = "_R_."
_LONGEST: Final = 60
_HASH: Final = 48

_Name = Annotated[str, Meta(pattern="^[^\ufffd]+$")]
"""What is not UTF-8 the server replaces, and then two names could be one."""


class _RequestInfo(msgspec.Struct, frozen=True):
    """What of the header is needed. A leaf node does not say who is behind it.

    With a JWT, the server does not check the user that a client names beside it.
    """

    acc: _Name
    user: _Name
    kind: Literal["Client"]
    jwt: Literal[""] = ""


_DECODE: Final = msgspec.json.Decoder(_RequestInfo).decode


def caller_of(message: Msg) -> str:
    """What is recorded of a command's caller, in at most 126 characters: ``nats:<account>/<user>``, or ``nats``.

    In both names anything but ASCII letters, digits and ``_.-~`` is percent-encoded. A name that is then longer than 60
    characters is ``sha256:`` and the first 48 hex digits of its hash. So no two callers have one name.
    """
    if not (message.subject.startswith(f"{subjects.IMPORTED}.") and message.reply.startswith(_IMPORT_REPLY)):
        return NATS
    try:
        info = _DECODE((message.headers or {}).get(REQUEST_INFO, ""))
    except msgspec.DecodeError:
        return NATS
    return f"{NATS}:{_encode(info.acc)}/{_encode(info.user)}"


def _encode(name: str) -> str:
    encoded = quote(name, safe="")
    if len(encoded) <= _LONGEST:
        return encoded
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()[:_HASH]}"
