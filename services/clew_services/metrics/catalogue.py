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
    """One metric. ``source`` is where its values come from: each process, or JetStream, read by the API at each scrape.

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
    help="Time to carry out a command, over HTTP, NATS or the inbox. Outcome: ok (a commit), nothing (no change "
    "needed), repeat (answered as the first time), rejected, conflict, unavailable, corrupt, failed (interrupted or "
    "unexpected).",
)  # fmt: skip
GUARD_FAILURES: Final = Metric(
    name="clew_guard_failures_total", kind="counter", labels=("why",),
    help="Appends whose guard failed. Why: stale (another writer was first), duplicate (the command id was stored "
    "before).",
)  # fmt: skip
COMMAND_RETRIES: Final = Metric(
    name="clew_command_retries_total", kind="counter",
    help="Commands decided again on the current state of the log, because the cached state was stale.",
)  # fmt: skip
GROUP_COMMITS: Final = Metric(
    name="clew_group_commit_commits", kind="histogram", labels=("outcome",), buckets=COMMITS,
    help="Commits in each batch sent to a shard. Outcome: stored, or refused (each commit is then sent singly).",
)  # fmt: skip
NATS_REQUEST_SECONDS: Final = Metric(
    name="clew_nats_request_seconds", kind="histogram", labels=("service", "code"), buckets=MILLISECONDS,
    help="Time to answer a request over NATS. Service: commands, queries. Code: 200, or the code in the error header.",
)  # fmt: skip
INBOX_SETTLED: Final = Metric(
    name="clew_inbox_settled_total", kind="counter", labels=("outcome",),
    help="Commands of the inbox that were settled. Outcome: done, or refused (rejected and recorded).",
)  # fmt: skip
HTTP_REQUEST_SECONDS: Final = Metric(
    name="clew_http_request_seconds", kind="histogram", labels=("route", "method", "status"), buckets=MILLISECONDS,
    help="Time to answer an HTTP request, from its headers until the response is ready. An empty route stands for "
    "unknown paths.",
)  # fmt: skip
TAIL_READS: Final = Metric(
    name="clew_tail_reads_total", kind="counter",
    help="Reads of the log for commits that a view may lack.",
)  # fmt: skip
MEMORY_LOOKUPS: Final = Metric(
    name="clew_memory_lookups_total", kind="counter", labels=("result",),
    help="Lookups of threads in the cache of a process. Result: hit, or miss (the bucket is read).",
)  # fmt: skip
MEMORY_THREADS: Final = Metric(
    name="clew_memory_threads", kind="gauge",
    help="Threads in the caches of all processes.",
)  # fmt: skip
PROJECTED: Final = Metric(
    name="clew_projected_commits_total", kind="counter", labels=("shard",),
    help="Commits projected, redelivered ones included.",
)  # fmt: skip
PROJECTOR_BATCH: Final = Metric(
    name="clew_projector_batch_commits", kind="histogram", labels=("shard",), buckets=COMMITS,
    help="Commits in each batch of the projector.",
)  # fmt: skip
PROJECTION_DELAY: Final = Metric(
    name="clew_projection_delay_seconds", kind="histogram", labels=("shard",), buckets=LONGER,
    help="Time from the storing of a batch's oldest commit until all views of the batch are written.",
)  # fmt: skip
PROCESSES: Final = Metric(
    name="clew_processes", kind="gauge",
    help="Running processes whose values are included here.",
)  # fmt: skip
NATS_CONNECTED: Final = Metric(
    name="clew_nats_connected", kind="gauge", over="livemin",
    help="1 if all processes are connected to NATS, else 0.",
)  # fmt: skip
NATS_DISCONNECTS: Final = Metric(
    name="clew_nats_disconnects_total", kind="counter",
    help="Lost connections to NATS.",
)  # fmt: skip
LOOP_LAG: Final = Metric(
    name="clew_event_loop_lag_seconds", kind="gauge", over="livemax",
    help="Lateness of a process's event loop when it was last measured; the highest of all processes.",
)  # fmt: skip
BUILD: Final = Metric(
    name="clew_build_info", kind="gauge", labels=("version", "python", "nats_server"), over="max",
    help="Always 1; the labels hold the versions.",
)  # fmt: skip

READY: Final = Metric(
    name="clew_ready", kind="gauge", source="deployment",
    help="1 if /readyz answers 200, else 0.",
)  # fmt: skip
LOG_COMMITS: Final = Metric(
    name="clew_log_commits", kind="gauge", labels=("shard",), source="deployment",
    help="Commits in the log, erased ones included.",
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
    help="Age of the oldest commit that is not projected yet; 0 if all are.",
)  # fmt: skip
STILL_SECONDS: Final = Metric(
    name="clew_projector_still_seconds", kind="gauge", labels=("shard",), source="deployment",
    help="Time since the last projected commit while commits wait; 0 if none wait.",
)  # fmt: skip
PARKED: Final = Metric(
    name="clew_parked_threads", kind="gauge", source="deployment",
    help="Threads that are not projected because their history cannot be folded.",
)  # fmt: skip
INBOX: Final = Metric(
    name="clew_inbox_commands", kind="gauge", source="deployment",
    help="Commands waiting in the inbox.",
)  # fmt: skip
INBOX_LIMIT: Final = Metric(
    name="clew_inbox_limit_commands", kind="gauge", source="deployment",
    help="Commands that the inbox can hold; it refuses more.",
)  # fmt: skip
INBOX_OLDEST: Final = Metric(
    name="clew_inbox_oldest_seconds", kind="gauge", source="deployment",
    help="Age of the oldest command in the inbox; 0 if it is empty.",
)  # fmt: skip
INBOX_STILL: Final = Metric(
    name="clew_inbox_still_seconds", kind="gauge", source="deployment",
    help="Time since the last command left the inbox while commands wait; 0 if none wait.",
)  # fmt: skip
REJECTED: Final = Metric(
    name="clew_rejected_commands", kind="gauge", source="deployment",
    help="Recorded rejected inbox commands.",
)  # fmt: skip
DRIFT: Final = Metric(
    name="clew_drift_threads", kind="gauge", source="deployment",
    help="Threads whose views differ from the log, as found by the continuous consistency proof. Absent until it has "
    "begun.",
)  # fmt: skip
PROOF_AGE: Final = Metric(
    name="clew_proof_age_seconds", kind="gauge", source="deployment",
    help="Age of the last state of the buckets that was compared with the log as a whole. Absent until the first round "
    "is complete.",
)  # fmt: skip
LOG_FINDINGS: Final = Metric(
    name="clew_log_findings", kind="gauge", source="deployment",
    help="Known errors of the log itself, found by its chains, the newest checkpoint and the state of its streams. "
    "Absent until verification has begun.",
)  # fmt: skip
LOG_VERIFIED_AGE: Final = Metric(
    name="clew_log_verified_age_seconds", kind="gauge", source="deployment",
    help="Age of the last state of the log that was verified as a whole. Absent until the first verification is "
    "complete.",
)  # fmt: skip
CHECKPOINT_AGE: Final = Metric(
    name="clew_checkpoint_age_seconds", kind="gauge", source="deployment",
    help="Age of the latest signed checkpoint. Absent until one is signed.",
)  # fmt: skip
CHECKPOINT_WAITING: Final = Metric(
    name="clew_checkpoint_waiting_seconds", kind="gauge", source="deployment",
    help="Age of the oldest commit that no signed checkpoint covers; 0 if all are covered. Absent until a checkpoint "
    "is signed.",
)  # fmt: skip
GENERATION: Final = Metric(
    name="clew_generation", kind="gauge", source="deployment",
    help="Number of the live generation of buckets.",
)  # fmt: skip
GENERATION_BUILDING: Final = Metric(
    name="clew_generation_building", kind="gauge", source="deployment",
    help="Number of the generation of buckets that is being built; 0 if none is.",
)  # fmt: skip
INDEX_BEHIND: Final = Metric(
    name="clew_index_behind_commits", kind="gauge", source="deployment",
    help="Commits that the index of the API's machine lacks.",
)  # fmt: skip
INDEX_SECONDS: Final = Metric(
    name="clew_index_behind_seconds", kind="gauge", source="deployment",
    help="Age of the oldest commit that the index lacks; 0 if it lacks none.",
)  # fmt: skip
INDEX_ASIDE: Final = Metric(
    name="clew_index_aside_threads", kind="gauge", source="deployment",
    help="Threads left out of lists and searches because their history cannot be folded.",
)  # fmt: skip
INDEX_DRIFT: Final = Metric(
    name="clew_index_drift", kind="gauge", source="deployment",
    help="Threads and counts of the index of the API's machine that differ from the log, as found by its continuous "
    "proof. Absent until it has begun.",
)  # fmt: skip
INDEX_BYTES: Final = Metric(
    name="clew_index_bytes", kind="gauge", source="deployment",
    help="Bytes of the index on disk.",
)  # fmt: skip
STORAGE: Final = Metric(
    name="clew_jetstream_storage_bytes", kind="gauge", source="deployment",
    help="Bytes on disk of JetStream for Clew's account, on all servers together.",
)  # fmt: skip
STORAGE_LIMIT: Final = Metric(
    name="clew_jetstream_storage_limit_bytes", kind="gauge", source="deployment",
    help="Limit of these bytes: the account's, or else CLEW_MAX_FILE_STORE for each replica. Absent if neither is set.",
)  # fmt: skip
DISK_FREE: Final = Metric(
    name="clew_disk_free_bytes", kind="gauge", source="deployment",
    help="Free bytes on the disk of the data folder. Only with 'clew up'.",
)  # fmt: skip
DISK: Final = Metric(
    name="clew_disk_bytes", kind="gauge", source="deployment",
    help="Size in bytes of the disk of the data folder. Only with 'clew up'.",
)  # fmt: skip
ERASURES: Final = Metric(
    name="clew_erasures_pending", kind="gauge", source="deployment",
    help="Erasures that are requested and not completed.",
)  # fmt: skip
ERASURE_AGE: Final = Metric(
    name="clew_erasure_oldest_seconds", kind="gauge", source="deployment",
    help="Age of the oldest of them; 0 if there is none.",
)  # fmt: skip
RETENTION_LAG: Final = Metric(
    name="clew_retention_lag_seconds", kind="gauge", source="deployment",
    help="For how long a thread is due that retention has not removed; at least the age of its last pass.",
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
