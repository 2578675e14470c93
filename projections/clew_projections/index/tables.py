"""The tables of the index. A file of another format is never read: it is rebuilt from the log.

``thread`` has a row for every thread, deleted ones included, of which it keeps only what cursors and late commits need.
Every value of a metadata key is a ``term`` with the number of threads that have it, and ``pair`` has a row for each of
these threads, indexed by both times, so that the newest threads with a value are read in order. The actors who created
and last changed a thread are terms too, under negative keys. Times are in microseconds since 1970.

``deleted`` is 1 for a deleted thread, 2 for an erased one, and 3 for what is no thread: a tenant's own history.
``created`` is when a thread was created, and ``recorded`` the time of its first commit, later where it was imported.
``active`` is when somebody last made use of a thread, and ``expires_at`` when it is due to be removed, null if never.
``shown`` is the listed form of a thread, as JSON. ``hold`` has the names of its legal holds, deleted or not, with a
space before and after each. ``forked_from`` is the thread that it was forked from, or empty, and ``inherited`` the last
ordinal of what it inherits.

``message`` holds the text of every message that has one, numbered by the message's time; ``said_from`` and ``said_to``
are the characters between which its first words stand, equal if it has none. ``words``, the full-text index, numbers
them backwards, so that the newest are read first. Each word has its tenant's number as a prefix, so that a search reads
only its tenant's messages; and each message has a word for its thread. ``vocabulary`` has all words in order, for
searches by prefix.

``mark`` has for each shard the sequence up to which everything is in the index, and the hash of the commit there, or ''
if there is none; the sequence of the newest erasure among it, and that of the newest erasure of which this file has no
bytes left; see :mod:`clew_projections.index.clean_copy`.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from clew_projections.index.rows import DEFINITION

INDEX_FORMAT: Final = 11
"""Incremented when a table or its content changes."""

_TABLES: Final = f"""
CREATE TABLE tenant (no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, threads INTEGER NOT NULL DEFAULT 0);

CREATE TABLE thread ({DEFINITION});
CREATE UNIQUE INDEX thread_id ON thread (tenant, id);
CREATE INDEX thread_created ON thread (tenant, created, id) WHERE deleted = 0;
CREATE INDEX thread_updated ON thread (tenant, updated, id) WHERE deleted = 0;
CREATE INDEX thread_expiring ON thread (tenant, expires_at) WHERE deleted = 0 AND expires_at IS NOT NULL;
CREATE INDEX thread_deleted ON thread (tenant, created, id) WHERE deleted = 1;
CREATE INDEX thread_forked ON thread (tenant, forked_from) WHERE forked_from <> '';
CREATE INDEX thread_held ON thread (tenant, id) WHERE hold <> '';

CREATE TABLE key (
    no INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    name TEXT NOT NULL,
    threads INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, name)
);

CREATE TABLE term (
    no INTEGER PRIMARY KEY,
    key INTEGER NOT NULL,
    value TEXT NOT NULL,
    number REAL,
    threads INTEGER NOT NULL DEFAULT 0,
    UNIQUE (key, value)
);
CREATE INDEX term_frequent ON term (key, threads);
CREATE INDEX term_number ON term (key, number) WHERE number IS NOT NULL;

CREATE TABLE pair (
    thread INTEGER NOT NULL,
    key INTEGER NOT NULL,
    term INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    PRIMARY KEY (thread, key)
) WITHOUT ROWID;
CREATE INDEX pair_created ON pair (term, created);
CREATE INDEX pair_updated ON pair (term, updated);

CREATE TABLE message (
    no INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    role TEXT NOT NULL,
    id TEXT NOT NULL,
    text TEXT NOT NULL,
    said_from INTEGER NOT NULL,
    said_to INTEGER NOT NULL
);
CREATE UNIQUE INDEX message_place ON message (thread, ordinal);
CREATE VIRTUAL TABLE words USING fts5 (said, content='', detail=none, columnsize=0, tokenize='ascii');
CREATE TABLE vocabulary (word TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE mark (
    shard INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL,
    erased INTEGER NOT NULL DEFAULT 0,
    clean INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE newest (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER);
INSERT INTO newest VALUES (1, NULL);
"""


def create(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file, in one transaction."""
    connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {INDEX_FORMAT}; COMMIT;")


def format_of(connection: sqlite3.Connection) -> int:
    """Return the format of a file; 0 if it is empty."""
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return number
