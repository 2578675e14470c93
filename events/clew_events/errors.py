"""The error tree, divided by what the caller should do next.

::

    ClewError
    ├── Rejected      the request is wrong or not permitted: do not send it again unchanged
    │   ├── Invalid         it violates the contract (400)
    │   ├── Unauthorized    it has no valid credentials (401)
    │   ├── Forbidden       its credentials do not permit it (403)
    │   ├── NotFound        the thread, message or route does not exist (404)
    │   ├── AlreadyExists   a thread with that id exists or existed (409)
    │   ├── AlreadyErased   the thread or message was erased, or is being erased (409)
    │   ├── Held            a legal hold forbids it (409)
    │   ├── Forked          forks show what would be erased, or it is inherited (409)
    │   ├── IdReused        the command id was used for a different command (409)
    │   └── TooLarge        it exceeds a size limit of the deployment (413)
    ├── Conflict      the thread has changed: reload it, decide again, send again
    ├── Unavailable   retry later, a command with the same id
    └── Corrupt       stored data is inconsistent or unreadable: an operator must act

HTTP statuses and ``Nats-Service-Error-Code`` are assigned only where HTTP and NATS are served.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

Kind = Literal["rejected", "conflict", "unavailable", "corrupt"]
Retry = Literal["no", "reload", "later"]


class ClewError(Exception):
    """The base of all errors that Clew reports to callers.

    ``message`` is for people, ``code`` is for programs, ``param`` is the JSON path of the field at fault, or None.
    """

    kind: ClassVar[Kind] = "rejected"
    retry: ClassVar[Retry] = "no"
    default_code: ClassVar[str] = "rejected"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.param = param


class Rejected(ClewError):
    """The request is wrong or not permitted. The same request would be rejected again."""


class Invalid(Rejected):
    """The request violates the contract. ``param`` names the field."""

    default_code = "invalid_value"


class Unauthorized(Rejected):
    """The request has no valid credentials."""

    default_code = "invalid_api_key"


class Forbidden(Rejected):
    """The credentials do not permit the request."""

    default_code = "forbidden"


class NotFound(Rejected):
    """What the request names does not exist, or not for this caller.

    ``erased`` if it was erased, so that what a request about it says is not kept either; no reply tells.
    """

    default_code = "not_found"

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, erased: bool = False
    ) -> None:
        super().__init__(message, code=code, param=param)
        self.erased = erased


class AlreadyExists(Rejected):
    """A thread with that id exists or was deleted: its id is used once. Or an item with that id exists."""

    default_code = "already_exists"


class AlreadyErased(Rejected):
    """The thread or message was erased before, or is being erased. The message names the erasure."""

    default_code = "already_erased"


class Held(Rejected):
    """A legal hold forbids it until it is released. The message names the hold."""

    default_code = "held"


class Forked(Rejected):
    """Forks show what would be erased, and so would lose it. The message names them; ``forks`` says that they may.

    Or a fork inherits it (``inherited_item``), and it is erased in the thread that the message names.
    """

    default_code = "has_forks"


class IdReused(Rejected):
    """The command id was used before, for a command with other content."""

    default_code = "command_id_reused"


class TooLarge(Rejected):
    """The request, or the commit it would make, exceeds a size limit of the deployment."""

    default_code = "too_large"


class Conflict(ClewError):
    """The thread is not at the version that the caller decided on: reload it, decide again, send again."""

    kind = "conflict"
    retry = "reload"
    default_code = "version_conflict"


class Unavailable(ClewError):
    """The request cannot be served now. It is always safe to retry a command under the same id.

    ``outcome_unknown`` is true if the command may have been executed already; a retry returns its result.
    """

    kind = "unavailable"
    retry = "later"
    default_code = "unavailable"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(message, code=code, param=param)
        self.outcome_unknown = outcome_unknown


class Corrupt(ClewError):
    """Stored data is inconsistent, or this version cannot read it. Nothing was skipped."""

    kind = "corrupt"
    default_code = "corrupt"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """An error in a reply.

    ``type`` is the class of error, ``code`` the precise reason, and ``retry`` what to do: ``no`` retry, ``reload`` the
    thread and decide again, or send the same ``later``.
    """

    type: Kind
    code: str
    message: str
    param: str | None = None
    retry: Retry = "no"


_LEAVES: dict[str, type[ClewError]] = {
    "inherited_item": Forked,
    **{
        leaf.default_code: leaf
        for leaf in (Unauthorized, Forbidden, AlreadyExists, AlreadyErased, Held, Forked, IdReused, TooLarge)
    },
}
_BRANCHES: dict[Kind, type[ClewError]] = {
    "rejected": Invalid,
    "conflict": Conflict,
    "unavailable": Unavailable,
    "corrupt": Corrupt,
}


def to_fault(error: ClewError) -> Fault:
    """The fault that represents an error in a reply."""
    return Fault(type=error.kind, code=error.code, message=error.message, param=error.param, retry=error.retry)


def from_fault(fault: Fault) -> ClewError:
    """The error that a fault represents, of the class that callers catch."""
    if fault.type == "rejected" and fault.code.endswith("not_found"):
        return NotFound(fault.message, code=fault.code, param=fault.param)
    leaf = _LEAVES.get(fault.code) if fault.type == "rejected" else None
    return (leaf or _BRANCHES[fault.type])(fault.message, code=fault.code, param=fault.param)
