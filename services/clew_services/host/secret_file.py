"""Files that are readable only by their user."""

from __future__ import annotations

import os
from pathlib import Path


def write_secret(file: Path, text: str) -> None:
    """Write a text to a file of mode 0600, atomically.

    Raises:
        OSError: the folder cannot be written to.
    """
    # Renamed into place when it is whole and on disk, so that a crash leaves no half of a key.
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(file)
