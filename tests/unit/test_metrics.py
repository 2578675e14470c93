from __future__ import annotations

from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from clew_services.metrics import catalogue
from clew_services.metrics.counter_files import PROCESS, VARIABLE, remove_process_files, reset_folder
from clew_services.metrics.instruments import Instruments
from clew_services.progress import Progress, Shard
from support.asgi import Parts, call
from support.up import ROOT


def samples(instruments: Instruments) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(instruments.registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_table_in_the_documents_is_the_catalogue():
    written = (ROOT / "docs/operating/metrics.md").read_text().splitlines()
    assert [line for line in written if line.startswith("| `clew_")] == list(catalogue.rows())


def test_every_instrument_is_in_the_catalogue_and_every_metric_of_a_process_has_one():
    found = {family.name: (family.type, family.documentation) for family in Instruments().registry.collect()}
    wanted = {
        each.name.removesuffix("_total") if each.kind == "counter" else each.name: (each.kind, each.help)
        for each in catalogue.ALL
        if each.source == "process"
    }
    assert found == wanted


def test_a_name_says_its_unit_and_a_counter_that_it_is_one():
    assert len({each.name for each in catalogue.ALL}) == len(catalogue.ALL) > 25
    for each in catalogue.ALL:
        assert each.name.startswith("clew_")
        assert each.name.endswith("_total") == (each.kind == "counter")
        assert bool(each.buckets) == (each.kind == "histogram")


def test_no_label_names_who_uses_the_deployment():
    assert not {label for each in catalogue.ALL for label in each.labels} & {"tenant", "thread", "actor", "key"}


def test_what_is_told_is_counted_under_its_labels():
    seen = Instruments()
    seen.on_handled("AddMessage", "ok", 0.003)
    seen.on_handled("AddMessage", "ok", 0.004)
    seen.on_handled("AddMessage", "rejected", 0.001)
    seen.guard_failed("stale")
    seen.on_batch(64, stored=True)
    seen.route("/v1/threads")("POST", 200, 0.01)
    seen.route("/v1/threads")("BREW", 405, 0.01)
    seen.shard(3)(120, 0.02)
    found = samples(seen)
    ok = (("command", "AddMessage"), ("outcome", "ok"))
    assert found["clew_command_seconds_count", ok] == 2
    assert found["clew_command_seconds_sum", ok] == pytest.approx(0.007)
    assert found["clew_command_seconds_count", (("command", "AddMessage"), ("outcome", "rejected"))] == 1
    assert found["clew_guard_failures_total", (("why", "stale"),)] == 1
    assert found["clew_group_commit_commits_sum", (("outcome", "stored"),)] == 64
    where = (("method", "POST"), ("route", "/v1/threads"), ("status", "200"))
    assert found["clew_http_request_seconds_count", where] == 1
    assert found["clew_projected_commits_total", (("shard", "3"),)] == 120
    assert {dict(labels)["method"] for name, labels in found if name == "clew_http_request_seconds_count"} == {
        "POST",
        "other",
    }


def test_what_only_holds_while_a_process_lives_goes_with_it(tmp_path):
    environment = reset_folder(tmp_path) | {PROCESS: "api"}
    folder = tmp_path / "metrics"
    assert folder.stat().st_mode & 0o777 == 0o700
    names = ("gauge_livesum_api.db", "gauge_livesum_projector.db", "counter_api.db")
    for name in names:
        (folder / name).touch()
    remove_process_files(environment)
    assert {each.name for each in folder.iterdir()} == set(names[1:])
    reset_folder(tmp_path)
    assert list(folder.iterdir()) == []
    remove_process_files({key: value for key, value in environment.items() if key != VARIABLE})


class Server:
    """JetStream as far as progress is concerned, standing as it is told to."""

    def __init__(self) -> None:
        self.floor = 10
        self.pending = 0
        self.asking = 1
        self.given = 3600.0
        self.quiet = 0.0
        self.age = 0.0
        self.now = 1_000_000.0

    async def api(self, call: str, request: object = None) -> dict[str, object]:
        if call.startswith("STREAM.INFO"):
            return {"state": {"messages": self.floor + self.pending, "num_subjects": 7}}
        if call.startswith("STREAM.MSG.GET"):
            assert request == {"seq": self.floor + 1}
            return {"message": {"time": self._at(self.age)}}
        floor = {"stream_seq": self.floor, "last_active": self._at(self.quiet)}
        return {
            "delivered": {"stream_seq": self.floor, "last_active": self._at(self.given)},
            "ack_floor": floor,
            "num_pending": self.pending,
            "num_waiting": self.asking,
            "ts": self._at(0),
        }

    def _at(self, ago: float) -> str:
        return datetime.fromtimestamp(self.now - ago, UTC).isoformat()


class Watched:
    def __init__(self) -> None:
        self.server = Server()
        self.time = 500.0
        self.progress = Progress(self.server, 1, lambda: "clew_threads_v1")
        self.progress._clock = lambda: self.time
        self.progress._began = self.time

    async def look(self, after: float = 0.0) -> Shard:
        self.time += after
        self.server.now += after
        self.server.quiet += after
        self.server.age += after
        (shard,) = await self.progress.look()
        assert shard.trouble == ()
        return shard


@pytest.fixture
async def watched() -> Watched:
    return Watched()


async def test_a_shard_with_nothing_to_project_is_idle_however_long_nothing_moves(watched: Watched):
    for _ in range(3):
        shard = await watched.look(after=1000)
        assert (shard.state(30), shard.still, shard.lag) == ("idle", 0, 0)


async def test_a_shard_that_moves_is_behind_and_not_stuck_however_far(watched: Watched):
    watched.server.pending = 1_000_000
    for _ in range(5):
        watched.server.floor += 1
        watched.server.quiet, watched.server.age = -20.0, 3600
        shard = await watched.look(after=20)
        assert (shard.state(30), shard.behind) == ("behind", 1_000_000)
        assert shard.lag == 3620


async def test_a_shard_that_does_not_move_is_stuck_after_a_while_and_well_again_when_it_does(watched: Watched):
    await watched.look(after=100)
    watched.server.pending, watched.server.age = 5, 0.0
    assert (await watched.look()).state(30) == "behind"
    assert (await watched.look(after=29)).state(30) == "behind"
    shard = await watched.look(after=2)
    assert (shard.state(30), shard.still) == ("stuck", 31)
    assert shard.state(0) == "behind"
    watched.server.floor, watched.server.quiet = 12, 0.0
    assert (await watched.look()).state(30) == "behind"


async def test_a_projector_asks_also_while_it_projects_what_it_was_given_a_moment_ago(watched: Watched):
    assert (await watched.look()).asking
    watched.server.asking = 0
    assert not (await watched.look()).asking
    watched.server.given = 1.0
    assert (await watched.look()).asking


async def test_one_look_is_enough_to_find_a_shard_stuck_that_nobody_looked_at(watched: Watched):
    watched.server.pending, watched.server.age = 5, 0.0
    assert (await watched.look(after=60)).state(30) == "stuck"


async def test_what_stood_still_before_this_process_began_is_not_held_against_it_yet(watched: Watched):
    watched.server.pending, watched.server.age, watched.server.quiet = 5, 3600, 3600
    assert (await watched.look()).state(30) == "behind"
    assert (await watched.look(after=31)).state(30) == "stuck"


async def test_a_floor_that_stays_is_found_though_others_are_acknowledged(watched: Watched):
    watched.server.pending = 5
    for _ in range(4):
        watched.server.quiet = -10.0
        shard = await watched.look(after=10)
    assert shard.state(30) == "stuck"


async def test_where_no_metrics_are_shown_there_is_nothing_at_their_path():
    assert (await call(Parts(), "GET", "/metrics", headers={})).status == 404
