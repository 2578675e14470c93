"""The metrics of a deployment, read from JetStream at each scrape."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from clew_events.errors import ClewError
from clew_events.subjects import REJECTED_STREAM
from clew_projections.consistency.watch import read_proof_state
from clew_projections.generations.generation import LiveGeneration
from clew_projections.index.index_folder import IndexFolder
from clew_projections.indexer.freshness import freshness
from clew_projections.nats.stream_messages import StreamInfo
from clew_services import progress
from clew_services.checkpoints.ledger import Ledger, checkpoint_coverage
from clew_services.erasure.records import ErasureRecords
from clew_services.http.health import Readiness
from clew_services.integrity.integrity_report import report
from clew_services.metrics import catalogue
from clew_services.metrics.catalogue import Metric
from clew_services.metrics.counter_files import VARIABLE
from clew_services.open_deployment import OpenDeployment
from clew_services.progress import Account, ask_jetstream
from clew_services.retention.look_book import LookBook

TIME: Final = 8.0
"""Timeout of JetStream during a scrape, in seconds; less than Prometheus's own timeout of a scrape."""

Values = Mapping[Metric, Mapping[str, float]]
"""The values of metrics by shard; ``""`` where a metric has no shards."""


class DeploymentMetrics(Collector):
    """Reads JetStream at each scrape, over a connection of the event loop in which this is created.

    Values that cannot be read are omitted, so that no value is older than the scrape; ``clew_ready`` is always present.
    """

    def __init__(
        self,
        opened: OpenDeployment,
        live: LiveGeneration,
        readiness: Readiness,
        index: IndexFolder | None,
        storage_limit: int = 0,
    ) -> None:
        """``index`` is the folder of this machine's index, if it has one.

        ``storage_limit`` is the disk limit of each NATS server in bytes, used if the account has none; 0 if unknown.
        """
        self._storage_limit = storage_limit
        self._js = opened.js
        self._layout = opened.layout
        self._live = live
        self._index = index
        self._readiness = readiness
        self._erasure_records = ErasureRecords(opened.js, opened.js.pending)
        self._looks = LookBook(opened.js, opened.layout.shards)
        self._loop = asyncio.get_running_loop()

    def describe(self) -> list[GaugeMetricFamily]:
        """No descriptions, so that registering this collector reads nothing."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The current metrics. Must not be called from the event loop's thread."""
        values = asyncio.run_coroutine_threadsafe(self.look(), self._loop).result(TIME + 1)
        for metric, by_shard in values.items():
            family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for shard, value in by_shard.items():
                family.add_metric([shard] if metric.labels else [], value)
            yield family

    async def look(self) -> Values:
        """The current values of all metrics of a deployment that can be read."""
        values: dict[Metric, Mapping[str, float]] = {catalogue.READY: {"": 0}}
        try:
            async with asyncio.timeout(TIME):
                parts = await asyncio.gather(
                    self._shards(),
                    self._rejected(),
                    self._account(),
                    self._indexed(),
                    self._proved(),
                    self._signed(),
                    self._verified(),
                    self._erasures(),
                    self._retention(),
                )
        except TimeoutError:
            return values
        for part in parts:
            values.update(part)
        return {**values, **self._generations(), **_disk()}

    async def _shards(self) -> Values:
        health = await self._readiness.look()
        shards = [shard for shard in health.shards if not shard.trouble]
        values: dict[Metric, Mapping[str, float]] = {
            catalogue.READY: {"": float(health.ok)},
            catalogue.LOG_COMMITS: {str(shard.shard): shard.commits for shard in shards},
            catalogue.LOG_BYTES: {str(shard.shard): shard.bytes for shard in shards},
            catalogue.LOG_THREADS: {str(shard.shard): shard.threads for shard in shards},
            catalogue.LAG_COMMITS: {str(shard.shard): shard.behind for shard in shards},
            catalogue.LAG_SECONDS: {str(shard.shard): shard.lag for shard in shards},
            catalogue.STILL_SECONDS: {str(shard.shard): shard.still for shard in shards},
        }
        if (inbox := health.inbox).trouble is None:
            values |= {
                catalogue.INBOX: {"": inbox.waiting},
                catalogue.INBOX_LIMIT: {"": inbox.limit},
                catalogue.INBOX_OLDEST: {"": inbox.oldest},
                catalogue.INBOX_STILL: {"": inbox.still},
            }
        if health.parked is not None:
            values[catalogue.PARKED] = {"": health.parked}
        return values

    async def _rejected(self) -> Values:
        stream = await ask_jetstream(self._js, f"STREAM.INFO.{REJECTED_STREAM}", REJECTED_STREAM, StreamInfo)
        return {} if isinstance(stream, str) else {catalogue.REJECTED: {"": stream.state.messages}}

    async def _indexed(self) -> Values:
        if self._index is None:
            return {}
        try:
            async with asyncio.timeout(progress.TIME):
                fresh = await freshness(self._js, self._layout.shards, self._index)
        except (ClewError, TimeoutError, OSError):
            return {}
        return {
            **({catalogue.INDEX_DRIFT: {"": fresh.drift}} if fresh.drift is not None else {}),
            catalogue.INDEX_BEHIND: {"": fresh.behind},
            catalogue.INDEX_SECONDS: {"": fresh.seconds},
            catalogue.INDEX_ASIDE: {"": fresh.aside},
            catalogue.INDEX_BYTES: {"": fresh.bytes},
        }

    async def _proved(self) -> Values:
        shards = range(self._layout.shards)
        try:
            async with asyncio.timeout(progress.TIME):
                states = await read_proof_state(self._live.current.threads, shards)
        except (ClewError, TimeoutError):
            return {}
        if not states:
            return {}
        drift = {catalogue.DRIFT: {"": sum(state.drift for state in states.values())}}
        since = [state.since for state in states.values() if state.since is not None]
        if len(since) < len(shards):
            return drift
        return {**drift, catalogue.PROOF_AGE: {"": max(0.0, (datetime.now(UTC) - min(since)).total_seconds())}}

    async def _verified(self) -> Values:
        try:
            async with asyncio.timeout(progress.TIME):
                verified = await report(self._js)
        except (ClewError, TimeoutError):
            return {}
        if verified is None:
            return {}
        findings = {catalogue.LOG_FINDINGS: {"": len(verified.findings)}}
        return {**findings, catalogue.LOG_VERIFIED_AGE: {"": verified.age}} if verified.age is not None else findings

    async def _erasures(self) -> Values:
        try:
            async with asyncio.timeout(progress.TIME):
                pending = await self._erasure_records.pending()
        except (ClewError, TimeoutError):
            return {}
        since = min((each.erasure.requested_at for each in pending), default=None)
        age = max(0.0, (datetime.now(UTC) - since).total_seconds()) if since is not None else 0.0
        return {catalogue.ERASURES: {"": len(pending)}, catalogue.ERASURE_AGE: {"": age}}

    async def _retention(self) -> Values:
        try:
            async with asyncio.timeout(progress.TIME):
                state = await self._looks.state()
        except (ClewError, TimeoutError):
            return {}
        if state is None:
            return {}
        lag = (datetime.now(UTC) - (state.oldest or state.at)).total_seconds()
        return {catalogue.RETENTION_LAG: {"": max(0.0, lag)}}

    async def _signed(self) -> Values:
        try:
            async with asyncio.timeout(progress.TIME):
                coverage = await checkpoint_coverage(self._js, self._layout.shards, Ledger(self._js))
        except (ClewError, TimeoutError):
            return {}
        if coverage is None:
            return {}
        return {catalogue.CHECKPOINT_AGE: {"": coverage.age}, catalogue.CHECKPOINT_WAITING: {"": coverage.waiting}}

    def _generations(self) -> Values:
        record = self._live.record
        building = record.building
        return {
            catalogue.GENERATION: {"": record.live},
            catalogue.GENERATION_BUILDING: {"": building.number if building is not None else 0},
        }

    async def _account(self) -> Values:
        account = await ask_jetstream(self._js, "INFO", "JetStream", Account)
        if isinstance(account, str):
            return {}
        limit = account.limit(self._storage_limit, self._layout.replicas)
        known = {catalogue.STORAGE: {"": account.storage}}
        return {**known, catalogue.STORAGE_LIMIT: {"": limit}} if limit > 0 else known


def _disk() -> Values:
    folder = os.environ.get(VARIABLE)
    if folder is None:
        return {}
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return {}
    return {catalogue.DISK_FREE: {"": disk.free}, catalogue.DISK: {"": disk.total}}
