"""``clew up`` as its users meet it: started, used through the openai SDK, hurt, stopped, started again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import openai
import pytest

from clew_events.subjects import event_stream, shard_of
from clew_services import compose
from support.cli import Cli
from support.deployments import write_data
from support.ports import free_port
from support.up import CLEW, Up, await_end, clew, environment, processes_of, running_up
from support.waiting import PATIENCE, eventually, wait_until

SERVED = ("serve api", "serve commands query", "serve projector erasure retention", "serve index")
PARTS = ("nats-server", *SERVED)


def sdk(up: Up) -> openai.OpenAI:
    return openai.OpenAI(base_url=up.base_url, api_key=up.api_key, max_retries=10)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that is neither hurt nor stopped; its first word is left for the test of it."""
    with running_up(tmp_path_factory.mktemp("up") / "data") as running:
        yield running


@pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning")
def test_the_openai_sdk_creates_retrieves_updates_and_deletes_threads(up: Up) -> None:
    with sdk(up) as client:
        thread = client.beta.threads.create(
            messages=[{"role": "user", "content": "Hello"}], metadata={"customer": "42"}
        )
        found = client.beta.threads.retrieve(thread.id)
        assert (found.id, found.created_at, found.metadata) == (thread.id, thread.created_at, {"customer": "42"})
        assert client.beta.threads.update(thread.id, metadata={"customer": "43"}).metadata == {"customer": "43"}
        assert client.beta.threads.delete(thread.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.beta.threads.retrieve(thread.id)


def test_the_key_is_made_once_told_and_readable_by_its_owner_alone(up: Up) -> None:
    assert up.api_key in up.told()
    assert up.api_key.startswith("clew_")
    assert len(up.api_key) >= 37
    assert stat.S_IMODE((up.data / "api-key").stat().st_mode) == 0o600


def test_the_file_of_the_key_is_the_key_as_a_shell_takes_it(up: Up) -> None:
    as_it_is = f'printf %s "$(cat "{up.data / "api-key"}")"'
    key = subprocess.run(["sh", "-c", as_it_is], capture_output=True, text=True, check=True).stdout
    with openai.OpenAI(base_url=up.base_url, api_key=key) as client:
        assert client.post("/threads", cast_to=object, body={}, options={"headers": ASSISTANTS})["id"]


def test_a_file_of_before_that_says_whose_its_key_is_is_still_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    (data / "api-key").write_text("a-key-of-before-that:acme\n")
    with running_up(data) as up:
        # It was shown when it was made, and only this user may look into the folder from now on.
        assert up.told() == f"api key     kept in {data}/api-key\n"
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        thread = created(up)
        Cli(up).done("thread", "get", thread, "--tenant", "acme")


def test_a_configured_key_is_used_and_none_is_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "api-key").write_text("another-key-of-before:default\n")
    with running_up(data, env={"CLEW_API_KEYS": "a-secret-key-of-ours:acme"}) as up:
        with openai.OpenAI(base_url=up.base_url, api_key="a-secret-key-of-ours") as client:
            created = client.post("/threads", cast_to=object, body={}, options={"headers": ASSISTANTS})
        Cli(up).done("thread", "get", created["id"], "--tenant", "acme")
        with sdk(up) as stranger, pytest.raises(openai.AuthenticationError):
            stranger.get("/threads/thread_x", cast_to=object, options={"headers": ASSISTANTS})


def test_however_it_is_stopped_nothing_is_left_running_and_a_restart_has_it_all(tmp_path: Path) -> None:
    threads: list[str] = []
    keys: set[str] = set()
    left: list[int] = []
    # Whoever takes over from a killed one does so at once, while its parts may still be ending.
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGHUP):  # and SIGTERM wherever else one is stopped
        with running_up(tmp_path / "data") as up:
            await_end(*left)
            keys.add(up.api_key)
            assert [metadata(up, thread) for thread in threads] == [{"kept": "yes"} for _ in threads]
            threads.append(created(up))
            parts = up.children()
            assert set(parts) == {*PARTS, "fork-server"}
            left = [*parts.values()]
            killed = number is signal.SIGKILL
            assert up.stop(number) == (-number if killed else 0), up.errors
            if not killed:
                await_end(*left)
    assert len(keys) == 1


def test_a_killed_part_comes_back_where_it_was_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    with running_up(tmp_path / "data") as up:
        cli = Cli(up)
        for part in PARTS:
            thread, pid = created(up), up.children()[part]
            os.kill(pid, signal.SIGKILL)
            await_end(pid)
            assert metadata(up, thread) == {"kept": "yes"}
            assert metadata(up, created(up)) == {"kept": "yes"}
            wait_until(lambda thread=thread: cli("thread", "get", thread).exit_code == 0)
            up.await_again(part, pid)
            assert f"{part} ended unexpectedly" in up.errors
        assert up.stop() == 0
        assert up.errors.count("ended unexpectedly") == len(PARTS)


def test_parts_come_back_where_the_fork_server_is_gone_too(tmp_path: Path) -> None:
    with running_up(tmp_path / "data") as up:
        parts = up.children()
        os.kill(parts.pop("fork-server"), signal.SIGKILL)
        os.kill(parts["serve index"], signal.SIGKILL)
        up.await_again("serve index", parts.pop("serve index"))
        wait_until(lambda: "serve index runs again" in up.errors, why=lambda: up.errors)
        assert "there is no fork server any more" in up.errors
        assert parts.items() <= up.children().items()
        assert metadata(up, created(up)) == {"kept": "yes"}
        assert up.stop() == 0


def test_the_fork_server_has_one_thread_and_nothing_open_but_its_socket(up: Up) -> None:
    process = Path(f"/proc/{up.children()['fork-server']}")
    assert len(list((process / "task").iterdir())) == 1
    opened = [str(each.readlink()) for each in (process / "fd").iterdir() if int(each.name) > 2]
    assert [each.partition(":")[0] for each in opened] == ["socket"]
    parts = [up.children()[part] for part in SERVED]
    assert {Path(f"/proc/{pid}/fd/0").readlink() for pid in parts} == {Path(os.devnull)}
    assert [os.getsid(pid) for pid in parts] == parts


def test_a_folder_in_use_is_refused_and_its_user_named(up: Up) -> None:
    second = clew("up", "--data", str(up.data), "--http", "127.0.0.1:0", "--nats", "embedded:0")
    assert second.returncode == 1
    assert f"in use by pid {up.process.pid}" in second.stderr
    assert second.stderr.count("\n") == 1
    assert metadata(up, created(up)) == {"kept": "yes"}


def test_a_taken_port_is_named_with_its_remedy_and_nothing_is_left_running(tmp_path: Path) -> None:
    for option, value in (("--http", "127.0.0.1:{}"), ("--nats", "embedded:{}")):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            free = {"CLEW_HTTP": "127.0.0.1:0", "CLEW_NATS": "embedded:0", "CLEW_DATA": str(tmp_path / "data")}
            refused = clew("up", option, value.format(port), env=free)
        assert refused.returncode == 1
        assert f"127.0.0.1:{port}" in refused.stderr
        assert option in refused.stderr
        assert refused.stdout == ""
    wait_until(lambda: not processes_of(tmp_path))


def test_a_nats_server_elsewhere_is_used_if_there_is_one(up: Up, tmp_path: Path) -> None:
    with running_up(tmp_path / "other", env={"CLEW_NATS": up.nats_url}) as second:
        assert set(second.children()) == {*SERVED, "fork-server"}
        assert metadata(up, created(second)) == {"kept": "yes"}


ASSISTANTS = {"OpenAI-Beta": "assistants=v2"}


def created(up: Up) -> str:
    with sdk(up) as client:
        body = {"metadata": {"kept": "yes"}}
        return client.post("/threads", cast_to=object, body=body, options={"headers": ASSISTANTS})["id"]


def metadata(up: Up, thread: str) -> dict[str, str]:
    with sdk(up) as client:
        return client.get(f"/threads/{thread}", cast_to=object, options={"headers": ASSISTANTS})["metadata"]


def test_a_signal_while_it_starts_leaves_nothing_running(tmp_path: Path) -> None:
    anywhere = {"CLEW_DATA": str(tmp_path / "data"), "CLEW_HTTP": "127.0.0.1:0", "CLEW_NATS": "embedded:0"}
    with subprocess.Popen([*CLEW, "up"], env=environment(**anywhere), stdout=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "data" / "nats-server.err").exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.terminate()
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert said == ""
    wait_until(lambda: not processes_of(tmp_path))


def test_a_shard_that_was_lost_is_named_and_not_made_anew(tmp_path: Path) -> None:
    data = tmp_path / "data"
    asyncio.run(write_data(data, "thread_kept"))
    (shard,) = data.rglob("CLEW_EVT_01")
    shutil.rmtree(shard)
    options = ("--data", str(data), "--http", "127.0.0.1:0", "--nats", f"embedded:{free_port()}", "--shards", "2")
    refused = clew("up", *options)
    assert refused.returncode == 5
    assert "lost: CLEW_EVT_01. " in refused.stderr
    assert "clew restore" in refused.stderr
    assert not list(data.rglob("CLEW_EVT_01"))
    with running_up(data, "--accept-loss", "CLEW_EVT_01") as up:
        assert "was missing, and was created again: CLEW_EVT_01" in up.errors


@pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning")
async def test_a_loss_is_said_in_the_log_the_status_and_by_readyz_while_serving_goes_on(tmp_path: Path) -> None:
    with running_up(tmp_path / "data") as up, sdk(up) as client:
        thread = client.beta.threads.create()
        shard = event_stream(shard_of(thread.id, 2))
        async with compose.connection(up.nats_url, name="somebody") as made:
            await made.js.api(f"STREAM.MSG.DELETE.{shard}", {"seq": 1})

        async def noted() -> str:
            with urlopen(up.base_url.removesuffix("/v1") + "/readyz") as answer:
                return "".join(json.load(answer)["notes"])

        note = await eventually(noted)
        assert "has lost 1 messages" in note
        status = clew("status", "--nats", up.nats_url, "--json")
        found = json.loads(status.stdout)["derived"]["integrity"]
        assert note.startswith(found["verdict"])
        assert found["verdict"].partition(": ")[0] in clew("status", "--nats", up.nats_url).stdout
        assert up.errors.count("'clew verify --all' names what was changed") == 1
        assert client.beta.threads.create().id


def test_threads_are_listed_from_the_index_of_the_machine(up: Up) -> None:
    cli = Cli(up)
    cli.indexed(cli.json("thread", "create", "--id", "thread_listed"))
    assert "thread_listed" in cli.done("thread", "list")
    (generation,) = cli.json("rebuild", "index", "--list", "--data", str(up.data))["generations"]
    assert (generation["generation"], generation["asked"]) == (1, True)
    assert generation["commits"] == cli.json("status")["commits"]
    rebuilt = clew("rebuild", "index", "--data", str(up.data), env=cli.env)
    assert "generation 2 of the index is in use" in rebuilt.stdout, rebuilt.stderr
    assert "thread_listed" in cli.done("thread", "list")
