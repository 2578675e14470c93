"""A server that keeps tenants and users apart, as ``infra/nats/accounts.conf`` has it: every door is tried."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import msgspec
import nats.errors
import pytest
import pytest_asyncio
from nats.aio.client import Client
from openai import AsyncOpenAI, AuthenticationError

from clew_events import client
from clew_events.codec import decode
from clew_events.commands import CreateThread, UpdateThread
from clew_events.errors import Forbidden, NotFound, Unauthorized
from clew_events.subjects import event_stream, shard_of
from clew_projections.kv.key_names import THREADS
from clew_projections.nats.jetstream import stream_state
from clew_projections.nats.request_mux import NotPermitted
from clew_services import compose
from clew_services.api_keys.key_bucket import KEYS
from clew_services.embedded import binary, server
from clew_services.eventstore import provision
from support.accounts import ROLES, SHARDS, Accounts, Claimant, User, asking, connected_as, everything, settled
from support.auditing import audit
from support.doors import ASKING, CHANGING, HEARS, LISTENING, SERVING, SPEAKS
from support.nats_services import all_of_clew
from support.up import CLEW, ROOT, clew, environment

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def accounts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Accounts]:
    made = Accounts(tmp_path_factory.mktemp("accounts"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "configuration", made.configuration)
        patch.setattr(server, "accounts", lambda _password, *, limit: "")
        for name, value in made.environment.items():
            patch.setenv(name, value)
        async with made.server:
            async with compose.connection(made.url("operator"), name="init") as operator:
                await provision.init(operator.js, shards=SHARDS, max_msg_size=operator.nc.max_payload)
            yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(accounts: Accounts) -> AsyncIterator[compose.Clew]:
    """All of Clew over NATS, as the user that it has on that server."""
    async with all_of_clew(accounts.url("clew")) as composed:
        yield composed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(accounts: Accounts, service: compose.Clew) -> AsyncIterator[compose.Connection]:
    async with compose.connection(accounts.url("operator"), name="operator") as connection:
        yield connection


async def tries(user: User, speaking: Iterable[str], listening: Iterable[str]) -> None:
    """Every door, one after the other, each of which must be shut."""
    body = json.dumps({"thread_id": "thread_door"}).encode()
    for subject in speaking:
        for reply in ("", user.nc.new_inbox()):
            await user.nc.publish(subject, body, reply=reply)
            await user.refused("publish", subject)
    for subject in listening:
        await user.nc.subscribe(subject)
        await user.refused("subscription", subject)
        await user.nc.subscribe(subject, queue="clew-commands")
        await user.refused("subscription", subject, ' using queue "clew-commands"')


@pytest.mark.parametrize("role", ROLES)
async def test_a_tenants_user_does_what_is_its_own_and_every_other_door_is_shut(
    accounts: Accounts, operator: compose.Connection, role: str
) -> None:
    before = await everything(operator)
    inboxes = (f"_INBOX_{other}.abcdef" for other in ROLES)
    async with connected_as(accounts, f"acme-{role}") as user:
        speaking = {*CHANGING, *SERVING, *ASKING, *inboxes} - SPEAKS[role]
        await tries(user, sorted(speaking), sorted({*LISTENING} - HEARS[role]))
        for subject in HEARS[role]:
            await user.nc.subscribe(subject)
        await user.seen()
        assert user.denied == []
    assert await everything(operator) == before


async def test_the_service_can_add_to_the_record_and_has_no_way_to_take_from_it(
    accounts: Accounts, operator: compose.Connection
) -> None:
    before = await everything(operator)
    asking = set(ASKING)
    async with connected_as(accounts, "clew") as user:
        await tries(user, sorted({*CHANGING, *asking}), ["clew.>", ">", "clew.evt.>", "clew.inbox.>", "$KV.>", "$JS.>"])
    assert await everything(operator) == before


async def test_who_erases_is_told_how_far_it_is_and_an_auditor_is_too(
    accounts: Accounts, service: compose.Clew
) -> None:
    async with (
        asking(accounts, "publisher", "globex") as publisher,
        asking(accounts, "eraser", "globex") as eraser,
        asking(accounts, "auditor", "globex") as auditor,
    ):
        made = await publisher.create_thread(messages=["a text to be erased"])
        erasure = (await eraser.erase_thread(made.thread.id, reason="asked")).erasure
        assert (await eraser.get_erasure(erasure.id)).n == 2
        assert (await auditor.list_erasures(thread_id=made.thread.id)).data == (erasure,)
    async with asking(accounts, "auditor", "acme") as stranger:
        assert (await stranger.list_erasures()).data == ()
        with pytest.raises(NotFound):
            await stranger.get_erasure(erasure.id)
    found = await service.erasure_records.find("globex", erasure.id)
    assert found is not None
    assert found.erasure == erasure


ERASING = (
    *(
        "$JS.API.STREAM.MSG.DELETE.",
        "$JS.API.STREAM.PURGE.",
        "$JS.API.STREAM.CREATE.",
        "$JS.API.STREAM.DELETE.",
        "clew.erased.",
    ),
    *(f"$JS.API.CONSUMER.{call}." for call in ("CREATE", "DELETE", "RESET", "MSG.NEXT")),
    *("$KV.clew_generations.", "$JS.ACK."),
)
"""What the user ``erasure`` may do: delete messages, sweep, make buckets anew, and keep what is left of commits."""


async def test_what_erases_deletes_from_the_log_and_has_no_way_to_touch_checkpoints_keys_or_settings(
    accounts: Accounts, operator: compose.Connection, service: compose.Clew
) -> None:
    await service.handler.handle("globex", CreateThread(thread_id="thread_to_erase"), actor="globex")
    shard = shard_of("thread_to_erase", SHARDS)
    async with connected_as(accounts, "erasure") as user:
        async with service.tenants.follow(user.nc, []):
            await user.nc.flush()
        assert user.denied == []
        deleting = f"$JS.API.STREAM.MSG.DELETE.{event_stream(shard)}"
        last = (await stream_state(operator.js, event_stream(shard))).last_seq
        reply = await user.nc.request(deleting, msgspec.json.encode({"seq": last + 1}), timeout=60)
        assert json.loads(reply.data)["error"]["err_code"] == 10057  # it may, and there is no such message
        sweeping = f"$JS.API.STREAM.PURGE.{event_stream(shard)}"
        reply = await user.nc.request(sweeping, msgspec.json.encode({"seq": 1}), timeout=60)
        assert json.loads(reply.data)["purged"] == 0
        before = await everything(operator)
        allowed = {each for each in {*CHANGING, *ASKING} if each.startswith(ERASING)}
        shut = {*CHANGING, *ASKING} - allowed
        kept = ("CLEW_CHECKPOINTS", f"KV_{KEYS}", "KV_clew_generations")
        shut |= {f"$JS.API.STREAM.{call}.{name}" for call in ("MSG.DELETE", "DELETE", "PURGE") for name in kept}
        shut |= {f"$JS.API.STREAM.PURGE.{name}" for name in ("CLEW_ERASED", "CLEW_INBOX", "CLEW_REJECTED")}
        await tries(user, sorted(shut), ["clew.>", ">", "clew.evt.>", "clew.inbox.>", "$KV.>", "$JS.>"])
    assert await everything(operator) == before


async def test_the_service_makes_no_consumer_of_anything_but_the_inbox_by_the_right_to_make_one_there(
    accounts: Accounts, operator: compose.Connection
) -> None:
    before = await everything(operator)
    config = {"name": "mine", "durable_name": "mine", "ack_policy": "explicit"}
    async with connected_as(accounts, "clew") as user:
        for stream in before.keys() - {"CLEW_INBOX"}:
            request = msgspec.json.encode({"stream_name": stream, "config": config})
            reply = await user.nc.request("$JS.API.CONSUMER.CREATE.CLEW_INBOX.mine", request, timeout=60)
            assert json.loads(reply.data)["error"]["err_code"] == 10056  # stream name in subject does not match request
        assert user.denied == []
    assert await everything(operator) == before


async def test_nobody_is_let_in_without_the_right_password(accounts: Accounts) -> None:
    plain = accounts.server.url
    wrong = accounts.url("acme-reader").replace("@", "x@")
    for url in (plain, wrong, plain.replace("//", "//token@"), accounts.url("operator").replace("operator", "root")):
        nobody = Client()
        with pytest.raises(nats.errors.Error, match="Authorization"):
            await nobody.connect(url, allow_reconnect=False, error_cb=ignore)
        await nobody.close()
    for connecting in (compose.connect(wrong, name="wrong", patience=600), client.connect(wrong, timeout=600)):
        with pytest.raises(Unauthorized, match=r"127\.0\.0\.1:\d+ refuses these credentials: .*Violation") as refusal:
            async with connecting:
                pass
        assert refusal.value.code == "nats_unauthorized"
        assert accounts.passwords["ACME_READER_PASSWORD"] not in str(refusal.value)
    with pytest.raises(Unauthorized, match="refuses a client without credentials"):
        async with client.connect(f"{plain},{plain}", timeout=600):
            pass


async def test_what_is_not_permitted_is_said_at_once(accounts: Accounts, service: compose.Clew) -> None:
    async with asking(accounts, "reader", timeout=600) as reader:
        with pytest.raises(Forbidden, match=r"may not publish to clew\.cmd\.acme\.create_thread$") as refusal:
            await reader.create_thread()
        assert refusal.value.code == "not_permitted"
        with pytest.raises(NotFound):
            await reader.get_thread("thread_none")
    url = accounts.url("acme-reader")
    async with client.connect(url, tenant="acme", timeout=600) as elsewhere:
        for _ in range(2):
            with pytest.raises(Forbidden, match=r"may not listen at _INBOX\.\S+\*, .* connect with the inbox prefix"):
                await elsewhere.get_thread("thread_none")
    async with compose.connection(url, name="elsewhere") as connection:
        for _ in range(2):
            with pytest.raises(NotPermitted, match=r"may not listen at _INBOX\."):
                await connection.js.api("INFO")


async def ignore(_: Exception) -> None:
    pass


async def test_a_publisher_commands_a_reader_reads_and_an_auditor_audits_what_is_their_tenants(
    accounts: Accounts, service: compose.Clew
) -> None:
    async with (
        asking(accounts, "publisher") as publisher,
        asking(accounts, "reader") as reader,
        asking(accounts, "auditor") as auditor,
        asking(accounts, "reader", "globex") as stranger,
        connected_as(accounts, "acme-auditor") as listener,
        connected_as(accounts, "globex-auditor") as bystander,
    ):
        commits = await listener.nc.subscribe("clew.live.evt.*.acme.*")
        others = await bystander.nc.subscribe("clew.live.evt.*.globex.*")
        await listener.seen()
        await bystander.seen()
        done = await publisher.create_thread(messages=["hello"], metadata={"a": "1"})
        thread = done.thread.id
        await publisher.patch_metadata(thread, set={"b": "2"})
        assert (await reader.get_thread(thread)).thread.metadata == {"a": "1", "b": "2"}
        (message,) = (await reader.list_messages(thread)).messages.data
        assert (await reader.get_message(thread, message.id)).message == message
        history = await auditor.history(thread)
        assert [(entry.commit.n, entry.commit.actor) for entry in history.commits] == [
            (1, "publisher"),
            (2, "publisher"),
        ]
        assert (await auditor.state_at(thread, n=1)).thread.metadata == {"a": "1"}
        async with contextlib.aclosing(auditor.feed(follow=True)) as feed:
            seen = [await anext(feed) for _ in range(2)]
            await publisher.patch_metadata(thread, set={"c": "3"})
            seen.append(await anext(feed))
            await publisher.patch_metadata(thread, unset=["c"])
            seen.append(await anext(feed))
        assert [entry.commit.n for entry in seen if entry.commit is not None] == [1, 2, 3, 4]
        live = [decode((await commits.next_msg(timeout=60)).data) for _ in range(4)]
        assert [(commit.tenant, commit.thread, commit.n) for commit in live[:2]] == [
            ("acme", thread, 1),
            ("acme", thread, 2),
        ]
        with pytest.raises(NotFound):
            await stranger.get_thread(thread)
        async with asking(accounts, "publisher", "globex") as theirs:
            await theirs.create_thread(thread_id=thread, metadata={"whose": "globex"})
        assert decode((await others.next_msg(timeout=60)).data).tenant == "globex"
        assert (await reader.get_thread(thread)).thread.metadata == {"a": "1", "b": "2"}
        assert (others.pending_msgs, commits.pending_msgs) == (0, 0)


async def test_a_publisher_leaves_commands_in_the_inbox_and_hears_that_they_are_stored_and_what_became_of_them(
    accounts: Accounts, service: compose.Clew
) -> None:
    async with connected_as(accounts, "acme-publisher") as user, asking(accounts, "publisher") as publisher:
        outcomes = await user.nc.subscribe("clew.outcome.acme.publisher.>")
        await user.seen()
        command = CreateThread(id="cmd_once", metadata={"a": "1"}, reply_to="clew.outcome.acme.publisher.1")
        stored = await publisher.enqueue(command)
        assert await publisher.enqueue(command) > stored
        outcome, again = [json.loads((await outcomes.next_msg(timeout=60)).data) for _ in range(2)]
        assert outcome["ok"]["thread"]["metadata"] == {"a": "1"}
        assert again == outcome
        wrong = msgspec.structs.replace(command, id="cmd_wrong", expected_version=7)
        await publisher.enqueue(wrong)
        outcome = json.loads((await outcomes.next_msg(timeout=60)).data)
        assert outcome["error"]["type"] == "conflict"
        assert outcomes.pending_msgs == 0
        assert user.denied == []


async def test_a_commit_says_which_user_of_which_account_sent_its_command_and_nobody_claims_to_be_another(
    accounts: Accounts, service: compose.Clew
) -> None:
    forged = {"Nats-Request-Info": '{"acc":"globex","user":"globex-publisher","kind":"Client"}'}
    async with (
        connected_as(accounts, "acme-publisher") as user,
        asking(accounts, "publisher") as publisher,
        asking(accounts, "auditor") as auditor,
    ):
        thread = (await publisher.create_thread(thread_id="thread_sent")).thread.id
        body = msgspec.json.encode(UpdateThread(thread_id=thread, metadata={"a": "1"}))
        await user.nc.request("clew.cmd.acme.update_thread", body, headers=forged, timeout=60)
        await publisher.enqueue(UpdateThread(thread_id=thread, metadata={"a": "2"}))
        async with contextlib.aclosing(auditor.feed(follow=True, thread_id=thread)) as feed:
            commits = [(await anext(feed)).commit for _ in range(3)]
        assert [commit and commit.by for commit in commits] == ["nats:acme/acme-publisher"] * 2 + ["inbox"]
        assert len((await auditor.history(thread, by="nats:acme/*")).commits) == 2
    async with connected_as(accounts, "operator") as inside:
        await inside.nc.publish("clew.imported.acme.update_thread", body, headers=forged)
        await inside.refused("publish", "clew.imported.acme.update_thread")


async def test_nobody_is_let_in_who_only_names_an_nkey(accounts: Accounts) -> None:
    for named in ("acme-auditor", "UBRYFM6MRAKBFN337SXO2ATAAHAA3HRQEXTGYIHW47US6B4YKFDCURCQ"):
        claimant = Claimant(named)
        with pytest.raises(nats.errors.Error, match="Authorization"):
            await claimant.connect(accounts.url("acme-publisher"), allow_reconnect=False, error_cb=ignore)
        await claimant.close()


@pytest.mark.parametrize("door", ["clew.inbox.acme.create_thread", "clew.cmd.acme.create_thread"])
async def test_no_reply_goes_where_its_receiver_may_not_write(
    accounts: Accounts, service: compose.Clew, operator: compose.Connection, door: str
) -> None:
    """NATS asks for no permission on the subject of a reply, and JetStream's acknowledgement is one."""
    reserved = ("_R_", "$JS.ACK")  # of which the server refuses replies by itself
    aims = [subject for subject in (*SERVING, *CHANGING, *ASKING) if not subject.startswith(reserved)]
    async with connected_as(accounts, "acme-publisher") as user, asking(accounts, "publisher") as publisher:
        again = CreateThread(id=f"cmd_again_{door}", thread_id=f"thread_of_{door.split('.')[1]}")
        await publisher.send(again)
        repeated = msgspec.json.encode(again)
        before = await everything(operator)
        for aim in aims:
            await user.nc.publish(door, repeated, reply=aim)
        await user.seen()
        assert user.denied == []
        # What comes after on the same way is answered, so what came before has been seen to.
        await publisher.enqueue(again)
        await user.nc.request(door, repeated, timeout=60)
        after = await everything(operator)
    came = int(str(after["CLEW_INBOX"]["last_seq"])) - int(str(before["CLEW_INBOX"]["last_seq"]))
    assert came == (len(aims) + 2 if "inbox" in door else 1)
    assert after["CLEW_INBOX"]["messages"] == 0
    del before["CLEW_INBOX"], after["CLEW_INBOX"]
    assert after == before


async def test_a_reader_has_nothing_done_by_naming_a_command_as_where_the_answer_goes(
    accounts: Accounts, service: compose.Clew, operator: compose.Connection
) -> None:
    before = await everything(operator)
    async with connected_as(accounts, "acme-reader") as user:
        for aim in (subject for subject in ASKING if ".acme." in subject):
            await user.nc.publish("clew.query.acme.get_thread", b'{"thread_id":"thread_door"}', reply=aim)
        await user.nc.request("clew.query.acme.get_thread", b'{"thread_id":"thread_door"}', timeout=60)
        assert user.denied == []
    assert await everything(operator) == before


async def test_a_reply_subject_with_wildcards_loses_no_reply_of_another_tenant(
    accounts: Accounts, service: compose.Clew
) -> None:
    async with connected_as(accounts, "globex-reader") as careless, connected_as(accounts, "acme-reader") as user:
        for _ in range(20):
            for reply in (">", "_INBOX_reader.>"):
                await careless.nc.publish("clew.query.globex.get_thread", b'{"thread_id":"thread_door"}', reply=reply)
            await careless.seen()
            await user.nc.request("clew.query.acme.get_thread", b'{"thread_id":"thread_door"}', timeout=10)
        assert (careless.denied, user.denied) == ([], [])


async def test_an_outcome_goes_to_no_other_tenant_and_to_nobody_who_is_none(
    accounts: Accounts, service: compose.Clew, operator: compose.Connection
) -> None:
    async with (
        connected_as(accounts, "globex-publisher") as stranger,
        connected_as(accounts, "acme-publisher") as user,
        asking(accounts, "publisher") as publisher,
    ):
        theirs = await stranger.nc.subscribe("clew.outcome.globex.publisher.>")
        ours = await user.nc.subscribe("clew.outcome.acme.publisher.>")
        await stranger.seen()
        await user.seen()
        for number, aim in enumerate((
            "clew.outcome.globex.publisher.1", "clew.outcome.acme", "clew.outcome", "clew.evt.00.globex.thread_door",
            "$JS.API.STREAM.PURGE.CLEW_EVT_00", f"$KV.{THREADS}.globex.thread_door", "other",
        )):  # fmt: skip
            await publisher.enqueue(CreateThread(id=f"cmd_aimed_{number}", thread_id="thread_outcomes", reply_to=aim))
        await publisher.enqueue(
            CreateThread(id="cmd_last", thread_id="thread_outcomes", reply_to="clew.outcome.acme.publisher.2")
        )
        assert b'"already_exists"' in (await ours.next_msg(timeout=60)).data
        await settled(operator)
        await stranger.seen()
        assert theirs.pending_msgs == 0
    view = await service.live.current.threads.get("globex.thread_door")
    assert view is None


@pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning")
async def test_all_of_clew_runs_as_the_user_that_it_has_and_is_denied_nothing(accounts: Accounts) -> None:
    env = {"CLEW_NATS": accounts.url("clew"), "CLEW_HTTP": "127.0.0.1:0"}
    as_operator = {"CLEW_NATS": accounts.url("operator"), "CLEW_TENANT": "acme"}

    async def cli(*words: str) -> str:
        ran = await asyncio.to_thread(clew, *words, env=as_operator)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert "nothing to create" in await cli("init", "--shards", str(SHARDS))
    roles = ("api", "commands", "query", "projector", "retention")
    process = await asyncio.create_subprocess_exec(
        *CLEW, "serve", *roles, env=environment(**env), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        said = [line async for line in _until(process.stderr, b"ready http ")]
        address = said[-1].split()[-1].decode()
        issued = json.loads(await cli("keys", "create", "--name", "tester", "--scope", "admin", "--json"))
        async with AsyncOpenAI(base_url=f"http://{address}/v1", api_key=issued["key"]) as api:
            threads = api.beta.threads
            while True:
                try:
                    thread = await threads.create(messages=[{"role": "user", "content": "hello"}])
                    break
                except AuthenticationError:
                    await asyncio.sleep(0.02)
            await threads.update(thread.id, metadata={"a": "1"})
            message = await threads.messages.create(thread.id, role="user", content="again")
            await threads.messages.update(message.id, thread_id=thread.id, metadata={"b": "2"})
            assert (await threads.retrieve(thread.id)).metadata == {"a": "1"}
            assert len([each async for each in threads.messages.list(thread.id)]) == 2
        assert "hello" in await cli("thread", "messages", thread.id)
        as_reader = {"CLEW_NATS": accounts.url("acme-reader"), "CLEW_TENANT": "acme"}
        shown = await asyncio.to_thread(
            clew, "thread", "get", thread.id, "--inbox-prefix", "_INBOX_reader", env=as_reader
        )
        assert shown.returncode == 0, shown.stderr
        assert f"key:tester/{issued['id']}" in await cli("history", thread.id)
        await cli("thread", "update", thread.id, "--set", "c=3")
        assert "every chain is intact" in await cli("verify", "--all")
        assert "consistent with the log" in await cli("prove", "--all")
        assert "not projected yet" in await cli("status")
        assert (await asyncio.to_thread(fetched, address, "/readyz")) == 200
    finally:
        process.terminate()
        rest = await process.stderr.read()
        await process.wait()
    assert b"ermissions" not in b"".join(said) + rest
    used = json.loads(await cli("keys", "list", "--json"))["keys"][-1]
    assert used["id"] == issued["id"]
    assert used["last_used_at"] is not None


def fetched(address: str, path: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


async def _until(stream: asyncio.StreamReader, words: bytes) -> AsyncIterator[bytes]:
    """Lines up to the one that has these words in it."""
    while line := await stream.readline():
        yield line
        if words in line:
            return
    raise AssertionError(f"{words!r} was not said")


async def test_what_was_done_here_broke_nothing(
    accounts: Accounts, service: compose.Clew, operator: compose.Connection
) -> None:
    await service.handler.handle("acme", CreateThread())
    await settled(operator)
    async with compose.connect(accounts.url("operator"), name="auditor") as composed:
        found = [folded.finding async for _, folded in audit(composed).verify()]
    assert found
    assert not any(found)
    denied = [line for line in accounts.log().splitlines() if "Violation" in line and '"clew/user:clew"' in line]
    tried = [line for line in denied if not any(f'"{subject}"' in line for subject in (*CHANGING, *ASKING, *LISTENING))]
    assert tried == []


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("clew.imported.acme.*", "clew.imported.globex.*", "service import not authorized"),
        ("clew.query.acme.*", "clew.query.*.*", "service import not authorized"),
        ("clew.inbox.acme.*", "clew.inbox.>", "service import not authorized"),
        ("clew.live.evt.*.acme.*", "clew.live.evt.*.globex.*", "stream import not authorized"),
        ("clew.outcome.acme.>", "clew.outcome.>", "stream import not authorized"),
    ],
)
async def test_the_server_itself_refuses_to_give_a_tenant_what_is_anothers(
    accounts: Accounts, tmp_path: Path, was: str, becomes: str, said: str
) -> None:
    shutil.copy(ROOT / "infra/nats/single.conf", tmp_path)
    ours = f'account: clew, subject: "{was}"'
    assert accounts.text.count(ours) == 1
    (tmp_path / "accounts.conf").write_text(accounts.text.replace(ours, f'account: clew, subject: "{becomes}"'))
    checked = subprocess.run(
        [binary.find(), "-t", "-c", tmp_path / "accounts.conf"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 1
    assert said in checked.stderr


async def test_without_a_password_the_server_does_not_start(tmp_path: Path) -> None:
    checked = subprocess.run(
        [binary.find(), "-t", "-c", ROOT / "infra/nats/accounts.conf"],
        capture_output=True, text=True, check=False, env={"CLEW_MAX_FILE_STORE": "1GB"},
    )  # fmt: skip
    assert checked.returncode == 1
    assert "variable reference for 'CLEW_PASSWORD'" in checked.stderr


async def test_without_a_word_on_how_much_it_may_keep_the_server_does_not_start(tmp_path: Path) -> None:
    command = [binary.find(), "-t", "-c", ROOT / "infra/nats/single.conf"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, env={})
    assert checked.returncode == 1
    assert "variable reference for 'CLEW_MAX_FILE_STORE'" in checked.stderr
