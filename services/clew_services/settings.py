"""The settings of an operator: each is an option of the command line and an environment variable ``CLEW_*``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from clew_events.connection import addresses
from clew_events.errors import Invalid
from clew_events.ids import MAX_ORDINAL
from clew_events.subjects import MAX_SHARDS
from clew_services.embedded.config import MAX_PAYLOAD
from clew_services.threads.limits import DEFAULT, Limits

NATS_PORT: Final = 4222
LIMITING: Final = (
    "max_body",
    "max_message",
    "max_messages",
    "max_create",
    "rate",
    "burst",
    "request_timeout",
    "max_connections_per_address",
)
"""The settings that limit callers."""
WATCHING: Final = ("metrics", "stuck_after", "max_file_store", "log", "prove_rate", "verify_every")
"""The settings for monitoring."""
LONGEST_STILL: Final = 86_400
LONGEST_REQUEST: Final = 86_400
"""The longest ``request_timeout``, in seconds."""
MOST_WORKERS: Final = 64
FASTEST: Final = 1_000_000
"""The highest rate, per second."""
_SCHEMES: Final = frozenset({"nats", "tls", "ws", "wss"})
SIGNING_KEY: Final = "signing-key"
SIGNING: Final = ("checkpoints", "signing_key")
"""The settings for signing checkpoints."""
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_RANGES: Final = (
    ("prove_rate", 0, FASTEST, " threads a second"),
    ("stuck_after", 0, LONGEST_STILL, " seconds"),
    ("max_body", 1024, MAX_PAYLOAD, " bytes"),
    ("max_message", 1024, MAX_PAYLOAD, " bytes"),
    ("max_messages", 1, MAX_ORDINAL, ""),
    ("max_create", 0, DEFAULT.create, ""),
    ("rate", 0, FASTEST, ""),
    ("burst", 0, FASTEST, ""),
    ("max_connections_per_address", 0, FASTEST, ""),
)
"""The range of each number, and its unit."""
_BYTES: Final = {"": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_SIZE: Final = re.compile(r"([0-9]+)(KB|MB|GB|TB)?")
_INTERVAL: Final = re.compile(r"([0-9]+(ms|s|m|h))+")


class Address(NamedTuple):
    """An address to listen on. Port 0 is any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, validated when they are made. Intervals are such as ``5m``, ``30s`` or ``1h30m``.

    * ``data``: the folder of ``clew up``.
    * ``index``: the folder of this machine's index; by default ``index`` in ``data``.
    * ``http``: ``host:port`` of the HTTP API.
    * ``nats``: the URL of a server, or of several of one cluster, separated by commas; or ``embedded``, or
      ``embedded:PORT``.
    * ``api_keys``: ``key:tenant,key:tenant``.
    * ``shards``, ``replicas``: used once, when a deployment is initialised.
    * ``workers``: the number of processes with the same roles, which share the port of the HTTP API.
    * ``sync``: when the embedded server fsyncs: ``always``, before each acknowledgement, or an interval.
    * ``max_body``, ``max_message``: limits in bytes of an HTTP request's body and of the text of a message.
    * ``max_messages``, ``max_create``: limits of messages in a thread and in the request that creates it.
    * ``rate``, ``burst``: requests a second of one API key, and at once; a rate of 0 is no limit, a burst of 0 is
      ``rate``.
    * ``request_timeout``: the interval from the first byte of an HTTP request to the last byte of its body.
    * ``max_connections_per_address``: for each process of the HTTP API; 0 is no limit.
    * ``metrics``: ``on``, at ``/metrics`` of the API; ``off``; or ``host:port``.
    * ``stuck_after``: seconds without progress after which ``/readyz`` reports a projector as stuck; 0 is never.
    * ``max_file_store``: the storage limit of each NATS server that Clew did not start, in bytes or with KB, MB, GB or
      TB; without it that is not monitored.
    * ``log``: the format of log lines, ``text`` or ``json``.
    * ``prove_rate``: threads a second that a projector's process compares with the log, without end; 0 is none.
    * ``verify_every``: the interval at which the whole log is verified in the background; ``0`` is never.
    * ``index_snapshots``: the interval at which the indexer stores a snapshot in JetStream if enough has changed; ``0``
      is never.
    * ``checkpoints``: the interval at which a checkpoint is signed if there are new commits; ``0`` is never.
    * ``signing_key``: the file with the key that signs them; by default ``signing-key`` in ``data``.

    Raises:
        Invalid: a setting is invalid; the message names the option, the variable and what is expected.
    """

    data: str = "clew-data"
    index: str = ""
    http: str = "127.0.0.1:8787"
    nats: str = "embedded"
    api_keys: str = ""
    shards: int = 4
    sync: str = "always"
    replicas: int = 1
    workers: int = 1
    max_body: int = MAX_PAYLOAD - 64 * 1024
    max_message: int = DEFAULT.message
    max_messages: int = DEFAULT.messages
    max_create: int = DEFAULT.create
    rate: int = 0
    burst: int = 0
    request_timeout: str = "60s"
    max_connections_per_address: int = 1000
    metrics: str = "on"
    stuck_after: int = 30
    max_file_store: str = ""
    prove_rate: int = 10
    verify_every: str = "24h"
    log: str = "text"
    index_snapshots: str = "10m"
    checkpoints: str = "5m"
    signing_key: str = ""

    def __post_init__(self) -> None:
        if not self.data:
            raise _refusal("data", self.data, "a folder")
        if not 1 <= self.shards <= MAX_SHARDS:
            raise _refusal("shards", self.shards, f"between 1 and {MAX_SHARDS}")
        if self.replicas not in {1, 3, 5}:
            raise _refusal("replicas", self.replicas, "1, 3 or 5")
        if not 1 <= self.workers <= MOST_WORKERS:
            raise _refusal("workers", self.workers, f"between 1 and {MOST_WORKERS}")
        self._check_limits()
        if self.sync != "always" and not (_INTERVAL.fullmatch(self.sync) and re.search("[1-9]", self.sync)):
            raise _refusal("sync", self.sync, "'always' or an interval such as 2m or 500ms")
        if self.max_file_store and not self.storage_limit:
            raise _refusal("max_file_store", self.max_file_store, "a number of bytes, such as 90GB")
        for name, value in {
            "checkpoints": self.checkpoints,
            "index_snapshots": self.index_snapshots,
            "verify_every": self.verify_every,
        }.items():
            if value != "0" and not _seconds(value):
                raise _refusal(name, value, "an interval such as 5m or 30s, or 0 for never")
        _ = self.http_address, self.metrics_address
        if self.embedded_port is None:
            _ = self.nats_url

    def _check_limits(self) -> None:
        for name, least, most, unit in _RANGES:
            if not least <= getattr(self, name) <= most:
                raise _refusal(name, getattr(self, name), f"between {least} and {most}{unit}")
        if self.log not in {"text", "json"}:
            raise _refusal("log", self.log, "'text' or 'json'")
        if not 0 < self.request_seconds <= LONGEST_REQUEST:
            raise _refusal("request_timeout", self.request_timeout, "an interval such as 60s or 10m, at most 24h")

    @property
    def data_folder(self) -> Path:
        """The absolute path of the folder of ``clew up``."""
        return Path(self.data).absolute()

    @property
    def signing_key_file(self) -> Path:
        """The file with the key that signs checkpoints."""
        return Path(self.signing_key).absolute() if self.signing_key else self.data_folder / SIGNING_KEY

    @property
    def request_seconds(self) -> float:
        """``request_timeout`` in seconds."""
        return _seconds(self.request_timeout)

    @property
    def checkpoint_seconds(self) -> float:
        """``checkpoints`` in seconds; 0 is never."""
        return _seconds(self.checkpoints)

    @property
    def verify_seconds(self) -> float:
        """``verify_every`` in seconds; 0 is never."""
        return _seconds(self.verify_every)

    @property
    def index_snapshot_seconds(self) -> float:
        """``index_snapshots`` in seconds; 0 is never."""
        return _seconds(self.index_snapshots)

    @property
    def storage_limit(self) -> int:
        """``max_file_store`` in bytes; 0 if it is not set."""
        found = _SIZE.fullmatch(self.max_file_store)
        return int(found[1]) * _BYTES[found[2] or ""] if found else 0

    @property
    def index_folder(self) -> Path:
        """The absolute path of the folder of this machine's index."""
        return Path(self.index).absolute() if self.index else self.data_folder / "index"

    @property
    def limits(self) -> Limits:
        """The limits of a thread and its messages."""
        return Limits(message=self.max_message, messages=self.max_messages, create=self.max_create)

    @property
    def http_address(self) -> Address:
        """The address of the HTTP API."""
        address = _address(self.http)
        if address is None:
            raise _refusal("http", self.http, "host:port, such as 127.0.0.1:8787")
        return address

    @property
    def metrics_address(self) -> Address | None:
        """The address of the metrics, if they have one of their own."""
        if self.metrics in {"on", "off"}:
            return None
        address = _address(self.metrics)
        if address is None:
            raise _refusal("metrics", self.metrics, "'on', 'off' or host:port, such as 127.0.0.1:9464")
        return address

    @property
    def embedded_port(self) -> int | None:
        """The port of the embedded server; ``None`` if another server is used."""
        kind, colon, port = self.nats.partition(":")
        if kind != "embedded":
            return None
        if not colon:
            return NATS_PORT
        if not _is_port(port):
            raise _refusal("nats", self.nats, "'embedded:PORT' with a port up to 65535, where 0 is any free one")
        return int(port)

    @property
    def nats_url(self) -> str:
        """The URL at which clients reach NATS."""
        port = self.embedded_port
        if port == 0:
            raise _refusal("nats", self.nats, "an address; give the URL that 'clew up' printed")
        url = self.nats if port is None else f"nats://127.0.0.1:{port}"
        if not (servers := addresses(url)) or not all(_is_url(each) for each in servers):
            raise _refusal(
                "nats",
                self.nats,
                "a URL such as nats://127.0.0.1:4222, several of one cluster with commas between them, 'embedded' or "
                "'embedded:PORT'",
            )
        return url


def _seconds(interval: str) -> float:
    """An interval in seconds; 0 if the text is not an interval."""
    if not _INTERVAL.fullmatch(interval):
        return 0
    return sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"([0-9]+)(ms|s|m|h)", interval))


def _address(text: str) -> Address | None:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    return Address(host, int(port)) if host and _is_port(port) else None


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid port
        return False


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) <= 65535


def _refusal(name: str, value: object, expected: str) -> Invalid:
    option, variable = "--" + name.replace("_", "-"), "CLEW_" + name.upper()
    return Invalid(f"{option} ({variable}) is {value!r}, and should be {expected}", code="invalid_setting", param=name)
