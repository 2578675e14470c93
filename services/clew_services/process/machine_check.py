"""What is wrong with this machine's part of a deployment: its files, its disk, its certificates."""

from __future__ import annotations

import shutil
import ssl
import stat
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from clew_events.errors import Invalid
from clew_events.nats_security import load_certificate, read_private
from clew_services.host import nats_url
from clew_services.host.certificate_dates import Validity, read_validity
from clew_services.process.problems import Problem
from clew_services.process.up import KEY_FILE
from clew_services.settings import Settings

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
        validity = read_validity(file, of_authorities=of_authorities)
    except Invalid as fault:
        yield Problem("unusable_file", fault.message)
    else:
        yield from judge_dates(file, validity, now)


def judge_dates(name: str, validity: Validity, now: datetime) -> Iterator[Problem]:
    """What is wrong with the dates of a certificate."""
    if (fault := validity.fault(now)) is not None:
        yield Problem(fault.code, f"{name} {fault.what}")
