"""The API key that ``clew up`` makes when none is configured, and keeps in the data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from clew_events import ids
from clew_projections.atomic_file import write_atomically
from clew_services.host import CannotStart

FILE: Final = "api-key"
TENANT: Final = "default"
_LENGTH: Final = 40


def load_or_issue_key(folder: Path) -> str:
    """The folder's key, as ``key:tenant``: the one kept there, or a new one that only this user can read.

    The file is the key and nothing else, so that a shell can take it as it is. One that says whose it is, as
    ``key:tenant``, is of before that.

    Raises:
        CannotStart: the file cannot be read or written, or holds no key.
    """
    file = folder / FILE
    try:
        if not file.exists():
            write_atomically(file, f"{ids.random_id('clew_', _LENGTH)}\n".encode(), durable=True)
        kept = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise CannotStart(f"cannot keep an API key in {file}: {fault}", code="data_not_writable") from fault
    if not kept:
        raise CannotStart(f"{file} is empty: delete it to have a new key made, or set CLEW_API_KEYS", code="no_key")
    return kept if ":" in kept else f"{kept}:{TENANT}"
