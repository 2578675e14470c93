"""Files that are replaced atomically: a reader finds the old content or the new one."""

from __future__ import annotations

import os
from pathlib import Path

from clew_events.errors import Invalid


def write_atomically(file: Path, data: bytes, *, durable: bool) -> None:
    """Replace what a file holds. Only its user can read it.

    ``durable``: on return it is on the disk, and no power failure brings the old content back. Otherwise it may, or
    leave the file empty.

    Raises:
        OSError: the disk does not take it; the old content stands.
    """
    draft = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
        if durable:
            replace_durably(draft, file)
        else:
            draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def create_file(file: Path, data: bytes) -> None:
    """Write a new file, whole or not at all; on return it is on the disk.

    Raises:
        Invalid: it exists, or cannot be written.
    """
    check_absent(file)
    try:
        write_atomically(file, data, durable=True)
    except OSError as fault:
        raise Invalid(f"{file} cannot be written: {fault.strerror}", code="unwritable_file") from fault


def check_absent(file: Path) -> None:
    """Pass if there is no such file.

    Raises:
        Invalid: there is one.
    """
    if file.exists():
        raise Invalid(f"{file} exists already: choose another file, or move it away", code="file_exists")


def replace_durably(draft: Path, file: Path) -> None:
    """Put a file that was written in the place of another in the same folder. On return that is on the disk.

    Raises:
        OSError: the disk does not take it.
    """
    sync(draft)
    draft.replace(file)
    sync(file.parent)


def sync(path: Path) -> None:
    """Wait until a file, or which files a folder has, is on the disk.

    Raises:
        OSError: the disk does not take it.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
