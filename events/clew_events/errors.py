"""The one error tree, split by what the caller should do next.

::

    ClewError
    ├── Rejected      the request is wrong or cannot be granted: do not send it again unchanged
    │   ├── Invalid         it does not follow the contract (400)
    │   ├── Unauthorized    nobody known asked (401)
    │   ├── Forbidden       somebody known asked for what is not theirs (403)
    │   ├── NotFound        there is no such thread, message or route (404)
    │   ├── AlreadyExists   a thread with that id is there already (409)
    │   ├── IdReused        the command id was spent on a different command (409)
    │   └── TooLarge        more bytes than the deployment takes (413)
    ├── Conflict      the thread moved on: reload it, decide again, send again
    ├── Unavailable   not now: send the same command, with the same id, again later
    └── Corrupt       the record contradicts itself or cannot be read: call someone

Transport codes (HTTP status, ``Nats-Service-Error-Code``) are chosen at the edges and live in no other place.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

Kind = Literal["rejected", "conflict", "unavailable", "corrupt"]
Retry = Literal["no", "reload", "later"]


class ClewError(Exception):
    """Anything Clew tells a caller went wrong.

    ``message`` is for people, ``code`` for programs, ``param`` is the JSON path of the field at fault, if one is.
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
    """The request is wrong or cannot be granted; the same request would be refused again."""


class Invalid(Rejected):
    """The request does not follow the contract; ``param`` names the field."""

    default_code = "invalid_value"


class Unauthorized(Rejected):
    """No credentials, or ones nobody has been given."""

    default_code = "invalid_api_key"


class Forbidden(Rejected):
    """Credentials that do not reach this far."""

    default_code = "forbidden"


class NotFound(Rejected):
    """There is no such thing for this caller."""

    default_code = "not_found"


class AlreadyExists(Rejected):
    """A thread may be created once under an id, and never again, deleted or not."""

    default_code = "already_exists"


class IdReused(Rejected):
    """The command id was already spent on a command that said something else."""

    default_code = "command_id_reused"


class TooLarge(Rejected):
    """The request, or the commit it would become, has more bytes than the deployment takes."""

    default_code = "too_large"


class Conflict(ClewError):
    """The thread is not at the version the caller decided on: reload, decide again, send again."""

    kind = "conflict"
    retry = "reload"
    default_code = "version_conflict"


class Unavailable(ClewError):
    """Not now. Sending the same command under the same id again later is always safe.

    ``outcome_unknown`` says that the command may have been carried out already; the repeat finds out.
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
    """The record contradicts itself, or says something this version cannot read. Nothing was skipped."""

    kind = "corrupt"
    default_code = "corrupt"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it crosses the wire.

    ``type`` is the branch of the tree, ``code`` the precise reason, ``retry`` what to do: ``no``, ``reload`` the
    thread and decide again, or send the same again ``later``.
    """

    type: Kind
    code: str
    message: str
    param: str | None = None
    retry: Retry = "no"


_LEAVES: dict[str, type[ClewError]] = {
    leaf.default_code: leaf for leaf in (Unauthorized, Forbidden, AlreadyExists, IdReused, TooLarge)
}
_BRANCHES: dict[Kind, type[ClewError]] = {
    "rejected": Invalid,
    "conflict": Conflict,
    "unavailable": Unavailable,
    "corrupt": Corrupt,
}


def to_fault(error: ClewError) -> Fault:
    """Put an error on the wire."""
    return Fault(type=error.kind, code=error.code, message=error.message, param=error.param, retry=error.retry)


def from_fault(fault: Fault) -> ClewError:
    """Take an error off the wire, as the class a caller would catch."""
    if fault.type == "rejected" and fault.code.endswith("not_found"):
        return NotFound(fault.message, code=fault.code, param=fault.param)
    leaf = _LEAVES.get(fault.code) if fault.type == "rejected" else None
    return (leaf or _BRANCHES[fault.type])(fault.message, code=fault.code, param=fault.param)
