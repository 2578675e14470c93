"""A running ``clew up`` as whoever watches it sees it: its metrics, and whether it is ready."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clew_events import client
from support.freezing import freeze, go_on
from support.ports import free_port
from support.up import CLEW, Up, clew, environment, running_up
from support.waiting import eventually

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("watched") / "data", "--stuck-after", "2") as running:
        yield running


def get(up: Up, path: str) -> tuple[int, str]:
    try:
        with urlopen(up.base_url.removesuffix("/v1") + path, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()


def series(text: str) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(found: Series, name: str, **labels: str) -> float:
    return sum(value for (each, had), value in found.items() if each == name and frozenset(labels.items()) <= had)


def metrics(up: Up) -> Series:
    status, text = get(up, "/metrics")
    assert status == 200
    return series(text)


def create(up: Up) -> str:
    headers = {"Authorization": f"Bearer {up.api_key}", "OpenAI-Beta": "assistants=v2"}
    headers["Content-Type"] = "application/json"
    with urlopen(Request(f"{up.base_url}/threads", b"{}", headers)) as answer:
        return str(json.load(answer)["id"])


async def test_the_metrics_of_all_processes_are_shown_together(up: Up) -> None:
    before = metrics(up)
    create(up)
    async with client.connect(up.nats_url) as over_nats:
        thread = await over_nats.create_thread()
        await over_nats.add_message(thread.thread.id, "hello")

    async def counted() -> bool:
        now = metrics(up)
        new = {key: value - before.get(key, 0) for key, value in now.items()}
        assert total(new, "clew_command_seconds_count", command="CreateThread", outcome="ok") == 2
        assert total(new, "clew_command_seconds_count", command="AddMessage", outcome="ok") == 1
        assert total(new, "clew_http_request_seconds_count", route="/v1/threads", method="POST", status="200") == 1
        assert total(new, "clew_nats_request_seconds_count", service="commands", code="200") == 2
        assert total(new, "clew_projected_commits_total") == 3
        assert total(now, "clew_log_commits") == total(now, "clew_log_threads") + 1
        return True

    await eventually(counted)

    async def whole() -> bool:
        now = metrics(up)
        assert total(now, "clew_processes") == 4
        assert total(now, "clew_nats_connected") == total(now, "clew_ready") == 1
        return {("clew_drift_threads", frozenset()), ("clew_index_behind_commits", frozenset())} <= now.keys()

    await eventually(whole)
    assert total(metrics(up), "clew_drift_threads") == 0


async def test_a_process_that_dies_is_missing_until_it_is_back_and_counts_on(up: Up) -> None:
    create(up)

    async def projected() -> float:
        return total(metrics(up), "clew_projected_commits_total")

    before = await eventually(projected)
    os.kill(up.pid_of("projector"), signal.SIGKILL)

    async def one_less() -> bool:
        return total(metrics(up), "clew_processes") == 3

    async def all_there() -> bool:
        return total(metrics(up), "clew_processes") == 4

    await eventually(one_less)
    await eventually(all_there)
    create(up)

    async def more() -> bool:
        return await projected() > before

    await eventually(more)


async def test_readiness_tells_a_frozen_projector_from_an_idle_one(up: Up) -> None:
    async def ready() -> dict[str, object]:
        status, body = get(up, "/readyz")
        assert status == 200, body
        return dict(json.loads(body))

    async def idle() -> bool:
        shards = (await ready())["shards"]
        assert isinstance(shards, list)
        return all(each == {"shard": each["shard"], "state": "idle"} for each in shards)

    # What a projector that was killed had in hand comes again after ten seconds.
    await eventually(idle)
    frozen = up.pid_of("projector")
    freeze(frozen)
    try:
        assert json.loads(get(up, "/readyz")[1])["ok"], "nothing waits, so nobody is stuck"
        create(up)

        async def red() -> dict[str, object]:
            status, body = get(up, "/readyz")
            assert status == 503
            said = dict(json.loads(body))
            assert "clew serve projector" in said["reasons"][0]  # a moment after it was given the commit
            return said

        said = await eventually(red)
        shards = said["shards"]
        assert isinstance(shards, list)
        (stuck,) = [each for each in shards if each["state"] == "stuck"]
        assert stuck["behind"] >= 1
        assert stuck["since"]
        (reason,) = said["reasons"]  # type: ignore[misc]
        assert reason.startswith(f"shard {stuck['shard']}: the projector has stood still for ")

        async def told() -> Series:
            now = metrics(up)
            assert total(now, "clew_ready") == 0
            return now

        now = await eventually(told)
        assert total(now, "clew_projector_still_seconds", shard=str(stuck["shard"])) >= 2
        assert total(now, "clew_projector_lag_commits") == stuck["behind"]
    finally:
        go_on(frozen)
    await eventually(idle)


async def test_a_service_of_its_own_shows_its_metrics_where_it_is_told_to(up: Up) -> None:
    where = f"127.0.0.1:{free_port()}"
    command = [*CLEW, "serve", "projector", "--nats", up.nats_url, "--metrics", where]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as alone:
        try:

            async def shown() -> Series:
                try:
                    with urlopen(f"http://{where}/metrics", timeout=20) as answer:
                        found = series(answer.read().decode())
                except OSError:
                    return {}
                # It shows what there is from the start, and itself once it has told.
                return found if total(found, "clew_processes") else {}

            found = await eventually(shown)
            assert total(found, "clew_processes") == 1
            assert not [name for name, _ in found if name == "clew_ready"]
            taken = clew("serve", "query", "--nats", up.nats_url, "--metrics", where)
            assert taken.returncode == 1
            assert f"cannot listen on {where} for metrics" in taken.stderr
        finally:
            alone.terminate()
    assert alone.returncode == 0


def test_a_place_for_metrics_that_cannot_be_is_refused(up: Up) -> None:
    wrong = clew("serve", "query", "--nats", up.nats_url, "--metrics", "everywhere")
    assert wrong.returncode == 2
    assert "--metrics (CLEW_METRICS) is 'everywhere', and should be 'on', 'off' or host:port" in wrong.stderr
