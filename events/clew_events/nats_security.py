"""How a client proves who it is to NATS servers, and which servers it trusts."""

from __future__ import annotations

import base64
import binascii
import os
import re
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import urlsplit

from msgspec import Struct

from clew_events.errors import Invalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LARGEST: Final = 1024 * 1024
"""Bytes of the largest file that is read."""
_OTHERS: Final = 0o027
"""What the mode of a private file may not have: anything for others, and writing for the group."""
_JWT: Final = re.compile(rb"-+BEGIN NATS USER JWT-+\s+([\w.-]+)\s+-+END")
_SEED: Final = re.compile(rb"-+BEGIN USER NKEY SEED-+\s+([A-Z2-7]+)\s+-+END")
_USER_SEED: Final = b"\x95\x00"
"""The first two bytes of a user's seed, ``SU`` in base32."""
_USER: Final = b"\xa0"
"""The first byte of a user's public key, ``U`` in base32."""
_ENCRYPTED: Final = re.compile(rb"BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED")


class Identity(Struct, frozen=True):
    """The identity of a user with an NKey: it signs what a server asks for. ``jwt`` is empty if the key alone is it."""

    private: Ed25519PrivateKey
    jwt: str = ""

    @property
    def public(self) -> str:
        """The public key, as a server's configuration has it: ``U`` and 55 characters."""
        key = _USER + self.private.public_key().public_bytes_raw()
        return base64.b32encode(key + _checksum(key)).decode()

    def sign(self, nonce: str) -> bytes:
        """The signature of a server's nonce, in base64."""
        return base64.b64encode(self.private.sign(nonce.encode()))


class NatsSecurity(Struct, frozen=True, kw_only=True):
    """Files that say who a client is and which servers it trusts; they are read again whenever it connects.

    At most one of ``creds`` (a JWT with its NKey), ``nkey`` (a seed) and ``user`` with ``password_file`` says who it
    is. ``ca`` has the certificates of the authorities that are trusted, in place of the system's, and may have their
    revocation lists. ``cert`` and ``key`` are the client's own certificate and its key. Files are of PEM, their keys
    without a passphrase. With ``ca`` or ``cert``, and with ``tls://`` URLs, a server without TLS is refused.
    ``tls_first`` is for servers with ``handshake_first``, which say nothing before TLS is there.
    """

    creds: str = ""
    nkey: str = ""
    user: str = ""
    password_file: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    tls_first: bool = False

    @property
    def logs_in(self) -> bool:
        """Whether it says who the client is."""
        return bool(self.creds or self.nkey or self.user or self.password_file)

    def requires_tls(self, servers: Sequence[str]) -> bool:
        """Whether any of these servers has to have TLS."""
        return bool(self.ca or self.cert or self.tls_first) or any(urlsplit(url).scheme == "tls" for url in servers)

    def check(self, servers: Sequence[str] = ()) -> None:
        """Read all files, and validate that they fit each other and the URLs of the servers.

        Raises:
            Invalid: they do not, or a file cannot be read, is not what it should be, or can be read by others.
        """
        if bool(self.user) != bool(self.password_file):
            raise Invalid(
                "user and password_file go together: name both (--nats-user, --nats-password-file)", code="half_a_login"
            )
        if sum(map(bool, (self.creds, self.nkey, self.user))) > 1:
            raise Invalid("name one of creds, nkey, and user with password file", code="several_logins")
        if self.logs_in and any(urlsplit(server).username is not None for server in servers):
            raise Invalid("credentials are in the URL and in a file: leave out one of them", code="several_logins")
        if bool(self.cert) != bool(self.key):
            raise Invalid("cert and key go together: name both (--nats-cert, --nats-key)", code="half_a_certificate")
        if self.creds or self.nkey:
            self.identity()
        if self.password_file:
            self.password()
        if self.requires_tls(servers):  # the authorities that the system trusts take 30 ms to read
            self.tls()

    def identity(self) -> Identity | None:
        """The identity in ``creds`` or ``nkey``; None without either.

        Raises:
            Invalid: the file cannot be read, can be read by others, or does not hold it.
        """
        if not (self.creds or self.nkey):
            return None
        text = read_private(self.creds or self.nkey)
        if self.nkey:
            return Identity(_private_key(text.strip(), self.nkey))
        jwt, seed = _JWT.search(text), _SEED.search(text)
        if jwt is None or seed is None:
            raise Invalid(
                f"{self.creds} is not a creds file: it has a user's JWT and the seed of an NKey", code="no_creds"
            )
        return Identity(_private_key(seed[1], self.creds), jwt[1].decode())

    def password(self) -> str:
        """The password in ``password_file``, without the line's end.

        Raises:
            Invalid: the file cannot be read, can be read by others, or is empty.
        """
        try:
            password = read_private(self.password_file).decode().rstrip("\r\n")
        except UnicodeDecodeError:
            password = ""
        if not password or "\n" in password:
            raise Invalid(f"{self.password_file} holds no password: it is one line of text", code="no_password")
        return password

    def tls(self) -> ssl.SSLContext:
        """What a connection with TLS takes.

        Raises:
            Invalid: a file cannot be read, or is not what it should be.
        """
        if not self.ca:
            context = ssl.create_default_context()
        else:
            authorities = read_file(self.ca)
            try:
                context = ssl.create_default_context(cafile=self.ca)
            except ssl.SSLError as fault:
                raise Invalid(
                    f"{self.ca} holds no certificates of authorities: {fault}", code="no_certificate"
                ) from fault
            if b"BEGIN X509 CRL" in authorities:
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        if self.cert:
            load_certificate(context, self.cert, self.key)
        return context


UNSECURED: Final = NatsSecurity()
"""No credentials but those of the URL, and the authorities that the system trusts."""


def load_certificate(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Have a context present a certificate from now on.

    Raises:
        Invalid: a file cannot be read, or they do not fit, or the key has a passphrase, or can be read by others.
    """
    read_file(cert)
    if _ENCRYPTED.search(read_private(key)):
        raise Invalid(f"{key} has a passphrase, which nobody is there to type: use a key without", code="encrypted_key")
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as fault:
        what = "is not the key of" if "MISMATCH" in str(fault) else "and"
        reason = "" if "MISMATCH" in str(fault) else f" are not a key and its certificate in PEM: {fault}"
        raise Invalid(f"{key} {what} {cert}{reason}", code="no_certificate") from fault


def read_file(path: str) -> bytes:
    """The content of a file that may be public.

    Raises:
        Invalid: it cannot be read.
    """
    return _read(path, private=False)


def read_private(path: str) -> bytes:
    """The content of a file that only its owner, or a group, may read.

    Raises:
        Invalid: it cannot be read, or others can; the message says which mode to set.
    """
    return _read(path, private=True)


def _read(path: str, *, private: bool) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - its mode is that of the file which is open
            mode = os.fstat(file.fileno()).st_mode
            if private and os.name == "posix" and mode & _OTHERS:
                raise Invalid(
                    f"others can read {path}, or its group can write it: its mode is {mode & 0o777:04o}. Set it with "
                    f"'chmod 0600 {path}', or 0640 for a group that is to read it",
                    code="open_file",
                )
            return file.read(LARGEST)
    except OSError as fault:
        raise Invalid(f"cannot read {path}: {fault.strerror}", code="unreadable_file") from fault


def _private_key(seed: bytes, path: str) -> Ed25519PrivateKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as missing:
        raise Invalid("NKeys and creds files take a library: pip install 'clew[nkeys]'", code="no_nkeys") from missing
    try:
        raw = base64.b32decode(seed + b"=" * (-len(seed) % 8))
    except binascii.Error:
        _refuse_seed(path)
    if len(raw) != 36 or raw[:2] != _USER_SEED or _checksum(raw[:-2]) != raw[-2:]:
        _refuse_seed(path)
    return Ed25519PrivateKey.from_private_bytes(raw[2:-2])


def _refuse_seed(path: str) -> NoReturn:
    raise Invalid(f"{path} holds no seed of a user's NKey: one begins with SU and has 58 characters", code="no_nkey")


def _checksum(data: bytes) -> bytes:
    return binascii.crc_hqx(data, 0).to_bytes(2, "little")
