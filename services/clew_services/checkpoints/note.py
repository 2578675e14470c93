"""Signed notes: a text, an empty line, and lines with signatures.

That is how the Go checksum database and transparency logs write them (C2SP ``signed-note``), so other tools than Clew
can check them. A verifier's key is one line as well: ``clew+<id>+<key>``, the id being eight hexadecimal digits that
follow from the key. Signatures are Ed25519.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from clew_events.errors import Corrupt, Invalid

NAME: Final = "clew"
ED25519: Final = b"\x01"
SECRET: Final = "PRIVATE+KEY+"  # noqa: S105 - how the line of a secret begins
_KEY: Final = re.compile(rf"{NAME}\+([0-9a-f]{{8}})\+([A-Za-z0-9+/=]+)")
_SIGNATURE: Final = re.compile(rf"— {NAME} ([A-Za-z0-9+/=]+)")


class VerifierKey:
    """The public half of a key: whoever has it can tell what was signed with the other half."""

    def __init__(self, public: bytes) -> None:
        self._public = Ed25519PublicKey.from_public_bytes(public)
        self._raw = public
        self.id = sha256(f"{NAME}\n".encode() + ED25519 + public).hexdigest()[:8]

    @classmethod
    def parse(cls, line: str) -> VerifierKey:
        """The key in a line.

        Raises:
            Invalid: there is none.
        """
        found = _KEY.fullmatch(line.strip())
        try:
            key = cls(_unpack(found[2])) if found is not None else None
        except ValueError:
            key = None
        if found is None or key is None or key.id != found[1]:
            raise Invalid(f"this is no key to check checkpoints with: it would be a line {NAME}+…+…", code="no_key")
        return key

    def __str__(self) -> str:
        return f"{NAME}+{self.id}+{b64encode(ED25519 + self._raw).decode()}"

    def text(self, note: bytes) -> bytes:
        """The text of a note that was signed with this key.

        Raises:
            Corrupt: it was not, or it is no note.
        """
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
    """Both halves of a key. Its one line is a secret."""

    def __init__(self, seed: bytes) -> None:
        self._secret = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(self._secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def new(cls) -> SigningKey:
        """A new one, by chance."""
        raw = Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return cls(raw)

    @classmethod
    def parse(cls, line: str) -> SigningKey:
        """The key in a line.

        Raises:
            Invalid: there is none.
        """
        rest = line.strip()
        found = _KEY.fullmatch(rest.removeprefix(SECRET)) if rest.startswith(SECRET) else None
        try:
            key = cls(_unpack(found[2])) if found is not None else None
        except ValueError:
            key = None
        if found is None or key is None or key.verifier.id != found[1]:
            raise Invalid(
                "this is no key to sign checkpoints with: make one with 'clew checkpoint keygen'", code="no_key"
            )
        return key

    def line(self) -> str:
        """The secret."""
        seed = self._secret.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return f"{SECRET}{NAME}+{self.verifier.id}+{b64encode(ED25519 + seed).decode()}"

    def sign(self, text: bytes) -> bytes:
        """The note with this text, which ends with the end of a line."""
        signature = bytes.fromhex(self.verifier.id) + self._secret.sign(text)
        return text + f"\n— {NAME} {b64encode(signature).decode()}\n".encode()


def parts(note: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """A note's text, and its signatures by the ids of their keys; whether they are right is not looked at.

    Raises:
        Corrupt: it is no note.
    """
    text, empty, lines = note.rpartition(b"\n\n")
    try:
        found = [_SIGNATURE.fullmatch(line) for line in lines.decode().removesuffix("\n").split("\n")]
        signatures = [_exactly(each[1]) for each in found if each is not None]
    except ValueError:
        found, signatures = [], []
    if not empty or not lines.endswith(b"\n") or not signatures or len(signatures) != len(found):
        raise Corrupt("this is no signed checkpoint", code="unreadable_checkpoint")
    return text + b"\n", [(each[:4].hex(), each[4:]) for each in signatures]


def _unpack(text: str) -> bytes:
    raw = _exactly(text)
    if raw[:1] != ED25519 or len(raw) != 33:
        raise ValueError("not Ed25519")
    return raw[1:]


def _exactly(text: str) -> bytes:
    # Bits that stand for nothing are refused: what was signed has one form, since its hash is named elsewhere.
    raw = b64decode(text, validate=True)
    if b64encode(raw).decode() != text:
        raise ValueError("not as base64 is written")
    return raw
