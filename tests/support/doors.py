"""Every door of a server that Clew runs on: all that somebody might try to say there, or to listen to."""

from __future__ import annotations

from clew_events.operations import COMMANDS, OPERATIONS, QUERIES
from clew_events.subjects import inbox_subject
from clew_projections.kv.key_names import COMMANDS as COMMAND_IDS
from clew_projections.kv.key_names import THREADS
from clew_services.api_keys.key_bucket import KEYS
from support.accounts import ROLES, TENANTS

STREAMS = (
    "CLEW_EVT_00",
    "CLEW_ERASED",
    "CLEW_INBOX",
    "CLEW_REJECTED",
    f"KV_{THREADS}",
    f"KV_{COMMAND_IDS}",
    f"KV_{KEYS}",
)
CHANGING = (
    *(f"$JS.API.STREAM.{what}.{stream}" for stream in (*STREAMS, "MINE") for what in (
        "CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN", "PEER.REMOVE"
    )),
    *(f"$JS.API.CONSUMER.{what}" for what in (
        "CREATE.CLEW_EVT_00", "CREATE.CLEW_EVT_00.mine", "CREATE.CLEW_EVT_00.mine.clew.evt.00.globex.thread_door",
        "DURABLE.CREATE.CLEW_EVT_00.mine", f"DELETE.CLEW_EVT_00.{THREADS}", "CREATE.CLEW_INBOX",
        "DURABLE.CREATE.CLEW_INBOX.mine", "CREATE.CLEW_INBOX.mine.clew.inbox.globex.create_thread",
        "CREATE.CLEW_REJECTED.mine", "DELETE.CLEW_REJECTED.mine", "NAMES.CLEW_EVT_00", "LIST.CLEW_INBOX",
        "LEADER.STEPDOWN.CLEW_INBOX.term-1-0", "PAUSE.CLEW_INBOX.term-1-0",
        f"PAUSE.CLEW_EVT_00.{THREADS}", f"UNPIN.CLEW_EVT_00.{THREADS}", f"LEADER.STEPDOWN.CLEW_EVT_00.{THREADS}",
    )),
    "clew.erased.00.0.1.acme.thread_door.1",
    "clew.erased.certificate.erasure_door",
    "clew.live.erased.erasure.acme.erasure_door",
    "$JS.API.META.LEADER.STEPDOWN",
    "$JS.API.SERVER.REMOVE",
    "$JS.API.ACCOUNT.PURGE.clew",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.NAMES",
    "clew.live.evt.00.acme.thread_door",
    "clew.live.keys.0123456789abcdef",
    *(f"{where}.acme.{name}" for where in ("clew.cmd", "clew.inbox") for name in COMMANDS),
    *(f"clew.query.acme.{name}" for name in QUERIES),
    *(f"clew.imported.{tenant}.create_thread" for tenant in TENANTS),
    "$SYS.REQ.SERVER.PING",
    "$SRV.PING",
    "other",
)  # fmt: skip
"""What nobody does but the operator, the service included."""
SERVING = (
    *(f"clew.evt.{shard}.{tenant}.thread_door" for shard in ("00", "01") for tenant in TENANTS),
    *(f"$KV.{bucket}.{tenant}.thread_door" for bucket in (THREADS, COMMAND_IDS) for tenant in TENANTS),
    f"$KV.{THREADS}._checkpoint.00",
    f"$KV.{KEYS}.0123456789abcdef",
    *(f"clew.rejected.{tenant}.create_thread" for tenant in TENANTS),
    *(f"clew.outcome.{tenant}.publisher.1" for tenant in TENANTS),
    *(f"clew.erased.erasure.{tenant}.erasure_door" for tenant in TENANTS),
    "$JS.API.INFO",
    *(f"$JS.API.{what}.{stream}" for stream in STREAMS for what in ("STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET")),
    f"$JS.API.DIRECT.GET.KV_{THREADS}.$KV.{THREADS}.acme.thread_door",
    f"$JS.API.DIRECT.GET.KV_{KEYS}.$KV.{KEYS}.0123456789abcdef",
    f"$JS.API.CONSUMER.INFO.CLEW_EVT_00.{THREADS}",
    f"$JS.API.CONSUMER.MSG.NEXT.CLEW_EVT_00.{THREADS}",
    f"$JS.API.CONSUMER.RESET.CLEW_EVT_00.{THREADS}",
    *(f"$JS.API.CONSUMER.{what}.CLEW_INBOX.term-1-0" for what in ("RESET", "CREATE", "DELETE", "MSG.NEXT", "INFO")),
    "$JS.API.CONSUMER.NAMES.CLEW_INBOX",
    "$KV.clew_leases.inbox",
    f"$KV.clew_commands_v1.acme.thread_door.{'0' * 16}",
    f"$JS.ACK.CLEW_EVT_00.{THREADS}.1.1.1.1700000000000000000.0",
    "_R_.abcdef.abcdef",
    "_INBOX.abcdef",
)
"""What Clew does, and nobody else."""
ASKING = tuple(
    f"{where}.{tenant}.{name}"
    for tenant in TENANTS
    for where, names in (("clew.cmd", COMMANDS), ("clew.inbox", COMMANDS), ("clew.query", QUERIES))
    for name in names
)
LISTENING = (
    "clew.erased.>", "clew.live.erased.>", "clew.live.erased.erasure.acme.*",
    ">", "*.>", "*", "clew.>", "_INBOX.>", "_INBOX.*", *(f"_INBOX_{role}.>" for role in ROLES), "_R_.>", "$JS.>",
    "$JS.ACK.>", "$JS.EVENT.>", "$KV.>", f"$KV.{THREADS}.acme.>", f"$KV.{KEYS}.>", "$SYS.>", "$SRV.>", "clew.evt.>",
    "clew.evt.*.acme.*", "clew.live.>", "clew.live.evt.>", "clew.live.evt.*.acme.*", "clew.live.evt.*.globex.*",
    "clew.live.keys.>", "clew.live.keys.*", "clew.cmd.>", "clew.cmd.*.*", "clew.cmd.acme.*", "clew.imported.>",
    "clew.imported.*.*", "clew.imported.acme.*", "clew.query.>",
    "clew.query.acme.*", "clew.inbox.>", "clew.inbox.acme.*", "clew.rejected.>", "clew.rejected.acme.*",
    "clew.outcome.>", "clew.outcome.acme.>", "clew.outcome.acme.publisher.>", "clew.outcome.globex.publisher.>",
)  # fmt: skip


def _doors(scope: str) -> set[str]:
    """The subjects at which the operations of a scope are requested."""
    there = [each for each in OPERATIONS if scope in each.scopes and each.request is not None]
    waiting = {inbox_subject("acme", each.name) for each in there if each.command is not None}
    return {each.subject("acme") for each in there} | waiting


SPEAKS = {
    "publisher": _doors("write"),
    "reader": _doors("read"),
    "auditor": _doors("audit"),
    "eraser": _doors("erase"),
    "counsel": _doors("hold"),
    "archivist": _doors("retention"),
}
HEARS = {
    "publisher": {"_INBOX_publisher.>", "clew.outcome.acme.publisher.>"},
    "reader": {"_INBOX_reader.>"},
    "auditor": {"_INBOX_auditor.>", "clew.live.evt.*.acme.*"},
    "eraser": {"_INBOX_eraser.>", "clew.outcome.acme.eraser.>"},
    "counsel": {"_INBOX_counsel.>", "clew.outcome.acme.counsel.>"},
    "archivist": {"_INBOX_archivist.>", "clew.outcome.acme.archivist.>"},
}
