"""The file ``nats-url`` in the data folder: where the embedded NATS server is, with the user who may do everything."""

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
    """The password in the folder's file, so that it stays the same from one start to the next; else a new one.

    Raises:
        CannotStart: the file is there and cannot be read.
    """
    try:
        found = urlsplit((folder / FILE).read_text(encoding="utf-8").strip()).password or ""
    except (FileNotFoundError, ValueError):  # not there, or no URL
        found = ""
    except OSError as fault:
        raise CannotStart(f"cannot read {folder / FILE}: {fault}", code="data_not_readable") from fault
    return found if _PASSWORD.fullmatch(found) else ids.random_id("", _LENGTH)


def write(folder: Path, url: str) -> None:
    """Put the URL into the folder's file, which only this user can read.

    Raises:
        CannotStart: the file cannot be written.
    """
    try:
        write_atomically(folder / FILE, f"{url}\n".encode(), durable=True)
    except OSError as fault:
        raise CannotStart(f"cannot write {folder / FILE}: {fault}", code="data_not_writable") from fault


def find(folder: Path, nats: str) -> str:
    """The URL in the folder's file if the setting ``nats`` means that server, else the setting as it is.

    ``embedded`` means the folder's server, whatever its port is, and ``embedded:PORT`` means it if that is its port. A
    file that is not there, or that this user may not read, is passed over: much can be asked without a password.
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
