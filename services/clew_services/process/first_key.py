"""The API key that ``clew up`` creates in the data folder if none is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from clew_events import ids
from clew_services.host import CannotStart
from clew_services.host.secret_file import write_secret

FILE: Final = "api-key"
TENANT: Final = "default"
_LENGTH: Final = 40


def load_or_issue_key(folder: Path) -> str:
    """The folder's key, as ``key:tenant``; created if there is none, in a file readable only by this user.

    The file holds the key alone, for use in a shell; an older file may hold ``key:tenant``.

    Raises:
        CannotStart: the file cannot be read or written, or holds no key.
    """
    file = folder / FILE
    try:
        if not file.exists():
            write_secret(file, ids.random_id("clew_", _LENGTH) + "\n")
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise CannotStart(f"cannot keep an API key in {file}: {fault}", code="data_not_writable") from fault
    if not key:
        raise CannotStart(f"{file} is empty: delete it to have a new key created, or set CLEW_API_KEYS", code="no_key")
    return key if ":" in key else f"{key}:{TENANT}"
