"""The file ``nats-url`` in the data folder: the URL of the embedded NATS server, with user and password."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from clew_events import ids
from clew_projections.atomic_file import write_atomically
from clew_services.host import CannotStart

FILE: Final = "nats-url"
_LENGTH: Final = 40
_PASSWORD: Final = re.compile("[A-Za-z0-9]+")


def password(folder: Path) -> str:
    """The password in the folder's file, so that it survives restarts, or a new one.

    Raises:
        CannotStart: the file exists and cannot be read.
    """
    try:
        known = urlsplit((folder / FILE).read_text(encoding="utf-8").strip()).password or ""
    except (FileNotFoundError, ValueError):  # not there, or no URL
        known = ""
    except OSError as fault:
        raise CannotStart(f"cannot read {folder / FILE}: {fault}", code="data_not_readable") from fault
    return known if _PASSWORD.fullmatch(known) else ids.random_id("", _LENGTH)


def write(folder: Path, url: str) -> None:
    """Write the URL to the folder's file, readable only by this user.

    Raises:
        CannotStart: the file cannot be written.
    """
    try:
        write_atomically(folder / FILE, f"{url}\n".encode(), durable=True)
    except OSError as fault:
        raise CannotStart(f"cannot write {folder / FILE}: {fault}", code="data_not_writable") from fault


def find(folder: Path, nats: str) -> str:
    """The URL in the folder's file if the setting ``nats`` names that server, otherwise the setting unchanged.

    ``embedded`` names the folder's server with any port, ``embedded:PORT`` names it if that is its port. A missing or
    unreadable file is ignored: many queries need no password.
    """
    kind, colon, port = nats.partition(":")
    if kind != "embedded":
        return nats
    try:
        url = (folder / FILE).read_text(encoding="utf-8").strip()
        known = urlsplit(url).port
    except (OSError, ValueError):
        return nats
    return url if known and (not colon or port in {"0", str(known)}) else nats
