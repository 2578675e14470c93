"""The settings of an operator: each is an option of the command line and an environment variable ``CLEW_*``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, NamedTuple, get_type_hints
from urllib.parse import urlsplit

import msgspec

from clew_events.connection import addresses
from clew_events.errors import Invalid
from clew_events.ids import MAX_ORDINAL
from clew_events.nats_security import NatsSecurity
from clew_events.subjects import MAX_SHARDS
from clew_services.embedded.config import MAX_PAYLOAD
from clew_services.threads.limits import DEFAULT, Limits

NATS_PORT: Final = 4222
LONGEST_STILL: Final = 86_400
LONGEST_REQUEST: Final = 86_400
"""The longest ``request_timeout``, in seconds."""
MOST_WORKERS: Final = 64
FASTEST: Final = 1_000_000
"""The highest rate, per second."""
_SCHEMES: Final = frozenset({"nats", "tls", "ws", "wss"})
SIGNING_KEY: Final = "signing-key"
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES: Final = {"": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_SIZE: Final = re.compile(r"([0-9]+)(KB|MB|GB|TB)?")
_INTERVAL: Final = re.compile(r"([0-9]+(ms|s|m|h))+")


class Address(NamedTuple):
    """An address to listen on. Port 0 is any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Setting(NamedTuple):
    """The description of a setting: its line in ``--help``; and the range of a number, and its unit."""

    help: str
    least: int | None = None
    most: int | None = None
    unit: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, validated when they are made. Intervals are such as ``5m``, ``30s`` or ``1h30m``.

    Each is an option of ``clew up`` and ``clew serve``, and a variable ``CLEW_*``, which their child processes get.

    Raises:
        Invalid: a setting is invalid; the message names the option, the variable and what is expected.
    """

    data: Annotated[str, Setting("Folder for all files.")] = "clew-data"
    index: Annotated[
        str, Setting("Folder of this machine's index, on a local disk.  [default: 'index' in the data folder]")
    ] = ""
    index_snapshots: Annotated[str, Setting("Interval of the snapshots of the index in NATS; 0: never.")] = "10m"
    http: Annotated[str, Setting("host:port of the HTTP API; port 0 takes any free one.")] = "127.0.0.1:8787"
    nats: Annotated[
        str,
        Setting("URL of a NATS server, or several with commas, or 'embedded', or 'embedded:PORT' (0: any free one)."),
    ] = "embedded"
    nats_creds: Annotated[str, Setting("File with the JWT and the NKey of Clew's NATS user.")] = ""
    nats_nkey: Annotated[str, Setting("File with the seed of the NKey of Clew's NATS user.")] = ""
    nats_user: Annotated[str, Setting("Name of Clew's NATS user, whose password is in a file.")] = ""
    nats_password_file: Annotated[str, Setting("File with the password of --nats-user.")] = ""
    nats_ca: Annotated[
        str,
        Setting("File with the authorities that sign the NATS servers' certificates, and their revocation lists."),
    ] = ""
    nats_cert: Annotated[str, Setting("File with the certificate that Clew shows to NATS servers.")] = ""
    nats_key: Annotated[str, Setting("File with the key of --nats-cert.")] = ""
    nats_tls_first: Annotated[
        str, Setting("Whether TLS begins before NATS servers say anything (handshake_first): 'no' or 'yes'.")
    ] = "no"
    http_cert: Annotated[str, Setting("File with the certificate of the HTTP API, which then speaks HTTPS alone.")] = ""
    http_key: Annotated[str, Setting("File with the key of --http-cert.")] = ""
    api_keys: Annotated[str, Setting("key:tenant,key:tenant")] = ""
    shards: Annotated[int, Setting("Streams to spread threads over; fixed at the first init.", 1, MAX_SHARDS)] = 4
    sync: Annotated[
        str,
        Setting("When the embedded server syncs to disk: 'always' before it acknowledges, or an interval such as 2m."),
    ] = "always"
    replicas: Annotated[int, Setting("Copies of every stream on a cluster: 1, 3 or 5; fixed at the first init.")] = 1
    workers: Annotated[
        int, Setting("Processes that share the work; those of the HTTP API share one port.", 1, MOST_WORKERS)
    ] = 1
    max_body: Annotated[int, Setting("Largest body of an HTTP request, in bytes.", 1024, MAX_PAYLOAD, " bytes")] = (
        MAX_PAYLOAD - 64 * 1024
    )
    max_message: Annotated[int, Setting("Largest text of a message, in bytes.", 1024, MAX_PAYLOAD, " bytes")] = (
        DEFAULT.message
    )
    max_messages: Annotated[int, Setting("Most items in a thread, messages and others.", 1, MAX_ORDINAL)] = (
        DEFAULT.messages
    )
    max_create: Annotated[
        int, Setting("Most messages in a request that creates a thread; 100 at most.", 0, DEFAULT.create)
    ] = DEFAULT.create
    rate: Annotated[int, Setting("Rate limit of one API key, in requests per second; 0: no limit.", 0, FASTEST)] = 0
    burst: Annotated[int, Setting("Burst of one API key, in requests; 0: as many as in a second.", 0, FASTEST)] = 0
    request_timeout: Annotated[str, Setting("Seconds that an HTTP request may take to arrive, body included.")] = "60s"
    max_connections_per_address: Annotated[
        int, Setting("Most HTTP connections of one address; 0, as behind a proxy: no limit.", 0, FASTEST)
    ] = 1000
    metrics: Annotated[str, Setting("Where metrics are served: 'on' the API at /metrics, 'off', or host:port.")] = "on"
    explorer_title: Annotated[str, Setting("Metadata key under which the explorer finds the title of a thread.")] = (
        "title"
    )
    stuck_after: Annotated[
        int,
        Setting(
            "Seconds without progress after which /readyz fails for a projector; 0: never.",
            0,
            LONGEST_STILL,
            " seconds",
        ),
    ] = 30
    max_file_store: Annotated[str, Setting("Disk limit of each NATS server of your own, such as 90GB.")] = ""
    log: Annotated[str, Setting("Form of log lines on standard error: 'text' or 'json'.")] = "text"
    prove_rate: Annotated[
        int,
        Setting(
            "Threads per second whose views a projector compares with the log; 0: none.",
            0,
            FASTEST,
            " threads a second",
        ),
    ] = 10
    verify_every: Annotated[str, Setting("Interval at which a projector verifies the whole log; 0: never.")] = "24h"
    checkpoints: Annotated[str, Setting("Interval at which a checkpoint is signed if anything changed; 0: never.")] = (
        "5m"
    )
    signing_key: Annotated[
        str,
        Setting("File with the key that signs checkpoints.  [default: 'signing-key' in the data folder]"),
    ] = ""
    encrypted_at_rest: Annotated[
        str,
        Setting(
            "Whether JetStream encrypts its files, so that it cannot overwrite what is erased: 'no' or 'yes'. Servers "
            "of your own erase nothing until you say so."
        ),
    ] = ""

    def __post_init__(self) -> None:
        if not self.data:
            raise _refusal("data", self.data, "a folder")
        if self.replicas not in {1, 3, 5}:
            raise _refusal("replicas", self.replicas, "1, 3 or 5")
        self._check_limits()
        if self.sync != "always" and not (_INTERVAL.fullmatch(self.sync) and re.search("[1-9]", self.sync)):
            raise _refusal("sync", self.sync, "'always' or an interval such as 2m or 500ms")
        if self.encrypted_at_rest not in {"", "no", "yes"}:
            raise _refusal("encrypted_at_rest", self.encrypted_at_rest, "'no' or 'yes'")
        if self.nats_tls_first not in {"no", "yes"}:
            raise _refusal("nats_tls_first", self.nats_tls_first, "'no' or 'yes'")
        if self.max_file_store and not self.storage_limit:
            raise _refusal("max_file_store", self.max_file_store, "a number of bytes, such as 90GB")
        for name, value in {
            "checkpoints": self.checkpoints,
            "index_snapshots": self.index_snapshots,
            "verify_every": self.verify_every,
        }.items():
            if value != "0" and not _seconds(value):
                raise _refusal(name, value, "an interval such as 5m or 30s, or 0 for never")
        self._check_files()
        _ = self.http_address, self.metrics_address
        if self.embedded_port is None:
            _ = self.nats_url

    def _check_files(self) -> None:
        if bool(self.http_cert) != bool(self.http_key):
            name = "http_key" if self.http_cert else "http_cert"
            raise _refusal(name, "", "a file: a certificate and its key go together")
        files = self.nats_security
        given = next((f"nats_{name}" for name in files.__struct_fields__ if getattr(files, name)), None)
        if given is not None and self.embedded_port is not None:
            expected = "left out: it is for a NATS server of your own, named by --nats"
            raise _refusal(given, getattr(self, given), expected)

    def _check_limits(self) -> None:
        for name, (_, least, most, unit) in SETTINGS.items():
            if least is not None and most is not None and not least <= getattr(self, name) <= most:
                raise _refusal(name, getattr(self, name), f"between {least} and {most}{unit}")
        if self.log not in {"text", "json"}:
            raise _refusal("log", self.log, "'text' or 'json'")
        if not 0 < self.request_seconds <= LONGEST_REQUEST:
            raise _refusal("request_timeout", self.request_timeout, "an interval such as 60s or 10m, at most 24h")

    @property
    def environment(self) -> dict[str, str]:
        """All of them as variables, for a process that is started."""
        return {name_variable(name): str(getattr(self, name)) for name in SETTINGS}

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
    def nats_security(self) -> NatsSecurity:
        """The files that say who Clew is to NATS servers, and which servers it trusts."""
        return NatsSecurity(
            creds=self.nats_creds,
            nkey=self.nats_nkey,
            user=self.nats_user,
            password_file=self.nats_password_file,
            ca=self.nats_ca,
            cert=self.nats_cert,
            key=self.nats_key,
            tls_first=self.nats_tls_first == "yes",
        )

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


SETTINGS: Final[dict[str, Setting]] = {
    name: kind.__metadata__[0] for name, kind in get_type_hints(Settings, include_extras=True).items()
}
"""Every setting by its name, in order."""


def name_option(name: str) -> str:
    """The option of a setting."""
    return "--" + name.replace("_", "-")


def name_variable(name: str) -> str:
    """The environment variable of a setting."""
    return "CLEW_" + name.upper()


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
    named = f"{name_option(name)} ({name_variable(name)})"
    return Invalid(f"{named} is {value!r}, and should be {expected}", code="invalid_setting", param=name)
