"""What is wrong with this machine's part of a deployment: its files, its disk, its certificates."""

from __future__ import annotations

import shutil
import ssl
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from clew_events.errors import Invalid
from clew_events.nats_security import load_certificate, read_file, read_private
from clew_services.host import nats_url
from clew_services.process.problems import Problem
from clew_services.process.up import KEY_FILE
from clew_services.settings import Settings

RENEW: Final = timedelta(days=21)
"""Time before its end at which a certificate should be renewed."""
FREE: Final = 0.1
"""The part of the disk that should be free."""


def examine_machine(settings: Settings, now: datetime) -> Iterator[Problem]:
    """The problems of files that the settings name, and of the disk that they are on."""
    yield from _examine_secrets(settings)
    yield from _examine_disk(settings)
    yield from _examine_certificates(settings, now)


def _examine_secrets(settings: Settings) -> Iterator[Problem]:
    data = settings.data_folder
    for secret in (data / nats_url.FILE, data / KEY_FILE, settings.signing_key_file):
        if secret.exists():
            try:
                read_private(str(secret))
            except Invalid as fault:
                yield Problem("open_file" if fault.code == "open_file" else "unusable_file", fault.message)
    if (data / nats_url.FILE).exists() and (mode := stat.S_IMODE(data.stat().st_mode)) & 0o077:
        yield Problem("open_file", f"others can read the data folder {data}: its mode is {mode:04o}; chmod 0700 {data}")


def _examine_disk(settings: Settings) -> Iterator[Problem]:
    for folder in (settings.data_folder, settings.index_folder):
        if folder.is_dir() and (disk := shutil.disk_usage(folder)).free < FREE * disk.total:
            yield Problem("disk_nearly_full", f"{disk.free:,} of {disk.total:,} bytes are free for {folder}")


def _examine_certificates(settings: Settings, now: datetime) -> Iterator[Problem]:
    for file in filter(None, (settings.http_cert, settings.nats_cert)):
        yield from _examine_certificate(file, now)
    if settings.nats_ca:
        yield from _examine_certificate(settings.nats_ca, now, of_authorities=True)
    if settings.http_cert:
        try:
            load_certificate(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), settings.http_cert, settings.http_key)
        except Invalid as fault:
            yield Problem("unusable_file", fault.message)


def _examine_certificate(file: str, now: datetime, *, of_authorities: bool = False) -> Iterator[Problem]:
    try:
        found = x509.load_pem_x509_certificates(read_file(file))
    except Invalid as fault:
        yield Problem("unusable_file", fault.message)
        return
    except ValueError as fault:
        yield Problem("unusable_file", f"{file} holds no certificate: {fault}")
        return
    # A chain ends with the first that ends in it; of several authorities, one is enough.
    until = (max if of_authorities else min)(each.not_valid_after_utc for each in found)
    since = (min if of_authorities else max)(each.not_valid_before_utc for each in found)
    yield from judge_dates(file, since, until, now)


def judge_dates(name: str, since: datetime, until: datetime, now: datetime) -> Iterator[Problem]:
    """What is wrong with a certificate that is valid between two moments."""
    if until <= now:
        yield Problem("certificate_not_valid", f"{name} expired at {until:%Y-%m-%d %H:%M} UTC")
    elif since > now:
        yield Problem("certificate_not_valid", f"{name} is not valid before {since:%Y-%m-%d %H:%M} UTC")
    elif until - now < RENEW:
        yield Problem("certificate_expires", f"{name} expires at {until:%Y-%m-%d %H:%M} UTC")
