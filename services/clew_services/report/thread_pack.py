"""Reports of threads of a deployment: each is packed as for an auditor, and its report is made from that pack."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from clew_events.errors import Corrupt, NotFound, TooLarge
from clew_events.subjects import Address
from clew_projections.audit.moments import Moment
from clew_projections.findings import Finding
from clew_projections.packs.pack import Pack
from clew_services.checkpoints.checkpoint_answers import CheckpointQueries
from clew_services.checkpoints.note import VerifierKey
from clew_services.packs.check_pack import check_pack
from clew_services.packs.exporter import Exporter, PackExport
from clew_services.report.thread_report import ThreadReport, make_report


async def report_thread(
    exporter: Exporter,
    checkpoints: CheckpointQueries,
    address: Address,
    moments: Sequence[Moment] = (),
    *,
    now: datetime,
    key: VerifierKey | None = None,
    most: int | None = None,
) -> ThreadReport:
    """Make the report of a thread as it is in the log, with the last checkpoint.

    A log that differs from that checkpoint is a finding. The report is made in a thread of its own.

    Raises:
        NotFound: there never was such a thread, or it was not there yet at a moment.
        Invalid: a moment is in the future.
        TooLarge: its pack has more than ``most`` bytes.
        Corrupt: the checkpoint is not signed with the ``key`` that was given.
        Unavailable: JetStream does not answer.
    """
    packing, fault = await start_thread_pack(exporter, checkpoints, address)

    def make(file: Path) -> ThreadReport:
        pack = Pack(file)
        checked = check_pack(pack, key=key, progress=lambda _: None)
        if fault is not None:
            verified = replace(checked.verified, findings=(*checked.verified.findings, fault))
            checked = replace(checked, verified=verified)
        return make_report(pack, checked, address, moments, now=now)

    with TemporaryDirectory(prefix="clew-report-") as folder:
        file, size = Path(folder) / "pack", 0
        with file.open("wb") as out:
            async with aclosing(packing.chunks()) as chunks:
                async for chunk in chunks:
                    size += len(chunk)
                    if most is not None and size > most:
                        why = f"thread {address.thread} is too long for a report over HTTP: make it with 'clew report'"
                        raise TooLarge(why)
                    out.write(chunk)
        return await asyncio.to_thread(make, file)


async def start_thread_pack(
    exporter: Exporter, checkpoints: CheckpointQueries, address: Address
) -> tuple[PackExport, Finding | None]:
    """Start the export of a thread with the proof of its head, if a checkpoint has it; or why there is no proof.

    Raises:
        NotFound: there never was such a thread.
        Unavailable: JetStream does not answer.
    """
    proof, fault = None, None
    try:
        proof = await checkpoints.proof(address)
    except NotFound:
        pass  # no checkpoint yet, or none since the thread was created
    except Corrupt as damage:
        fault = Finding(tenant="", thread="", code=damage.code, what=damage.message, shard=0)
    return await exporter.thread(address, proof), fault
