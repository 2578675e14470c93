"""The manifest of a backup: its deployment, its streams, and their hashes. A stored format.

It is written when everything else is synced, so a folder without one is no backup.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.errors import Corrupt, Invalid
from clew_events.subjects import ERASED_STREAM, MAX_SHARDS, event_stream

NAME: Final = "manifest.json"
FORMAT: Final = 1


class StreamEntry(Struct, frozen=True, kw_only=True):
    """One stream of a backup: its file, the file's size and SHA-256 in hex, and the stream's state.

    ``config`` is the stream's, for information; a restore uses the configuration of its own version of Clew.
    """

    stream: str
    file: str
    bytes: int
    sha256: str
    messages: int
    first_seq: int
    last_seq: int
    config: dict[str, object]


class Manifest(Struct, frozen=True, kw_only=True):
    """The manifest. ``identity`` is the deployment's; ``nats_server`` and ``clew`` are versions.

    ``last_seq`` of each stream is that of the beginning of its snapshot; the snapshot may hold later messages.
    ``erased_up_to`` is the last sequence of ``CLEW_ERASED`` when the backup began: erasures completed by then are
    complete in it. ``edition`` counts how often contents were taken out of the backup since, last at ``erased_at``.
    """

    kind: str
    format: int
    made_at: datetime
    finished_at: datetime
    clew: str
    nats_server: str
    identity: str
    shards: int
    replicas: int
    max_msg_size: int
    streams: tuple[StreamEntry, ...]
    erased_up_to: int = 0
    edition: int = 0
    erased_at: datetime | None = None

    def events(self) -> list[str]:
        """The names of the streams of the log, all of which a backup holds."""
        return [event_stream(shard) for shard in range(self.shards)]


KIND: Final = "clew-backup"
_DECODER: Final = msgspec.json.Decoder(Manifest)


class _Any(Struct):
    kind: str = ""
    format: int = 0


class LoadedManifest(Struct, frozen=True):
    """A manifest, and the backup's name, which is derived from the manifest's bytes."""

    manifest: Manifest
    name: str


def file_name(stream: str, edition: int) -> str:
    """The name of a stream's file: another one in each edition, so that a manifest takes the place of one at once."""
    return f"{stream}.{edition}.tar.s2" if edition else f"{stream}.tar.s2"


def load(manifest: Manifest) -> LoadedManifest:
    """A manifest that was not written yet."""
    return LoadedManifest(manifest, _name(encode_manifest(manifest)))


def _name(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode a manifest for its file."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def read(folder: Path) -> LoadedManifest:
    """Read the manifest of a backup.

    Raises:
        Invalid: there is none, or its format is not supported.
        Corrupt: it is inconsistent.
    """
    try:
        body = (folder / NAME).read_bytes()
    except OSError as fault:
        raise Invalid(
            f"{folder} holds no complete backup ({fault.strerror}: {NAME}, which is written last): "
            "use another, and remove this one",
            code="no_backup",
        ) from fault
    try:
        known = msgspec.json.decode(body, type=_Any)
        if known.kind != KIND or known.format != FORMAT:
            raise Invalid(
                f"{folder / NAME} is of the kind {known.kind!r}, format {known.format}, and this version of Clew reads "
                f"{KIND!r}, format {FORMAT}: use the version that wrote it",
                code="backup_format",
            )
        manifest = _DECODER.decode(body)
    except UNREADABLE as fault:
        raise Corrupt(f"{folder / NAME} cannot be read: {fault}", code="backup_damaged") from fault
    names = [entry.stream for entry in manifest.streams]
    missing = {*manifest.events(), ERASED_STREAM} - set(names) if 1 <= manifest.shards <= MAX_SHARDS else {"shards"}
    if (
        missing
        or len(set(names)) != len(names)
        or any(entry.file != file_name(entry.stream, manifest.edition) for entry in manifest.streams)
    ):
        raise Corrupt(f"{folder / NAME} was altered: it does not name every stream once", code="backup_damaged")
    return LoadedManifest(manifest, _name(body))
