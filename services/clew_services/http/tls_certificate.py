"""The certificate that a listener presents, and its key: files, taken again when they have changed.

One that callers refuse for its dates is presented all the same, since they decide, and logged as a warning.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from datetime import UTC, datetime
from typing import Final

from clew_events.errors import Invalid
from clew_events.nats_security import load_certificate
from clew_services.host.certificate_dates import DateFault, Validity, read_validity

LOOK: Final = 1.0
"""Seconds between two looks at the files."""
_LOG: Final = logging.getLogger("clew.http")


class Certificate:
    """A certificate and its key, from files that may be replaced; ``context`` presents what they hold now."""

    def __init__(self, cert: str, key: str, purpose: str) -> None:
        """Take the files. ``purpose`` says in log lines what presents them.

        Raises:
            Invalid: they cannot be used.
        """
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._cert, self._key, self._purpose = cert, key, purpose
        self._known = self._look()
        load_certificate(self.context, cert, key)
        self._validity: Validity | None = None
        self._warned: DateFault | None = None
        self._take_dates()

    def renew(self) -> None:
        """Take the files again if they have changed. What cannot be used is logged, and the old one stays.

        What is wrong with the dates of the certificate is logged when it is taken, and when time brings it about.
        """
        if (now := self._look()) == self._known:
            self._check_dates()
            return
        self._known = now
        try:
            # First into one that nobody uses: of a certificate without its key, half would be taken.
            load_certificate(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), self._cert, self._key)
            load_certificate(self.context, self._cert, self._key)
        except Invalid as fault:
            _LOG.error("the certificate of %s stays as it was: %s", self._purpose, fault.message)
        else:
            _LOG.info("%s presents its new certificate", self._purpose)
            self._take_dates()

    async def keep_renewed(self) -> None:
        """Look after the files until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            self.renew()

    def _take_dates(self) -> None:
        self._validity = self._warned = None
        with contextlib.suppress(Invalid):  # OpenSSL has taken it, and callers may
            self._validity = read_validity(self._cert)
        self._check_dates()

    def _check_dates(self) -> None:
        fault = self._validity.fault(datetime.now(UTC)) if self._validity is not None else None
        if fault is None or fault == self._warned:
            return
        self._warned = fault
        refused = ", so callers refuse it" if fault.code == "certificate_not_valid" else ""
        _LOG.warning(
            "the certificate of %s, %s, %s%s: renew it, which needs no restart",
            *(self._purpose, self._cert, fault.what, refused),
        )

    def _look(self) -> list[tuple[int, int] | None]:
        return [_state(path) for path in (self._cert, self._key)]


def _state(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - the files may be links that are replaced
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
