"""The options and arguments that several commands share; options have their variable ``CLEW_*``."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import click

from clew_events import ids
from clew_events.connection import INBOX_PREFIX
from clew_events.errors import Invalid
from clew_services.checkpoints.note import NAME, VerifierKey
from clew_services.host import nats_url
from clew_services.settings import Settings

F = TypeVar("F", bound=Callable[..., object])
_DEFAULTS = Settings()


def setting(
    name: str,
    text: str,
    *,
    callback: Callable[[click.Context, click.Parameter, str], str] | None = None,
    eager: bool = False,
    expose: bool = True,
) -> Callable[[F], F]:
    """The option of one setting, with the default and the type that :class:`Settings` gives it."""
    default = getattr(_DEFAULTS, name)
    return click.option(
        "--" + name.replace("_", "-"),
        name,
        envvar="CLEW_" + name.upper(),
        show_envvar=True,
        default=default,
        show_default=bool(default),
        type=type(default),
        help=text,
        callback=callback,
        is_eager=eager,
        expose_value=expose,
    )


_DATA = "clew.data"


def _remember_data(ctx: click.Context, _: click.Parameter, folder: str) -> str:
    ctx.meta[_DATA] = folder
    return folder


def _with_password(ctx: click.Context, _: click.Parameter, nats: str) -> str:
    return nats_url.find(Path(ctx.meta.get(_DATA, _DEFAULTS.data)), nats)


_SERVER = "URL of a NATS server, or several with commas, or 'embedded', or 'embedded:PORT'"

# Eager, for --nats is looked up in it.
data = setting("data", "Folder that holds everything.", callback=_remember_data, eager=True)
_data_of_server = setting(
    "data",
    "Folder of 'clew up', where its server's address and password are found.",
    callback=_remember_data,
    eager=True,
    expose=False,
)
index = setting("index", "Folder of this machine's index, on a local disk.  [default: 'index' in the data folder]")
index_snapshots = setting("index_snapshots", "How often a snapshot of the index is kept in NATS; 0 is never.")
http = setting("http", "host:port of the HTTP API; port 0 takes any free one.")
nats_as_given = setting("nats", f"{_SERVER} (0 takes any free one).")
_nats = setting("nats", f"{_SERVER}.", callback=_with_password)
api_keys = setting("api_keys", "key:tenant,key:tenant")
shards = setting("shards", "Streams to spread threads over; fixed for ever at the first init.")
sync = setting("sync", "'always' before acknowledging, or an interval such as 2m.")
replicas = setting("replicas", "Copies of every stream on a cluster: 1, 3 or 5.")
workers = setting("workers", "Processes that do the same; for the HTTP API, on one port.")
max_body = setting("max_body", "Largest body of an HTTP request, in bytes.")
max_message = setting("max_message", "Longest text of a message, in bytes.")
max_messages = setting("max_messages", "Most messages in a thread.")
max_create = setting("max_create", "Most messages that a thread is created with; 100 at most.")
rate = setting("rate", "Requests a second of one API key; 0 is no limit.")
burst = setting("burst", "Requests at once of one API key; 0 is as many as in a second.")
request_timeout = setting("request_timeout", "How long an HTTP request may take to arrive, body and all.")
max_connections_per_address = setting(
    "max_connections_per_address", "HTTP connections of one address at a time; 0, as behind a proxy, is no limit."
)
metrics = setting("metrics", "Where metrics are shown: 'on' the API at /metrics, 'off', or host:port.")
prove_rate = setting("prove_rate", "Threads a second that a projector compares with the log, for ever; 0 is none.")
verify_every = setting("verify_every", "How often a projector verifies the whole log in the background; 0 is never.")
stuck_after = setting("stuck_after", "Seconds a projector may stand still before /readyz says no; 0 is for ever.")
max_file_store = setting("max_file_store", "What each NATS server of your own may keep on its disk, such as 90GB.")
checkpoints = setting("checkpoints", "How often a checkpoint is signed if anything changed; 0 is never.")
signing_key = setting("signing_key", "File with the key that signs checkpoints.  [default: signing-key in the data]")

log = setting("log", "Form of log lines on standard error: 'text' or 'json'.")


class _Moment(click.ParamType[int | datetime]):
    """A commit's number, or a time in ISO 8601; a time without a zone is UTC."""

    name = "N|TIME"

    def __init__(self, least: int = 1) -> None:
        self._least = least

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | datetime:
        text = str(value)
        if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) >= self._least:
            return int(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither a commit's number nor a time such as 2026-11-22T22:00:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _Time(click.ParamType[datetime]):
    """A time in ISO 8601; one without a zone is UTC."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-22T22:00:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _Pair(click.ParamType[tuple[str, str]]):
    """``key=value``. The value may be empty and may hold more equals signs."""

    name = "KEY=VALUE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, equals, rest = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, rest


def check_thread_id(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A thread's id, or a complaint that it can be none."""
    if value is not None and not ids.is_thread_id(value):
        raise click.BadParameter("a thread's id begins with 'thread', then letters, digits, _ and -", ctx, param)
    return value


def _check_tenant(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not ids.is_tenant(value):
        raise click.BadParameter("a tenant is 1 to 64 of a-z, 0-9, _ and -, not beginning with _ or -", ctx, param)
    return value


def _user() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError, ImportError):  # a container may have no name for its user
        return "cli"


MOMENT = _Moment()
BEGINNING = _Moment(0)
PAIR = _Pair()
TIME = _Time()

thread = click.argument("thread", callback=check_thread_id)
maybe_thread = click.argument("thread", required=False, callback=check_thread_id)
thread_id = click.option("--id", "thread_id", callback=check_thread_id, help="The new thread's id.")
tenant = click.option(
    "--tenant",
    envvar="CLEW_TENANT",
    show_envvar=True,
    default="default",
    show_default=True,
    callback=_check_tenant,
    help="Whose threads.",
)
actor = click.option(
    "--actor", envvar="CLEW_ACTOR", show_envvar=True, default=_user, help="Who asks, for the record.  [default: you]"
)
_INBOX_PREFIX = "clew.inbox_prefix"


def _remember_prefix(ctx: click.Context, _: click.Parameter, prefix: str) -> None:
    ctx.meta[_INBOX_PREFIX] = prefix


_inbox_prefix = click.option(
    "--inbox-prefix",
    envvar="CLEW_INBOX_PREFIX",
    show_envvar=True,
    default=INBOX_PREFIX,
    show_default=True,
    expose_value=False,
    callback=_remember_prefix,
    help="Where the NATS user may listen for replies.",
)


def _check_pack(ctx: click.Context, _: click.Parameter, file: Path | None) -> Path | None:
    if file is not None and not file.is_file():
        raise click.BadParameter(f"there is no file {file}", ctx=ctx)
    return file


pack = click.option(
    "--pack",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_check_pack,
    help="An audit pack to ask instead of a server; see 'clew export'.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


expected_version = click.option(
    "--expected-version", type=click.IntRange(min=0), help="The thread's n; if it is not, nothing is done."
)
command_id = click.option("--command-id", help="The same id is carried out once, however often it is sent.")

accept_loss = click.option(
    "--accept-loss",
    "accept_loss",
    multiple=True,
    metavar="STREAM",
    help="Make this lost stream anew, empty, where there is no backup of it. What it held stays lost.",
)


def limit_options(function: F) -> F:
    """The options of what serves callers: how much it takes of each."""
    limits = max_body, max_message, max_messages, max_create, rate, burst, request_timeout, max_connections_per_address
    for option in reversed(limits):
        function = option(function)
    return function


def watch_options(function: F) -> F:
    """The options of whatever can be watched: its metrics, when it is not ready, what it proves and what it logs."""
    return metrics(stuck_after(max_file_store(log(prove_rate(verify_every(function))))))


def signing_options(function: F) -> F:
    """The options of what signs checkpoints: how often, and with which key."""
    return checkpoints(signing_key(function))


def nats(function: F) -> F:
    """The option ``nats``, which is the URL with the password where that is in the folder ``--data``."""
    return _data_of_server(_nats(function))


def data_and_nats(function: F) -> F:
    """The options ``data`` and ``nats``, for what needs the folder for other things too."""
    return data(_nats(function))


def query_options(function: F) -> F:
    """The options of whatever asks about threads: ``tenant``, ``nats`` and ``as_json``.

    The subjects on which replies come are for whoever connects; see :func:`reply_prefix`.
    """
    return tenant(nats(_inbox_prefix(as_json(function))))


def asking_with_data(function: F) -> F:
    """The options of :func:`query_options`, and ``data``."""
    return tenant(data_and_nats(_inbox_prefix(as_json(function))))


def connection_options(function: F) -> F:
    """The options of whatever is about a deployment and no tenant of it: ``nats`` and ``as_json``."""
    return nats(_inbox_prefix(as_json(function)))


def reply_prefix() -> str:
    """What the subjects begin with on which the command that is running wants its replies."""
    prefix: str = click.get_current_context().meta.get(_INBOX_PREFIX, INBOX_PREFIX)
    return prefix


def command_options(function: F) -> F:
    """The options of whatever changes threads: those of :func:`query_options`, ``command_id`` and ``actor``."""
    return command_id(actor(query_options(function)))


LONGEST: Final = 4096

verifier_key = click.option("--key", metavar="KEY|FILE", help="The public key to trust: its line, or a file with it.")

verifier_keys = click.option(
    "--key",
    "keys",
    metavar="KEY|FILE",
    multiple=True,
    help="A public key to trust: its line, or a file with it. As often as there were keys.",
)


def key_from(said: str) -> VerifierKey:
    """The public key that was given as its line or as a file.

    Raises:
        Invalid: it is neither.
    """
    if said.startswith(f"{NAME}+"):
        return VerifierKey.parse(said)
    try:
        with Path(said).open(encoding="utf-8") as file:
            return VerifierKey.parse(file.read(LONGEST))
    except (OSError, UnicodeDecodeError) as fault:
        raise Invalid(f"there is no public key in {said}: {fault}", code="no_key") from fault
