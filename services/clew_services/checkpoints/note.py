"""Signed notes: a text, an empty line, and lines with signatures.

This is the format of the Go checksum database and of transparency logs (C2SP ``signed-note``), so tools other than Clew
can verify them. A verifier's key is one line: ``clew+<id>+<key>``, with an id of eight hexadecimal digits derived from
the key. Signatures are Ed25519. The library for them is loaded with the first key: most commands have none.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from hashlib import sha256
from secrets import token_bytes
from typing import Final

from clew_events.errors import Corrupt, Invalid

NAME: Final = "clew"
ED25519: Final = b"\x01"
SEED: Final = 32
"""Bytes of a private key, any of which will do."""
SECRET: Final = "PRIVATE+KEY+"  # noqa: S105 - how the line of a secret begins
_KEY: Final = re.compile(rf"{NAME}\+([0-9a-f]{{8}})\+([A-Za-z0-9+/=]+)")
_SIGNATURE: Final = re.compile(rf"— {NAME} ([A-Za-z0-9+/=]+)")


class VerifierKey:
    """A public key, which verifies signatures."""

    def __init__(self, public: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - see the module

        self._public = Ed25519PublicKey.from_public_bytes(public)
        self._raw = public
        self.id = sha256(f"{NAME}\n".encode() + ED25519 + public).hexdigest()[:8]

    @classmethod
    def parse(cls, line: str) -> VerifierKey:
        """Parse a public key from its line.

        Raises:
            Invalid: it is none.
        """
        match = _KEY.fullmatch(line.strip())
        try:
            key = cls(_unpack(match[2])) if match is not None else None
        except ValueError:
            key = None
        if match is None or key is None or key.id != match[1]:
            raise Invalid(f"this is no public key of checkpoints: expected a line {NAME}+…+…", code="no_key")
        return key

    def __str__(self) -> str:
        return f"{NAME}+{self.id}+{b64encode(ED25519 + self._raw).decode()}"

    def text(self, note: bytes) -> bytes:
        """Verify a note's signature by this key, and return its text.

        Raises:
            Corrupt: it is not signed with this key, was altered, or is no note.
        """
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see the module

        text, signatures = parts(note)
        for key_id, signature in signatures:
            if key_id == self.id:
                try:
                    self._public.verify(signature, text)
                except InvalidSignature:
                    raise Corrupt(
                        f"the signature by key {self.id} is wrong: this was altered after it was signed",
                        code="altered_checkpoint",
                    ) from None
                return text
        signers = ", ".join(key_id for key_id, _ in signatures)
        raise Corrupt(
            f"this was signed with key {signers}, and not with {self.id}, the key that was given", code="unknown_key"
        )


class SigningKey:
    """A private key, which signs checkpoints. Its line is a secret."""

    def __init__(self, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - see the module

        self._seed = seed
        self._secret = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(self._secret.public_key().public_bytes_raw())

    @classmethod
    def new(cls) -> SigningKey:
        """Generate a random key."""
        return cls(token_bytes(SEED))

    @classmethod
    def parse(cls, line: str) -> SigningKey:
        """Parse a private key from its line.

        Raises:
            Invalid: it is none.
        """
        rest = line.strip()
        match = _KEY.fullmatch(rest.removeprefix(SECRET)) if rest.startswith(SECRET) else None
        try:
            key = cls(_unpack(match[2])) if match is not None else None
        except ValueError:
            key = None
        if match is None or key is None or key.verifier.id != match[1]:
            raise Invalid(
                "this is no signing key of checkpoints: create one with 'clew checkpoint keygen'", code="no_key"
            )
        return key

    def line(self) -> str:
        """The key as its secret line."""
        return f"{SECRET}{NAME}+{self.verifier.id}+{b64encode(ED25519 + self._seed).decode()}"

    def sign(self, text: bytes) -> bytes:
        """Sign a text, which must end with a newline, and return the note."""
        signature = bytes.fromhex(self.verifier.id) + self._secret.sign(text)
        return text + f"\n— {NAME} {b64encode(signature).decode()}\n".encode()


def parts(note: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """A note's text, and its signatures with the ids of their keys, not verified.

    Raises:
        Corrupt: it is no note.
    """
    text, empty, lines = note.rpartition(b"\n\n")
    try:
        matches = [_SIGNATURE.fullmatch(line) for line in lines.decode().removesuffix("\n").split("\n")]
        signatures = [_decode_base64(match[1]) for match in matches if match is not None]
    except ValueError:
        matches, signatures = [], []
    if not empty or not lines.endswith(b"\n") or not signatures or len(signatures) != len(matches):
        raise Corrupt("this is no signed checkpoint", code="unreadable_checkpoint")
    return text + b"\n", [(signature[:4].hex(), signature[4:]) for signature in signatures]


def _unpack(text: str) -> bytes:
    raw = _decode_base64(text)
    if raw[:1] != ED25519 or len(raw) != 33:
        raise ValueError("not Ed25519")
    return raw[1:]


def _decode_base64(text: str) -> bytes:
    # Refuses unused bits that are set: a note has a hash, so it must have exactly one form.
    raw = b64decode(text, validate=True)
    if b64encode(raw).decode() != text:
        raise ValueError("not as base64 is written")
    return raw
