"""When a certificate is valid, and what is wrong with that at a moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from clew_events.errors import Invalid
from clew_events.nats_security import read_file

RENEW: Final = timedelta(days=21)
"""Time before its end at which a certificate should be renewed, unless it is valid for a short time only."""
LAST: Final = 1 / 3
"""The part of its time at whose beginning one that is valid for a short time should be renewed."""


class DateFault(Struct, frozen=True):
    """What is wrong with the dates of a certificate; ``what`` continues a sentence about it."""

    code: Literal["certificate_not_valid", "certificate_expires"]
    what: str


class Validity(Struct, frozen=True):
    """The time in which a certificate is valid; ``since`` is ``None`` where only its end is known."""

    until: datetime
    since: datetime | None = None

    def fault(self, now: datetime) -> DateFault | None:
        """What is wrong at a moment, if anything is."""
        if self.until <= now:
            return DateFault("certificate_not_valid", f"expired at {self.until:%Y-%m-%d %H:%M} UTC")
        if self.since is not None and self.since > now:
            return DateFault("certificate_not_valid", f"is not valid before {self.since:%Y-%m-%d %H:%M} UTC")
        soon = RENEW if self.since is None else min(RENEW, (self.until - self.since) * LAST)
        if self.until - now < soon:
            return DateFault("certificate_expires", f"expires at {self.until:%Y-%m-%d %H:%M} UTC")
        return None


def read_validity(file: str, *, of_authorities: bool = False) -> Validity:
    """Read when the certificates in a file are valid: a chain until the first ends, of several authorities any.

    Raises:
        Invalid: it cannot be read, or holds no certificate.
    """
    from cryptography import x509  # noqa: PLC0415 - only who has a certificate needs it

    try:
        found = x509.load_pem_x509_certificates(read_file(file))
    except ValueError as fault:
        raise Invalid(f"{file} holds no certificate: {fault}", code="no_certificate") from fault
    return Validity(
        until=(max if of_authorities else min)(each.not_valid_after_utc for each in found),
        since=(min if of_authorities else max)(each.not_valid_before_utc for each in found),
    )
