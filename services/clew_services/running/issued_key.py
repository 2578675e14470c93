"""The API key that ``clew up`` makes when none is configured, and keeps in the data folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from clew_events import ids
from clew_services.embedded.binary import CannotStart

FILE: Final = "api-key"
TENANT: Final = "default"
_LENGTH: Final = 40


def issued(folder: Path) -> str:
    """The folder's key, as ``key:tenant``: the one kept there, or a new one that only this user can read.

    Raises:
        CannotStart: the file cannot be read or written, or holds no key.
    """
    file = folder / FILE
    try:
        if not file.exists():
            _write(file, f"{ids.random('clew_', _LENGTH)}:{TENANT}\n")
        kept = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise CannotStart(f"cannot keep an API key in {file}: {fault}", code="data_not_writable") from fault
    if not kept:
        raise CannotStart(f"{file} is empty: delete it to have a new key made, or set CLEW_API_KEYS", code="no_key")
    return kept


def _write(file: Path, text: str) -> None:
    # Renamed into place when it is whole and on disk, so that a crash leaves no half of a key.
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(file)
