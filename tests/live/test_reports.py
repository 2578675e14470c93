"""Reports of a running deployment: the guide to them, the same from a pack, over HTTP, of what is erased or damaged."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator

import pytest

from clew_events.operations import REPORT
from clew_events.subjects import Address
from clew_services.compose import connect
from support.cli import Shell, commands_in
from support.forging import bodies, rechained, rewrite
from support.up import Up, running_up

LINES = commands_in("docs/reports.md")
THREAD = "thread_docs"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("reports") / "data", "--checkpoints", "0") as running:
        yield running


@pytest.fixture(scope="module")
def shell(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(up, tmp_path_factory.mktemp("shell"), **{"thread_…": THREAD})
    shell.done(f"clew thread create --id {THREAD} -m plan=free --message 'a **bold** word' --actor shop")
    shell.done(f"clew thread update {THREAD} --set plan=gold --actor sales")
    shell.done("clew checkpoint make")
    shell.done("clew checkpoint key > clew.pub")
    return shell


def body(page: str) -> list[str]:
    """A report without the line that says when it was made."""
    return [line for line in page.splitlines() if "Made 20" not in line and "made_at" not in line]


def test_the_guide_runs_from_top_to_bottom(shell: Shell) -> None:
    for line in LINES:
        offline = "--pack" in line
        env = {"CLEW_NATS": "nats://127.0.0.1:1", "CLEW_DATA": "./nothing"} if offline else {}
        assert "wrote" in shell.done(line, **env)
    page = (shell.folder / "report.html").read_text()
    assert "a <strong>bold</strong> word" in page
    assert "no public key was given" in page
    keyed = (shell.folder / "moments.html").read_text()
    assert "which was given to check it with" in keyed
    assert "The first 2 of the 2 commits are what checkpoint 1 of" in keyed
    assert "no public key was given" not in keyed
    again = shell(LINES[0])
    assert (again.returncode, "exists already" in again.stderr) == (1, True)


def test_from_a_pack_it_is_what_it_is_from_the_server(shell: Shell) -> None:
    shell.done(f"clew export --thread {THREAD} --out {THREAD}.pack")
    for form in ("--html", "--csv", "--json"):
        online, offline = (
            shell.done(f"clew report {THREAD} --as-of 1 --key clew.pub {form} {more}")
            for more in ("", f"--pack {THREAD}.pack")
        )
        assert body(online) == body(offline), form
    assert "not there yet" in shell(f"clew report {THREAD} --as-of 2000-01-01 --pack {THREAD}.pack").stderr
    assert shell("clew report thread_none").returncode == 6
    assert shell("clew report").returncode == 2


def test_over_http_it_is_a_file_that_is_saved_and_runs_nothing(up: Up, shell: Shell) -> None:
    for form, kind in REPORT.items():
        path = f"{up.base_url}/threads/{THREAD}/report?as_of=1&as_of=2&format={form}"
        asked = urllib.request.Request(path, headers={"Authorization": f"Bearer {up.api_key}"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            headers, file = answer.headers, answer.read().decode()
        assert headers["content-type"] == f"{kind}; charset=utf-8"
        assert headers["content-disposition"] == f'attachment; filename="{THREAD}.{form}"'
        assert headers["content-security-policy"].endswith("; sandbox")
        assert body(file) == body(shell.done(f"clew report {THREAD} --as-of 1 --as-of 2 --{form}"))


def test_what_was_erased_is_told_with_its_certificate_which_names_the_report(shell: Shell) -> None:
    shell.done("clew thread create --id thread_gone --message 'something private' --actor shop")
    shell.done("clew report thread_gone --out gone.html")
    shell.done("clew erase thread_gone --yes --reason asked_by_customer")
    said = json.loads(shell.done("clew report thread_gone --json"))["threads"][0]
    (erasure,) = said["erasures"]
    assert (erasure["code"], erasure["items"], said["verdict"]["findings"]) == ("asked_by_customer", None, [])
    assert "the report of" in erasure["certificate"]
    assert "gone.html" in erasure["certificate"]
    page = shell.done("clew report thread_gone")
    assert "something private" not in page
    assert "because of asked_by_customer" in page
    assert "contents overwritten, or removed with their blocks" in page


def test_a_log_that_is_not_what_was_signed_is_reported_as_that(up: Up, shell: Shell) -> None:
    async def forged() -> None:
        async with connect(up.nats_url, name="forger") as forger:
            address = Address("default", THREAD)
            await rewrite(forger, address, rechained(await bodies(forger, address), b"sales", b"shops"))

    asyncio.run(forged())
    ran = shell(f"clew report {THREAD} --json")
    assert (ran.returncode, "see the verdict" in ran.stderr) == (5, True)
    verdict = json.loads(ran.stdout)["threads"][0]["verdict"]
    assert verdict["outcome"] == "findings"
