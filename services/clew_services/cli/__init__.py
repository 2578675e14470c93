"""The command line, ``clew``. Each command, or family of commands, is a module, imported when a command is called.

Answers go to standard output, as text or, with ``--json``, as JSON; errors go to standard error, one line each. Exit
codes: 0 success, 1 rejected (also a file that is not what was asked for), 2 bad usage, 3 conflict, 4 unavailable,
5 corrupt record or file, 6 not found.
"""

from __future__ import annotations

import importlib

try:
    import click
except ModuleNotFoundError as missing:
    raise SystemExit(f"clew: {missing.name} is not installed: pip install 'clew[server]'") from missing

from clew_events.errors import Unavailable
from clew_services.cli.exit import report_errors
from clew_services.cli.terminal import echo
from clew_services.main import load_commands

__all__ = ["main"]

_COMMANDS = {
    "up": "Run all of Clew on this machine, on an embedded NATS server.",
    "init": "Create a deployment's streams, buckets and consumers on a NATS server.",
    "serve": "Run chosen roles of Clew against a NATS server.",
    "thread": "Create, change and read threads.",
    "item": "Add, read, replace and delete the items of a thread.",
    "history": "Show a thread's commits.",
    "replay": "Show a thread as of a moment, or follow commits as they are stored.",
    "state": "Show a thread and its items, now or as of a moment.",
    "diff": "Show what changed in a thread between two moments.",
    "blame": "Show who last set each part of a thread, and who removed each removed part.",
    "erase": "Erase threads, or a message, for good.",
    "hold": "Place, release and list legal holds on threads.",
    "retention": "Set, remove and list policies that delete and erase old threads.",
    "erasures": "List erasures, show how far one is, and export a file of them.",
    "keys": "Issue, list and revoke API keys.",
    "tenants": "Add, list and remove tenants.",
    "rejected": "List and retry rejected inbox commands.",
    "status": "Show a deployment's size, its lag and its checks.",
    "doctor": "Say what is wrong with a deployment, and what to do.",
    "report": "Write a report of threads: a page to print, a table, or JSON.",
    "export": "Write threads with all their commits into one file: an audit pack.",
    "import": "Import the threads of an audit pack into a deployment.",
    "what-if": "Replay history through other code and show which threads would differ.",
    "verify": "Verify that no history was altered or lost.",
    "checkpoint": "Sign and export checkpoints of the log, and prove threads by them.",
    "prove": "Check that buckets and index are consistent with the log.",
    "rebuild": "Rebuild buckets or the index from the log, beside the live generation.",
    "backup": "Write a deployment's log, keys, checkpoints and inbox into a folder.",
    "restore": "Restore a backup to one server or to a cluster.",
    "mcp": "Serve tools of the Model Context Protocol: find, read and verify threads.",
    "schema": "Print the contract as JSON Schema, AsyncAPI or OpenAPI.",
}

_PLACES = {
    "state": "thread_past:state",
    "diff": "thread_past:diff",
    "blame": "thread_past:blame",
    "erasures": "erasure_list:command",
    "hold": "legal_holds:command",
    "import": "import_files:command",
    "what-if": "what_if:command",
    "restore": "backup:restore",
    "backup": "backup:backup",
}
"""The module and the function of each command that is not ``command`` in a module of its own name."""


class _Commands(click.Group):
    """Lists all commands, and imports only the one that is called: the imports of the servers are slow."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, function = _PLACES.get(cmd_name, f"{cmd_name}:command").partition(":")
        command = getattr(importlib.import_module(f"clew_services.cli.{module}"), function)
        load_commands()
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as unknown:  # which knows of no command that is not imported
            raise click.exceptions.NoSuchCommand(unknown.command_name, possibilities=_COMMANDS, ctx=ctx) from unknown

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        with report_errors():
            try:
                return super().invoke(ctx)
            except Unavailable as fault:
                if fault.code != "unreachable":
                    raise
                from clew_services.cli.options import add_server_hint  # noqa: PLC0415 - imported by the command

                raise add_server_hint(ctx, fault) from fault


def _print_versions(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from clew_services.cli.versions import versions  # noqa: PLC0415 - needed by --version alone

        echo("  ".join(f"{name} {number}" for name, number in versions().items()))
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_versions,
    help="Show the versions.",
)
def main() -> None:
    """Clew stores conversation threads as a history of commits that can be published to, replayed and queried."""
