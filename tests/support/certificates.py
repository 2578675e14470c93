"""Authorities and certificates for tests with real TLS, users with NKeys, and servers that know them."""

from __future__ import annotations

import base64
import binascii
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from clew_services.embedded import config
from clew_services.embedded.server import EmbeddedServer

DAY: Final = timedelta(days=1)


class Authority:
    """One that signs certificates, and revokes them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(
        self,
        name: str,
        *identities: str,
        expired: bool = False,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Path, Path]:
        """The files of a certificate for these hosts, and of its key."""
        if expired:
            since, until = datetime.now(UTC) - 2 * DAY, datetime.now(UTC) - DAY
        leaf = self._ca.issue_cert(*identities, not_before=since, not_after=until)
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        key.chmod(0o600)
        return cert, key

    def revoking(self, cert: Path) -> Path:
        """A file with the authority and its list of what it revoked, which has this certificate on it."""
        key = load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        now = datetime.now(UTC)
        revoked = x509.RevokedCertificateBuilder().revocation_date(now - DAY)
        serial = x509.load_pem_x509_certificate(cert.read_bytes()).serial_number
        authority = x509.load_pem_x509_certificate(self.file.read_bytes())
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.subject)
            .last_update(now - DAY)
            .next_update(now + DAY)
            .add_revoked_certificate(revoked.serial_number(serial).build())
            .sign(key, hashes.SHA256())
        )
        file = self._folder / f"revoking-{cert.name}"
        file.write_bytes(self.file.read_bytes() + crl.public_bytes(Encoding.PEM))
        return file


def private(file: Path, text: str) -> Path:
    """A file that only this user can read."""
    file.write_text(text)
    file.chmod(0o600)
    return file


class NKey:
    """The NKey of a user: its seed, its public key, and what it signs."""

    def __init__(self, prefix: int = 20) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.seed = _encode(bytes([0x90 | prefix >> 2, (prefix & 3) << 6]) + self._key.private_bytes_raw())
        self.public = _encode(bytes([prefix << 3]) + self._key.public_key().public_bytes_raw())

    def sign(self, body: bytes) -> bytes:
        return self._key.sign(body)


def _encode(raw: bytes) -> str:
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


class OwnServer(EmbeddedServer):
    """A server as an operator may have it, with a text of its own in its configuration; it can be given another."""

    def __init__(self, data: Path, text: str) -> None:
        super().__init__(data, sync="2m")
        self.text = text

    def _configure(self, limit: int) -> None:
        general = config.configuration(self.data, port=self.port, sync=self.sync, base="/base")
        (self.data / "nats.conf").write_text(f"{general.replace(config.SERVER, 'own')}\n{self.text}\n")

    def reload(self, text: str) -> None:
        """Have it take another text while it runs."""
        self.text = text
        self._configure(0)
        self._signal(signal.SIGHUP)
