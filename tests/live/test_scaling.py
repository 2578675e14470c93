"""What is measured with a million threads is tried with few: the deployment that it takes is what it says."""

from __future__ import annotations

from pathlib import Path

import nats
from bench.scaling.deployments import TENANT, addresses, behind, indexed, made
from bench.service import computed, descendants, service
from bench.serving import threads_of
from bench.spending import loads

from clew_services.compose import connect


async def test_a_deployment_to_measure_has_its_threads_projected_and_in_the_index_and_is_kept(tmp_path: Path) -> None:
    first = await made(tmp_path / "data", 60)
    assert first.threads == indexed(tmp_path / "data") == 60
    assert first.disk_mb["KV_clew_threads_v1"] > 0
    assert first.memory_mb["nats-server"] > 0
    assert await made(tmp_path / "data", 60) == first  # it was not made again
    threads = addresses(60)
    assert {each.tenant for each in threads} == {TENANT}
    async with service("2m", data=tmp_path / "data") as running:
        assert await behind(running.nats) == 0
        assert running.pid in descendants(running.pid)
        assert len(descendants(running.pid)) > 3
        assert computed(running.pid) > 0
        nc = await nats.connect(running.nats)
        try:
            for name, load in loads(running, nc, await threads_of(nc, 50), 0.02).items():
                assert (await load()).count > 0, name
        finally:
            await nc.close()
        async with connect(running.nats, name="t") as clew:
            assert [
                each for each in threads if await clew.live.current.threads.get(f"{each.tenant}.{each.thread}") is None
            ] == []
