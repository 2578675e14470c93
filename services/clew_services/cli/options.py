"""Options and arguments that several commands share; each setting has an environment variable ``CLEW_*``."""

from __future__ import annotations

import functools
import getpass
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar, cast
from urllib.parse import urlsplit

import click
import msgspec

from clew_events import ids
from clew_events.connection import INBOX_PREFIX
from clew_events.errors import Invalid, NotFound, Unavailable
from clew_events.nats_security import NatsSecurity
from clew_events.requests import MAX_DAYS, ExpiresAfterIn
from clew_services import settings
from clew_services.checkpoints import key_file
from clew_services.checkpoints.note import NAME, SigningKey, VerifierKey
from clew_services.host import nats_url
from clew_services.settings import SETTINGS, Settings

F = TypeVar("F", bound=Callable[..., object])
_DEFAULTS = Settings()


def setting(
    name: str,
    text: str = "",
    *,
    callback: Callable[[click.Context, click.Parameter, str], str] | None = None,
    eager: bool = False,
    expose: bool = True,
) -> Callable[[F], F]:
    """The option of one setting, with the default, the type and the help that :class:`Settings` gives it."""
    default = getattr(_DEFAULTS, name)
    return click.option(
        settings.name_option(name),
        name,
        envvar=settings.name_variable(name),
        show_envvar=True,
        default=default,
        show_default=bool(default),
        type=type(default),
        help=text or SETTINGS[name].help,
        callback=callback,
        is_eager=eager,
        expose_value=expose,
    )


_DATA = "clew.data"


def _remember_data(ctx: click.Context, _: click.Parameter, folder: str) -> str:
    ctx.meta[_DATA] = folder
    return folder


_FOLDER_WITHOUT_SERVER: Final = "clew.folder_without_server"


def _with_password(ctx: click.Context, _: click.Parameter, nats: str) -> str:
    folder = Path(ctx.meta.get(_DATA, _DEFAULTS.data))
    found = nats_url.find(folder, nats)
    if found == nats and nats.startswith("embedded"):
        ctx.meta[_FOLDER_WITHOUT_SERVER] = folder
    return found


def add_server_hint(ctx: click.Context, fault: Unavailable) -> Unavailable:
    """The error that no server answers, with how to name one if the data folder of the command holds no address."""
    folder: Path | None = ctx.meta.get(_FOLDER_WITHOUT_SERVER)
    if folder is None:
        return fault
    message = (
        f"{fault.message}. 'clew up' keeps the URL of its server in its data folder, and {folder / nats_url.FILE} does "
        "not have it: name that folder with --data or CLEW_DATA, or a server with --nats or CLEW_NATS"
    )
    return Unavailable(message, code=fault.code)


_LOGIN: Final = "clew.nats_login"
LOGIN: Final = tuple(name for name in SETTINGS if name.startswith("nats_"))
"""The settings that name the files of a connection to NATS."""


def _remember_login(ctx: click.Context, param: click.Parameter, value: str) -> str:
    ctx.meta.setdefault(_LOGIN, {})[str(param.name)] = value
    return value


def nats_settings(nats: str) -> Settings:
    """The settings of the connection of the running command, with the files that its options ``--nats-…`` name.

    Raises:
        Invalid: a setting is invalid.
    """
    return Settings(nats=nats, **click.get_current_context().meta.get(_LOGIN, {}))


def nats_login(nats: str) -> tuple[str, NatsSecurity]:
    """The URL that the running command connects to, and its files.

    Raises:
        Invalid: a setting is invalid.
    """
    chosen = nats_settings(nats)
    return chosen.nats_url, chosen.nats_security


# Eager, because the default of --nats is looked up in it.
data = setting("data", callback=_remember_data, eager=True)
_data_of_server = setting(
    "data",
    "Data folder of 'clew up', which holds the address and password of its server.",
    callback=_remember_data,
    eager=True,
    expose=False,
)
_nats = setting(
    "nats",
    "URL of a NATS server, or several with commas, or 'embedded', or 'embedded:PORT'.",
    callback=_with_password,
)
api_keys = setting("api_keys")
index = setting("index")
replicas = setting("replicas")
shards = setting("shards")
signing_key = setting("signing_key")


class _Moment(click.ParamType[int | datetime]):
    """A commit number, or a time in ISO 8601; a time without a zone is UTC."""

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
            self.fail(f"{text!r} is neither a commit number nor a time such as 2026-11-22T22:00:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _Time(click.ParamType[datetime]):
    """A time in ISO 8601; a time without a zone is UTC."""

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


class _Expiry(click.ParamType[ExpiresAfterIn]):
    """``ANCHOR+DAYS``, such as ``last_active_at+90``."""

    name = "ANCHOR+DAYS"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ExpiresAfterIn:
        anchor, _, days = str(value).partition("+")
        try:
            return msgspec.convert({"anchor": anchor, "days": days}, ExpiresAfterIn, strict=False)
        except msgspec.ValidationError:
            self.fail(f"{value!r} is not 'created_at' or 'last_active_at', '+', and 1 to {MAX_DAYS} days", param, ctx)


class _ApiUrl(click.ParamType[str]):
    """The URL of an HTTP API, with or without ``/v1``, which is taken away."""

    name = "URL"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            parts = urlsplit(text)
            named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            named, parts = False, urlsplit("")
        if not named or parts.scheme not in {"http", "https"} or parts.query or parts.fragment or parts.username:
            self.fail(f"{text!r} is no URL of an API: one is https://clew.example or http://127.0.0.1:8787", param, ctx)
        return text.rstrip("/").removesuffix("/v1")


api_url = _ApiUrl()


def check_thread_id(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Validate a thread id.

    Raises:
        click.BadParameter: it is none.
    """
    if value is not None and not ids.is_thread_id(value):
        raise click.BadParameter(f"a thread id is {ids.THREAD_ID_FORM}", ctx, param)
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
EXPIRY = _Expiry()
TIME = _Time()

as_of = click.option("--as-of", type=MOMENT, help="After commit N, or at a time in ISO 8601.  [default: now]")


def _take_prefix(function: F) -> F:
    """Run a command again with the one thread that its id is the beginning of, if it finds no thread of that id."""

    @functools.wraps(function)
    def with_prefix(**parameters: object) -> object:
        try:
            return function(**parameters)
        except NotFound as fault:
            from clew_services.cli.thread_prefix import complete_id  # noqa: PLC0415 - seldom needed

            thread = parameters["thread"]
            if thread is None or parameters.get("pack") is not None:
                raise
            full = complete_id(fault, str(thread), tenant=str(parameters["tenant"]), nats=str(parameters["nats"]))
            return function(**{**parameters, "thread": full})

    return cast("F", with_prefix)


def thread(function: F) -> F:
    """Add the argument ``thread``: a thread's id, or the beginning of one."""
    return click.argument("thread", callback=check_thread_id)(_take_prefix(function))


def maybe_thread(function: F) -> F:
    """Add the optional argument ``thread``: a thread's id, or the beginning of one."""
    return click.argument("thread", required=False, callback=check_thread_id)(_take_prefix(function))


def thread_option(function: F) -> F:
    """Add the option ``--thread``: a thread's id, or the beginning of one."""
    return click.option("--thread", callback=check_thread_id, help="One thread, of --tenant.")(_take_prefix(function))


def code_argument(name: str, *, required: bool = True) -> Callable[[F], F]:
    """Add an argument that is a code, such as the name of a hold."""

    def check_code(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is not None and not ids.is_code(value):
            raise click.BadParameter(f"a name is {ids.CODE_FORM}", ctx, param)
        return value

    return click.argument(name, required=required, callback=check_code)


thread_id = click.option("--id", "thread_id", callback=check_thread_id, help="The new thread's id.")
tenant = click.option(
    "--tenant",
    envvar="CLEW_TENANT",
    show_envvar=True,
    default="default",
    show_default=True,
    callback=_check_tenant,
    help="The tenant.",
)
actor = click.option(
    "--actor", envvar="CLEW_ACTOR", show_envvar=True, default=_user, help="The actor to record.  [default: cli:USER]"
)
reason = click.option("--reason", help="Why: stored with the commit.")
_INBOX_PREFIX = "clew.inbox_prefix"


def _remember_prefix(ctx: click.Context, _: click.Parameter, prefix: str) -> None:
    ctx.meta[_INBOX_PREFIX] = prefix


inbox_prefix = click.option(
    "--inbox-prefix",
    envvar="CLEW_INBOX_PREFIX",
    show_envvar=True,
    default=INBOX_PREFIX,
    show_default=True,
    expose_value=False,
    callback=_remember_prefix,
    help="Prefix of the subjects on which the NATS user may receive replies.",
)


def _check_pack(ctx: click.Context, _: click.Parameter, file: Path | None) -> Path | None:
    if file is not None and not file.is_file():
        raise click.BadParameter(f"there is no file {file}", ctx=ctx)
    return file


pack = click.option(
    "--pack",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_check_pack,
    help="Read an audit pack instead of a server; see 'clew export'.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


expected_version = click.option(
    "--expected-version",
    type=click.IntRange(min=0),
    help="The thread's version n; at any other version the command is refused.",
)
command_id = click.option(
    "--command-id", help="Idempotency: a command id is carried out once, however often it is sent."
)

accept_loss = click.option(
    "--accept-loss",
    "accept_loss",
    multiple=True,
    metavar="STREAM",
    help="Create this lost stream again, empty, where there is no backup. Its messages stay lost.",
)


def all_settings(function: F) -> F:
    """Add an option for every setting."""
    return _settings(function, {"data": data})


def settings_of_roles(function: F) -> F:
    """Add an option for every setting but those of what exists: the server and the streams."""
    return _settings(function, {"data": data, "nats": _nats}, without=("shards", "sync", "replicas"))


def _settings(function: F, own: Mapping[str, Callable[[F], F]], without: Collection[str] = ()) -> F:
    for name in reversed(SETTINGS):
        if name not in without:
            function = own.get(name, setting(name))(function)
    return function


def nats(function: F) -> F:
    """Add the option ``nats``: the URL, with the password if the folder ``--data`` has it; see :func:`nats_login`."""
    return _data_of_server(_with_login(function))


def data_and_nats(function: F) -> F:
    """Add the options ``data`` and ``nats``, for commands that use the data folder themselves."""
    return data(_with_login(function))


def _with_login(function: F) -> F:
    for name in reversed(LOGIN):
        function = setting(name, callback=_remember_login, expose=False)(function)
    return _nats(function)


def query_options(function: F) -> F:
    """Add the options of queries about threads: ``tenant``, ``nats`` and ``as_json``.

    ``--inbox-prefix`` is not passed to the command; see :func:`reply_prefix`.
    """
    return tenant(nats(inbox_prefix(as_json(function))))


def query_options_with_data(function: F) -> F:
    """Add the options of :func:`query_options`, and ``data``."""
    return tenant(data_and_nats(inbox_prefix(as_json(function))))


def connection_options(function: F) -> F:
    """Add the options of commands about a whole deployment: ``nats`` and ``as_json``."""
    return nats(inbox_prefix(as_json(function)))


def reply_prefix() -> str:
    """The prefix of the reply subjects of the command that is running."""
    prefix: str = click.get_current_context().meta.get(_INBOX_PREFIX, INBOX_PREFIX)
    return prefix


def command_options(function: F) -> F:
    """Add the options of commands that change threads: ``command_id``, ``reason``, ``actor`` and ``query_options``."""
    return command_id(reason(actor(query_options(function))))


LONGEST: Final = 4096

verifier_key = click.option("--key", metavar="KEY|FILE", help="The public key to trust, or a file that holds it.")

verifier_keys = click.option(
    "--key",
    "keys",
    metavar="KEY|FILE",
    multiple=True,
    help="A public key to trust, or a file that holds it. Repeat it for each key that was in use.",
)


def key_from(text: str) -> VerifierKey:
    """Read a public key from its text or from a file that holds it.

    Raises:
        Invalid: there is no public key.
    """
    if text.startswith(f"{NAME}+"):
        return VerifierKey.parse(text)
    try:
        with Path(text).open(encoding="utf-8") as file:
            return VerifierKey.parse(file.read(LONGEST))
    except (OSError, UnicodeDecodeError) as fault:
        raise Invalid(f"there is no public key in {text}: {fault}", code="no_key") from fault


def key_file_of(data: str, signing_key: str) -> Path:
    """The file of the signing key, by the settings."""
    return Settings(data=data, signing_key=signing_key).signing_key_file


def load_signing_key(data: str, signing_key: str) -> SigningKey:
    """Load the signing key of this machine.

    Raises:
        Invalid: there is none.
    """
    file = key_file_of(data, signing_key)
    key = key_file.load_key(file)
    if key is None:
        raise Invalid(
            f"there is no signing key in {file}: name its file with --data or --signing-key, or create one with "
            "'clew checkpoint keygen'",
            code="no_key",
        )
    return key
