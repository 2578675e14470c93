"""What can be wrong with a deployment: a closed set of problems, each with what to do."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from msgspec import Struct

Severity = Literal["warning", "down", "damage"]
"""``damage``: data is not what it must be; ``down``: something does not work; ``warning``: something soon will not."""

Code = Literal[
    "unusable_file",
    "open_file",
    "certificate_not_valid",
    "certificate_expires",
    "disk_nearly_full",
    "no_nats",
    "old_nats_server",
    "not_initialised",
    "restore_unfinished",
    "lost_stream",
    "missing_stream",
    "changed_stream",
    "missing_consumer",
    "small_payload",
    "replica_behind",
    "storage_nearly_full",
    "clock_differs",
    "no_projector",
    "projection_late",
    "parked_threads",
    "inbox_unserved",
    "inbox_late",
    "index_late",
    "index_differs",
    "views_differ",
    "proof_old",
    "log_changed",
    "verification_old",
    "checkpoint_late",
    "checkpoint_in_future",
    "erasure_late",
    "retention_late",
    "backup_old",
    "api_down",
    "api_not_ready",
]


class Advice(NamedTuple):
    """What a problem means in general, how severe it is, and what to do about it."""

    severity: Severity
    meaning: str
    remedy: str


ADVICE: Final[dict[Code, Advice]] = {
    "unusable_file": Advice(
        "down",
        "a certificate, key or login that a setting names cannot be used",
        "Correct the file or the setting; what is said of it names both.",
    ),
    "open_file": Advice(
        "warning",
        "a file with a secret, or the data folder, can be read by others",
        "Set its mode with 'chmod', as is said of it, and replace the secret if others use the machine.",
    ),
    "certificate_not_valid": Advice(
        "down", "a certificate has expired, or its time has not begun", "Renew it; nothing needs a restart for it."
    ),
    "certificate_expires": Advice(
        "warning",
        "a certificate expires within three weeks, or the last third of its time has begun where that is shorter",
        "Renew it; nothing needs a restart for it.",
    ),
    "disk_nearly_full": Advice(
        "warning",
        "less than a tenth of this machine's disk is free where Clew keeps files",
        "Make room, or move the folder to a larger disk.",
    ),
    "no_nats": Advice(
        "down",
        "no connection to NATS: no server answers, or it refuses the login or the certificate",
        "Start the server, or correct '--nats' and what belongs to it.",
    ),
    "old_nats_server": Advice(
        "warning",
        "the NATS server is older than Clew needs, and may lose what it acknowledged",
        "Upgrade it, one server of a cluster after the other.",
    ),
    "not_initialised": Advice("down", "there is no deployment on this NATS server", "Run 'clew init'."),
    "restore_unfinished": Advice(
        "down", "a backup was not restored to its end", "Run 'clew restore' with the same folder again."
    ),
    "lost_stream": Advice(
        "damage",
        "a stream is gone that follows from nothing else",
        "Stop all writers, and bring its data back: see Recovery, a lost stream.",
    ),
    "missing_stream": Advice("down", "a stream is missing that follows from the log", "Run 'clew init'."),
    "changed_stream": Advice(
        "damage",
        "a setting of a stream or consumer was changed, which may lose history",
        "Change it back to what is said, and find out who changed it.",
    ),
    "missing_consumer": Advice("down", "a projector's consumer is missing", "Run 'clew init'."),
    "small_payload": Advice(
        "down",
        "the server takes smaller messages than the log may hold",
        "Set 'max_payload' of all servers to what is said.",
    ),
    "replica_behind": Advice(
        "warning",
        "a stream has fewer current replicas than it should",
        "Look after the server that is away or behind, before another one fails.",
    ),
    "storage_nearly_full": Advice(
        "warning",
        "JetStream has used 85 percent of its limit",
        "Give it a larger disk and limit: see Recovery, a full disk.",
    ),
    "clock_differs": Advice(
        "warning", "this machine's clock and the NATS server's differ by a minute or more", "Set both, as by NTP."
    ),
    "no_projector": Advice(
        "down", "commits wait, and no projector asks for them", "Start one with 'clew serve projector'."
    ),
    "projection_late": Advice(
        "warning",
        "commits have waited for their projection for a minute",
        "Start more projectors, or look into their log why they get nowhere.",
    ),
    "parked_threads": Advice(
        "warning",
        "threads are not projected, because their history cannot be folded",
        "See what 'clew status' says of each, and the alert ClewParkedThreads.",
    ),
    "inbox_unserved": Advice(
        "down", "commands wait in the inbox, and no process serves it", "Start 'clew serve commands'."
    ),
    "inbox_late": Advice(
        "warning",
        "commands have waited in the inbox for two minutes",
        "Look into the log of the process that serves it.",
    ),
    "index_late": Advice(
        "warning",
        "this machine's index is a minute behind the log, or leaves threads out",
        "Start 'clew serve index', or look into its log.",
    ),
    "index_differs": Advice(
        "damage", "this machine's index differs from the log", "Run 'clew rebuild index', and report it."
    ),
    "views_differ": Advice(
        "damage", "views differ from the log", "Run 'clew prove', then 'clew prove --repair'; the log is right."
    ),
    "proof_old": Advice(
        "warning",
        "not all views were compared with the log in the last week",
        "Run a projector with '--prove-rate' above 0.",
    ),
    "log_changed": Advice(
        "damage",
        "the log is not what was signed or chained",
        "Stop all writers, and change nothing: see the alert ClewLogChanged.",
    ),
    "verification_old": Advice(
        "warning",
        "the log was not verified in the last week",
        "Run a projector with '--verify-every' above 0, or 'clew verify --all'.",
    ),
    "checkpoint_late": Advice(
        "warning",
        "commits have waited for a signed checkpoint for an hour, or none was ever signed",
        "Give a projector the signing key: 'clew checkpoint keygen'.",
    ),
    "checkpoint_in_future": Advice(
        "warning",
        "the newest checkpoint is dated in the future",
        "Set the clock of the machine that signs; later checkpoints are right again.",
    ),
    "erasure_late": Advice(
        "warning",
        "an erasure was requested two days ago, and is not complete",
        "Run 'clew serve erasure'; 'clew erasures show ID' says what hinders it.",
    ),
    "retention_late": Advice(
        "warning",
        "threads whose time is over wait for two days, or nobody looks for them",
        "Run 'clew serve retention', or look into its log.",
    ),
    "backup_old": Advice(
        "warning",
        "there is no backup on record that is recent enough",
        "Run 'clew backup --out FOLDER', or say with '--backup-age' how old one may be.",
    ),
    "api_down": Advice(
        "down",
        "the HTTP API that '--api' names does not answer, or its certificate is not trusted",
        "Start 'clew serve api', or mend what is said: the address, or the certificate.",
    ),
    "api_not_ready": Advice(
        "down", "the HTTP API says at /readyz that it cannot do its work", "Do what is said of it."
    ),
}
"""Each code with its advice, in the order in which problems are shown."""

EXITS: Final[dict[Severity, int]] = {"warning": 1, "down": 4, "damage": 5}


class Problem(Struct, frozen=True):
    """One thing that is wrong here: its code, and what was found."""

    code: Code
    what: str

    @property
    def advice(self) -> Advice:
        """What it means in general, and what to do."""
        return ADVICE[self.code]


class Diagnosis(Struct, frozen=True, kw_only=True):
    """The problems of a deployment, the most severe first, and what could not be looked at, each with the reason."""

    problems: tuple[Problem, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if all is well, else that of the worst: 1 a warning, 4 down or not looked at, 5 damage."""
        return max([4 * bool(self.unknown), *(EXITS[problem.advice.severity] for problem in self.problems)])


def diagnose(problems: list[Problem], unknown: list[str]) -> Diagnosis:
    """The diagnosis of all that was found, in order, each once."""
    codes = list(ADVICE)
    found = sorted(dict.fromkeys((each.code, each.what) for each in problems), key=lambda each: codes.index(each[0]))
    ordered = sorted((Problem(*each) for each in found), key=lambda problem: -EXITS[problem.advice.severity])
    return Diagnosis(problems=tuple(ordered), unknown=tuple(dict.fromkeys(unknown)))
