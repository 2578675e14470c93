"""The manifest of a backup: what is in it, of which deployment, and by what hashes. A stored format.

It is written when everything else is on disk, so a folder without one is no backup.
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
from clew_events.subjects import MAX_SHARDS, event_stream

NAME: Final = "manifest.json"
FORMAT: Final = 1


class StreamEntry(Struct, frozen=True, kw_only=True):
    """One stream of a backup: its file, the file's bytes and SHA-256 in hex, and what the stream held.

    ``config`` is as JetStream had it, for people to see; a restore takes what this version of Clew wants.
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
    """All of a backup. ``identity`` names the deployment; ``nats_server`` and ``clew`` are versions.

    ``last_seq`` of each stream is what it had when its snapshot was begun; the snapshot may have some more.
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

    def events(self) -> list[str]:
        """The streams of the log, all of which a backup has."""
        return [event_stream(shard) for shard in range(self.shards)]


KIND: Final = "clew-backup"
_DECODER: Final = msgspec.json.Decoder(Manifest)


class _Any(Struct):
    kind: str = ""
    format: int = 0


class LoadedManifest(Struct, frozen=True):
    """A manifest, and the name that its bytes give to the backup."""

    manifest: Manifest
    name: str


def encode_manifest(manifest: Manifest) -> bytes:
    """A manifest as it is written."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def read(folder: Path) -> LoadedManifest:
    """The manifest of a backup.

    Raises:
        Invalid: there is none, or it is of a format that this version does not read.
        Corrupt: it contradicts itself.
    """
    try:
        body = (folder / NAME).read_bytes()
    except OSError as fault:
        raise Invalid(
            f"{folder} holds no whole backup ({fault.strerror}: {NAME}, which is written last): "
            "take another, and keep this one from being mistaken for one",
            code="no_backup",
        ) from fault
    try:
        known = msgspec.json.decode(body, type=_Any)
        if known.kind != KIND or known.format != FORMAT:
            raise Invalid(
                f"{folder / NAME} is of the kind {known.kind!r}, format {known.format}, and this version of Clew reads "
                f"{KIND!r}, format {FORMAT}: use the version that made it",
                code="backup_format",
            )
        manifest = _DECODER.decode(body)
    except UNREADABLE as fault:
        raise Corrupt(f"{folder / NAME} cannot be read: {fault}", code="backup_damaged") from fault
    names = [each.stream for each in manifest.streams]
    missing = set(manifest.events()) - set(names) if 1 <= manifest.shards <= MAX_SHARDS else {"shards"}
    if (
        missing
        or len(set(names)) != len(names)
        or any(each.file != f"{each.stream}.tar.s2" for each in manifest.streams)
    ):
        raise Corrupt(f"{folder / NAME} was altered: it does not name every stream once", code="backup_damaged")
    return LoadedManifest(manifest, hashlib.sha256(body).hexdigest()[:16])
