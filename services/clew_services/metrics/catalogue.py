"""The catalogue of metrics: their names with units, their labels and help.

The table of docs/operating/metrics.md is made from it by ``python -m clew_services.metrics.catalogue``. No label names
a tenant, a thread or a key: the number of series depends on the deployment, not on its use.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from msgspec import Struct

MILLISECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LONGER: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)
COMMITS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metric(Struct, frozen=True, kw_only=True):
    """One metric. ``source`` says where it comes from: each process, or JetStream, read by the API at each scrape.

    ``over`` is the way in which values of several processes are aggregated, in the terms of prometheus-client.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    source: Literal["process", "deployment"] = "process"
    over: Literal["livesum", "livemin", "livemax", "max"] = "livesum"


COMMAND_SECONDS: Final = Metric(
    name="clew_command_seconds", kind="histogram", labels=("command", "outcome"), buckets=MILLISECONDS,
    help="Time to carry a command out, however it came. Outcome: ok (a commit), nothing (no change needed), repeat "
    "(answered as the first time), rejected, conflict, unavailable, corrupt, failed (cut short or unforeseen).",
)  # fmt: skip
GUARD_FAILURES: Final = Metric(
    name="clew_guard_failures_total", kind="counter", labels=("why",),
    help="Appends that the log refused: stale (another writer was faster), duplicate (the id was stored before).",
)  # fmt: skip
COMMAND_RETRIES: Final = Metric(
    name="clew_command_retries_total", kind="counter",
    help="Decisions taken once more, on the thread as the log has it, because what was remembered was not the present.",
)  # fmt: skip
GROUP_COMMITS: Final = Metric(
    name="clew_group_commit_commits", kind="histogram", labels=("outcome",), buckets=COMMITS,
    help="Commits sent to a shard as one batch. Outcome: stored, or refused (they then go singly).",
)  # fmt: skip
NATS_REQUEST_SECONDS: Final = Metric(
    name="clew_nats_request_seconds", kind="histogram", labels=("service", "code"), buckets=MILLISECONDS,
    help="Time to answer a request over NATS. Service: commands, queries. Code: 200, or that of the error header.",
)  # fmt: skip
INBOX_SETTLED: Final = Metric(
    name="clew_inbox_settled_total", kind="counter", labels=("outcome",),
    help="Commands from the inbox that came to their end: done, or refused and put on record.",
)  # fmt: skip
HTTP_REQUEST_SECONDS: Final = Metric(
    name="clew_http_request_seconds", kind="histogram", labels=("route", "method", "status"), buckets=MILLISECONDS,
    help="Time to answer an HTTP request, from its headers until the answer is ready. An empty route is a path at "
    "which there is nothing.",
)  # fmt: skip
TAIL_READS: Final = Metric(
    name="clew_tail_reads_total", kind="counter",
    help="How often the log was asked for commits that a view may lack.",
)  # fmt: skip
MEMORY_LOOKUPS: Final = Metric(
    name="clew_memory_lookups_total", kind="counter", labels=("result",),
    help="Threads looked up in a process's memory: hit, or miss (then the bucket is read).",
)  # fmt: skip
MEMORY_THREADS: Final = Metric(
    name="clew_memory_threads", kind="gauge",
    help="Threads that the processes remember.",
)  # fmt: skip
PROJECTED: Final = Metric(
    name="clew_projected_commits_total", kind="counter", labels=("shard",),
    help="Commits projected, those included that were delivered again.",
)  # fmt: skip
PROJECTOR_BATCH: Final = Metric(
    name="clew_projector_batch_commits", kind="histogram", labels=("shard",), buckets=COMMITS,
    help="Commits that the projector applied in one go.",
)  # fmt: skip
PROJECTION_DELAY: Final = Metric(
    name="clew_projection_delay_seconds", kind="histogram", labels=("shard",), buckets=LONGER,
    help="For each batch, the time from the storing of its oldest commit until all its views were written.",
)  # fmt: skip
PROCESSES: Final = Metric(
    name="clew_processes", kind="gauge",
    help="Processes of Clew that run and are counted here.",
)  # fmt: skip
NATS_CONNECTED: Final = Metric(
    name="clew_nats_connected", kind="gauge", over="livemin",
    help="1 when every process is connected to NATS, 0 when one is not.",
)  # fmt: skip
NATS_DISCONNECTS: Final = Metric(
    name="clew_nats_disconnects_total", kind="counter",
    help="How often a connection to NATS was lost.",
)  # fmt: skip
LOOP_LAG: Final = Metric(
    name="clew_event_loop_lag_seconds", kind="gauge", over="livemax",
    help="How late a process's event loop was at its last look at the clock; the worst of all processes.",
)  # fmt: skip
BUILD: Final = Metric(
    name="clew_build_info", kind="gauge", labels=("version", "python", "nats_server"), over="max",
    help="Always 1; the labels say what runs.",
)  # fmt: skip

READY: Final = Metric(
    name="clew_ready", kind="gauge", source="deployment",
    help="1 when /readyz says 200, 0 when it does not.",
)  # fmt: skip
LOG_COMMITS: Final = Metric(
    name="clew_log_commits", kind="gauge", labels=("shard",), source="deployment",
    help="Commits in the log.",
)  # fmt: skip
LOG_BYTES: Final = Metric(
    name="clew_log_bytes", kind="gauge", labels=("shard",), source="deployment",
    help="Bytes of the log, as the server counts them.",
)  # fmt: skip
LOG_THREADS: Final = Metric(
    name="clew_log_threads", kind="gauge", labels=("shard",), source="deployment",
    help="Threads in the log, deleted ones included.",
)  # fmt: skip
LAG_COMMITS: Final = Metric(
    name="clew_projector_lag_commits", kind="gauge", labels=("shard",), source="deployment",
    help="Commits that are not projected yet.",
)  # fmt: skip
LAG_SECONDS: Final = Metric(
    name="clew_projector_lag_seconds", kind="gauge", labels=("shard",), source="deployment",
    help="Age of the oldest commit that is not projected yet; 0 when all are.",
)  # fmt: skip
STILL_SECONDS: Final = Metric(
    name="clew_projector_still_seconds", kind="gauge", labels=("shard",), source="deployment",
    help="For how long nothing has been projected although commits wait; 0 when none do.",
)  # fmt: skip
PARKED: Final = Metric(
    name="clew_parked_threads", kind="gauge", source="deployment",
    help="Threads that stand still because their history cannot be folded.",
)  # fmt: skip
INBOX: Final = Metric(
    name="clew_inbox_commands", kind="gauge", source="deployment",
    help="Commands waiting in the inbox.",
)  # fmt: skip
INBOX_LIMIT: Final = Metric(
    name="clew_inbox_limit_commands", kind="gauge", source="deployment",
    help="Commands that the inbox takes before it refuses more.",
)  # fmt: skip
INBOX_OLDEST: Final = Metric(
    name="clew_inbox_oldest_seconds", kind="gauge", source="deployment",
    help="Age of the oldest command in the inbox; 0 when it is empty.",
)  # fmt: skip
INBOX_STILL: Final = Metric(
    name="clew_inbox_still_seconds", kind="gauge", source="deployment",
    help="For how long no command has left the inbox although some wait; 0 when none do.",
)  # fmt: skip
REJECTED: Final = Metric(
    name="clew_rejected_commands", kind="gauge", source="deployment",
    help="Refused inbox commands on record.",
)  # fmt: skip
DRIFT: Final = Metric(
    name="clew_drift_threads", kind="gauge", source="deployment",
    help="Threads whose state in the buckets is not what the log says, as far as the proof that never ends has found. "
    "Absent until that has begun.",
)  # fmt: skip
PROOF_AGE: Final = Metric(
    name="clew_proof_age_seconds", kind="gauge", source="deployment",
    help="Age of the state that has been compared with the log as a whole. Absent until that has happened once.",
)  # fmt: skip
LOG_FINDINGS: Final = Metric(
    name="clew_log_findings", kind="gauge", source="deployment",
    help="What is known to be wrong with the log itself, by its chains, by the newest checkpoint and by what its "
    "streams say of themselves. Absent until verification has begun.",
)  # fmt: skip
LOG_VERIFIED_AGE: Final = Metric(
    name="clew_log_verified_age_seconds", kind="gauge", source="deployment",
    help="Age of the state of the log that was last verified as a whole. Absent until that has happened once.",
)  # fmt: skip
CHECKPOINT_AGE: Final = Metric(
    name="clew_checkpoint_age_seconds", kind="gauge", source="deployment",
    help="Age of the latest signed checkpoint. Absent until one was signed.",
)  # fmt: skip
CHECKPOINT_WAITING: Final = Metric(
    name="clew_checkpoint_waiting_seconds", kind="gauge", source="deployment",
    help="How long the oldest commit that no signed checkpoint covers has been in the log; 0 when all are covered. "
    "Absent until a checkpoint was signed.",
)  # fmt: skip
GENERATION: Final = Metric(
    name="clew_generation", kind="gauge", source="deployment",
    help="Number of the generation of buckets that is live.",
)  # fmt: skip
GENERATION_BUILDING: Final = Metric(
    name="clew_generation_building", kind="gauge", source="deployment",
    help="Number of the generation of buckets that is being built; 0 when none is.",
)  # fmt: skip
INDEX_BEHIND: Final = Metric(
    name="clew_index_behind_commits", kind="gauge", source="deployment",
    help="Commits that the index of the API's machine does not have yet.",
)  # fmt: skip
INDEX_SECONDS: Final = Metric(
    name="clew_index_behind_seconds", kind="gauge", source="deployment",
    help="How long the oldest of these has been in the log; 0 when there is none.",
)  # fmt: skip
INDEX_ASIDE: Final = Metric(
    name="clew_index_aside_threads", kind="gauge", source="deployment",
    help="Threads that lists and searches leave out because their history cannot be folded.",
)  # fmt: skip
INDEX_DRIFT: Final = Metric(
    name="clew_index_drift", kind="gauge", source="deployment",
    help="Threads and counts of the index of the API's machine that are not what the log says, as far as its proof "
    "that never ends has found. Absent until that has begun.",
)  # fmt: skip
INDEX_BYTES: Final = Metric(
    name="clew_index_bytes", kind="gauge", source="deployment",
    help="Bytes of the index on disk.",
)  # fmt: skip
STORAGE: Final = Metric(
    name="clew_jetstream_storage_bytes", kind="gauge", source="deployment",
    help="Bytes that JetStream keeps on disk for Clew's account, on all servers together.",
)  # fmt: skip
STORAGE_LIMIT: Final = Metric(
    name="clew_jetstream_storage_limit_bytes", kind="gauge", source="deployment",
    help="Bytes that it may keep there: the account's limit, or else CLEW_MAX_FILE_STORE once for each replica. Absent "
    "when neither is set.",
)  # fmt: skip
DISK_FREE: Final = Metric(
    name="clew_disk_free_bytes", kind="gauge", source="deployment",
    help="Bytes free on the disk of the data folder. Only under 'clew up'.",
)  # fmt: skip
DISK: Final = Metric(
    name="clew_disk_bytes", kind="gauge", source="deployment",
    help="Bytes of the disk of the data folder. Only under 'clew up'.",
)  # fmt: skip

ALL: Final[tuple[Metric, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All metrics, in the order of their definition."""


def rows() -> Iterator[str]:
    """One line of Markdown for each metric, in the order of the catalogue."""
    for metric in ALL:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.source} | {metric.help} |"


if __name__ == "__main__":
    print("\n".join(rows()))  # noqa: T201 - this is what it is for
