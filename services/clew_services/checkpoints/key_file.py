"""The file of the key that signs checkpoints, readable only by its user."""

from __future__ import annotations

from pathlib import Path

from clew_events.errors import Invalid
from clew_projections.atomic_file import write_atomically
from clew_services.checkpoints.note import SigningKey


def load_key(file: Path) -> SigningKey | None:
    """The key in a file, or ``None`` if there is no such file.

    Raises:
        Invalid: the file cannot be read, or holds no key.
    """
    try:
        return SigningKey.parse(file.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as fault:
        raise Invalid(f"the signing key in {file} cannot be read: {fault}", code="no_key") from fault
    except Invalid as fault:
        raise Invalid(f"{file}: {fault.message}", code="no_key") from fault


def create_key(file: Path) -> SigningKey:
    """Create a key in a new file, and its folder, readable only by this user, if there is none.

    Raises:
        Invalid: the file exists, or cannot be written.
    """
    if file.exists():
        raise Invalid(
            f"{file} exists already. To change keys, move it away first, and give everybody who keeps checkpoints "
            "the new public key: earlier checkpoints stay signed with the old one",
            code="key_exists",
        )
    key = SigningKey.new()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(file, f"{key.line()}\n".encode(), durable=True)
    except OSError as fault:
        raise Invalid(f"cannot keep a signing key in {file}: {fault}", code="data_not_writable") from fault
    return key


def load_or_create_key(file: Path) -> SigningKey:
    """The key in a file, which is created if it does not exist.

    Raises:
        Invalid: the file cannot be read or written, or holds no key.
    """
    return load_key(file) or create_key(file)
