"""Forks: threads that begin as the past of another, which they refer to and do not copy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from msgspec import UNSET

from clew_events.client import Clew as Client
from clew_events.client import connect
from clew_events.commands import EraseItem
from clew_events.errors import AlreadyErased, AlreadyExists, Forked, Held, Invalid, NotFound
from clew_events.queries import ListItems, ListItemsAt
from clew_events.subjects import Address
from clew_projections import places
from clew_projections.consistency.view_check import ViewCheck
from clew_projections.history.erased_commits import ErasedCommits
from clew_projections.packs.layout import Scope
from clew_projections.packs.pack import Pack
from clew_services import compose
from clew_services.backup.backup_folder import Folder
from clew_services.backup.restore_backup import restore
from clew_services.backup.take_backup import take
from clew_services.checkpoints.note import SigningKey
from clew_services.compose import Clew
from clew_services.erasure import worker
from clew_services.nats_connection import connection
from clew_services.packs.check_pack import check_pack
from clew_services.packs.exporter import Exporter
from clew_services.packs.importer import Importer
from clew_services.packs.offline import Offline
from clew_services.packs.pack_files import export
from support.asgi import IN, call
from support.erasing import EVERY
from support.erasure_worker import KEY, complete_all
from support.forging import bodies, rechained, rewrite
from support.indexes import caught_up, drift, fed
from support.nats_services import served
from support.parts import sign, verifier_of
from support.truth import buckets_equal_the_log, projecting


@pytest.fixture(params=["views", "log"])
async def client(clew: Clew, deployment, request, monkeypatch) -> AsyncIterator[Client]:
    """A client of a deployment that answers from views and the log's tail, or from the log alone."""
    monkeypatch.setattr(places, "PAGE", 4)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(clew))
        if request.param == "views":
            await stack.enter_async_context(projecting(clew))
        yield await stack.enter_async_context(connect(deployment.url, actor="agent"))


def note(number: int, **more: object) -> dict[str, object]:
    return {"type": "note", "text": number, **more}


async def texts(client: Client, thread: str, **how: Any) -> list[object]:
    """What the items say, as their numbers."""
    return [json.loads(bytes(item)).get("text") async for item in client.iter_items(thread, **how)]


async def ids(client: Client, thread: str) -> list[str]:
    """The ids of a thread's items, the oldest first."""
    return [json.loads(bytes(item))["id"] async for item in client.iter_items(thread)]


async def new_parent(client: Client, count: int = 6) -> str:
    done = await client.create_thread(items=[note(n) for n in range(1, count + 1)], metadata={"topic": "wool"})
    return done.thread.id


def nobody(_: int) -> None:
    """Progress that nobody watches."""


async def packed(clew: Clew, file: Path, scope: Scope, key: SigningKey | None = None) -> Pack:
    exporter = Exporter(clew.js, clew.ledger, clew.deployment, key=key.verifier if key is not None else None)
    await export(exporter, scope, file)
    return Pack(file)


async def new_fork(client: Client, parent: str, **how: Any) -> str:
    return (await client.fork_thread(parent, **how)).thread.id


async def test_a_fork_shows_its_parent_as_it_was_whatever_becomes_of_it(client: Client) -> None:
    parent = await new_parent(client)
    fork = await new_fork(client, parent)
    assert (await client.get_thread(fork)).thread.metadata == {"topic": "wool"}
    await client.add_items(parent, [note(7)])
    await client.pop_item(parent)
    await client.pop_item(parent)
    await client.clear_items(parent)
    await client.add_items(fork, [note(70), note(71)])
    assert await texts(client, fork) == [1, 2, 3, 4, 5, 6, 70, 71]
    assert await texts(client, fork, order="desc") == [71, 70, 6, 5, 4, 3, 2, 1]
    await client.delete_thread(parent)
    assert await texts(client, fork) == [1, 2, 3, 4, 5, 6, 70, 71]


async def test_a_fork_begins_at_a_version_or_an_item_with_metadata_kept_or_given(client: Client) -> None:
    parent = await new_parent(client, 3)
    await client.add_items(parent, [note(4, id="note_4"), note(5)])
    await client.clear_items(parent)
    await client.add_items(parent, [note(6)])
    assert await texts(client, await new_fork(client, parent, at=1)) == [1, 2, 3]
    assert await texts(client, await new_fork(client, parent, at=2)) == [1, 2, 3, 4, 5]
    assert await texts(client, await new_fork(client, parent, at=3)) == []
    kept = await new_fork(client, parent, at=2, metadata={})
    assert (await client.get_thread(kept)).thread.metadata == {}
    cut = await new_fork(client, kept, at="note_4")
    assert await texts(client, cut) == [1, 2, 3, 4]
    assert json.loads(bytes((await client.get_item(cut, "note_4")).item))["text"] == 4


async def test_a_fork_at_an_item_counts_what_was_deleted_wherever_that_was(client: Client) -> None:
    parent = await new_parent(client, 9)
    first = await ids(client, parent)
    await client.delete_item(parent, first[1])
    fork = await new_fork(client, parent)
    await client.delete_item(fork, first[3])
    await client.add_items(fork, [note(10), note(11), note(12)])
    await client.delete_item(fork, (await ids(client, fork))[-2])
    there = await ids(client, fork)
    assert len(there) == 9
    for place, item in enumerate(there, start=1):
        made = (await client.get_thread(await new_fork(client, fork, at=item))).thread.forked_from
        assert made
        assert made.items == place


async def test_diff_and_blame_tell_of_inherited_items_where_the_fork_changes_them(client: Client) -> None:
    parent = await new_parent(client, 3)
    first, second, third = await ids(client, parent)
    fork = await new_fork(client, parent)
    await client.delete_item(parent, second)
    await client.replace_item(fork, first, note(10))
    await client.delete_item(fork, third)
    changes = (await client.diff(fork, since=1)).items
    assert [(change.id, change.change) for change in changes] == [(first, "changed"), (third, "deleted")]
    assert [json.loads(bytes(each))["text"] for each in (changes[0].before, changes[0].after)] == [1, 10]
    blamed = {each.id: each for each in (await client.blame(fork)).messages}
    assert blamed.keys() == {first, third}
    assert (blamed[first].added.n, blamed[first].replaced.n, blamed[third].deleted.n) == (1, 2, 3)
    await client.clear_items(fork)
    changes = (await client.diff(fork, since=3)).items
    assert {(change.id, change.change) for change in changes} == {(first, "deleted"), (second, "deleted")}


async def test_what_a_fork_changes_of_its_past_is_changed_in_it_alone(client: Client) -> None:
    parent = await new_parent(client)
    fork = await new_fork(client, parent)
    first = json.loads(bytes((await client.list_items(fork, order="asc", limit=1)).items.data[0]))["id"]
    await client.replace_item(fork, first, note(10))
    assert json.loads(bytes((await client.pop_item(fork)).popped))["text"] == 6
    child = await new_fork(client, fork)
    assert (await texts(client, fork), await texts(client, child)) == ([10, 2, 3, 4, 5], [10, 2, 3, 4, 5])
    await client.replace_item(child, first, note(11))
    await client.clear_items(fork)
    assert (await texts(client, fork), await texts(client, child)) == ([], [11, 2, 3, 4, 5])
    assert await texts(client, parent) == [1, 2, 3, 4, 5, 6]


async def test_a_fork_is_read_as_of_any_moment_of_its_own(client: Client) -> None:
    parent = await new_parent(client, 3)
    child = await new_fork(client, await new_fork(client, parent))
    await client.pop_item(child)
    await client.add_items(child, [note(4)])
    await client.clear_items(parent)
    then = [(await client.items_at(child, n, order="asc")).items for n in (1, 2, 3)]
    assert [[json.loads(bytes(item))["text"] for item in page.data] for page in then] == [[1, 2, 3], [1, 2], [1, 2, 4]]


async def test_a_chain_of_forks_is_read_as_one_thread(client: Client) -> None:
    thread = await new_parent(client, 2)
    for number in range(3, 13):
        thread = await new_fork(client, thread)
        await client.add_items(thread, [note(number)])
    assert await texts(client, thread) == list(range(1, 13))


async def test_what_is_erased_in_a_parent_is_seen_in_its_forks(client: Client) -> None:
    parent = await new_parent(client, 3)
    child = await new_fork(client, await new_fork(client, parent))
    second = json.loads(bytes((await client.list_items(parent, order="asc")).items.data[1]))["id"]
    with pytest.raises(Forked, match="is inherited from thread"):
        await client.send(EraseItem(thread_id=child, item_id=second))
    await client.replace_item(child, second, note(20))
    await client.erase_item(parent, second, forks=True)
    assert await texts(client, child) == [1, 20, 3]
    await client.erase_item(child, second)  # what the fork itself wrote in its place
    assert await texts(client, child) == [1, 3]
    await client.erase_thread(parent, forks=True)
    assert await texts(client, child) == []
    with pytest.raises(AlreadyErased):
        await client.fork_thread(parent)


async def test_what_forks_show_is_erased_only_by_who_says_so(client: Client) -> None:
    parent = await new_parent(client, 3)
    first, second, third = await ids(client, parent)
    await client.delete_item(parent, first)
    fork = await new_fork(client, parent, at=second)
    grandchild = await new_fork(client, fork)
    late = await new_fork(client, parent)
    await client.erase_item(parent, first)  # which was deleted before anybody forked
    with pytest.raises(Forked, match=f"shown by 1 forks as well.*'{late}'"):
        await client.erase_item(parent, third)
    with pytest.raises(Forked, match="shown by 3 forks as well"):
        await client.erase_item(parent, second)
    await client.delete_thread(late)  # and it may be restored
    with pytest.raises(Forked, match="shown by 3 forks"):
        await client.erase_thread(parent)
    await client.erase_thread(late)
    await client.erase_thread(fork, forks=True)
    with pytest.raises(Forked, match=f"shown by 1 forks as well.*'{grandchild}'"):
        await client.erase_thread(parent)
    assert await texts(client, grandchild) == [2]
    await client.erase_thread(grandchild)
    await client.erase_thread(parent)


async def test_a_hold_on_a_fork_protects_what_it_shows(client: Client) -> None:
    parent = await new_parent(client, 3)
    second = (await ids(client, parent))[1]
    fork = await new_fork(client, await new_fork(client, parent), at=second, metadata={"case": "7"})
    third = (await ids(client, parent))[2]
    await client.place_hold(fork, "case-7")
    for erase in (client.erase_item(parent, second, forks=True), client.erase_thread(parent, forks=True)):
        with pytest.raises(Held, match=f"legal hold 'case-7' of its fork '{fork}'"):
            await erase
    await client.erase_item(parent, third, forks=True)  # which the held fork does not show
    await client.release_hold(fork, "case-7")
    await client.place_standing_hold("all-of-7", {"metadata": {"key": "case", "eq": "7"}})
    with pytest.raises(Held, match=f"standing legal hold 'all-of-7' of its fork '{fork}'"):
        await client.erase_thread(parent, forks=True)
    await client.release_standing_hold("all-of-7")
    await client.erase_thread(parent, forks=True)


async def test_what_cannot_be_forked_is_named(client: Client) -> None:
    parent = await new_parent(client, 1)
    with pytest.raises(Invalid, match="no version 2, it is at version 1"):
        await client.fork_thread(parent, at=2)
    with pytest.raises(NotFound, match="note_7"):
        await client.fork_thread(parent, at="note_7")
    with pytest.raises(AlreadyExists):
        await client.fork_thread(parent, thread_id=parent)
    with pytest.raises(NotFound, match="thread_none"):
        await client.fork_thread("thread_none")
    await client.delete_thread(parent)
    with pytest.raises(NotFound):
        await client.fork_thread(parent)


async def test_a_fork_that_is_asked_for_twice_is_made_once(client: Client) -> None:
    parent = await new_parent(client, 1)
    first = await client.fork_thread(parent, command_id="fork-1")
    await client.add_items(parent, [note(2)])
    assert (await client.fork_thread(parent, command_id="fork-1")).thread.id == first.thread.id
    assert await texts(client, first.thread.id) == [1]
    conversation = (await client.create_thread(kind="conversation")).thread.id
    assert (await client.fork_thread(conversation)).thread.id.startswith("conv_")


async def test_the_buckets_are_the_fold_of_the_log(clew: Clew, deployment) -> None:
    async with served(clew), projecting(clew), connect(deployment.url) as client:
        fork = await new_fork(client, await new_parent(client))
        await client.pop_item(fork)
        await client.add_items(fork, [note(7)])
        await buckets_equal_the_log(clew)


async def test_what_is_left_of_a_parent_is_shown_when_the_rest_is_erased_and_swept(
    clew: Clew, deployment, monkeypatch
) -> None:
    monkeypatch.setattr(worker, "MANY", 1)
    async with served(clew), projecting(clew), connect(deployment.url) as client:
        parent = await new_parent(client, 3)
        first, second, _ = await ids(client, parent)
        await client.replace_item(parent, first, note(10))
        fork = await new_fork(client, parent)
        await client.erase_item(parent, second, forks=True)
        await complete_all(clew, rule=EVERY)
        assert await texts(client, fork) == [10, 3]
        then = (await client.items_at(fork, 1, order="asc")).items
        assert [json.loads(bytes(item)).get("text") for item in then.data] == [10, None, 3]
        await client.erase_thread(parent, forks=True)
        await complete_all(clew, rule=EVERY)
        swept = ErasedCommits(clew.connection.js, replicated=False)
        assert any([(await swept.read_swept(shard)).until for shard in range(clew.deployment.shards)])
        assert await texts(client, fork) == []
        await client.add_items(fork, [note(4)])
        assert await texts(client, fork) == [4]
        assert (await verifier_of(clew, KEY).all()).findings == ()


async def test_a_fork_of_what_never_was_is_named_by_whoever_looks_at_the_record(clew: Clew, deployment) -> None:
    async with served(clew), projecting(clew), connect(deployment.url, actor="agent") as client:
        parent, fork = await new_parent(client), "thread_fork"
        await new_fork(client, parent, thread_id=fork)
        await buckets_equal_the_log(clew)
        at, proof = Address("default", parent), ViewCheck(clew.live.current.threads, clew.histories)
        assert (await verifier_of(clew, KEY).all()).findings == ()
        assert (await proof.thread(at._replace(thread=fork))).finding is None
        await rewrite(clew, at, rechained(await bodies(clew, at), b"agent", b"saint"))
        for found in (
            await verifier_of(clew, KEY).all(),
            await verifier_of(clew, KEY).thread(at._replace(thread=fork)),
        ):
            named = {(finding.thread, finding.code) for finding in found.findings}
            assert named - {("", "removed")} == {(fork, "wrong_parent")}
        finding = (await proof.thread(at._replace(thread=fork))).finding
        assert finding is not None
        assert (finding.code, parent in finding.what) == ("wrong_parent", True)


async def test_a_pack_of_a_fork_has_what_it_inherits_and_nothing_more(
    clew: Clew, deployment, tmp_path, durable_deployment
) -> None:
    async with served(clew), connect(deployment.url) as client:
        parent = await new_parent(client, 2)
        middle = await new_fork(client, parent)
        await client.add_items(parent, [note(30)])
        await client.add_items(middle, [note(3)])
        fork = await new_fork(client, middle, thread_id="thread_fork")
        await client.add_items(middle, [note(40)])
        await client.add_items(fork, [note(4)])
    await sign(clew, KEY)
    pack = await packed(clew, tmp_path / "pack", Scope(tenant="default", thread=fork), KEY)
    checked = check_pack(pack, key=KEY.verifier, progress=nobody)
    assert checked.verified.findings == ()
    assert (checked.verified.threads, checked.verified.commits, checked.verified.covered) == (3, 5, 5)
    listed = (await Offline(pack).reader.answer("default", ListItems(thread_id=fork, order="asc"))).items
    assert [json.loads(bytes(item))["text"] for item in listed.data] == [1, 2, 3, 4]
    # Another deployment has the fork then, with its parents as they were, and knows that these have a fork.
    async with compose.connect(durable_deployment.url, name="target") as target:
        importer = Importer(target.connection, target.histories)
        plan = await importer.plan(pack, key=None, checking=nobody, comparing=nobody)
        await importer.carry_out(pack, plan, nobody)
        async with served(target), connect(durable_deployment.url) as client:
            assert await texts(client, fork) == [1, 2, 3, 4]
            assert await texts(client, parent) == [1, 2]
            with pytest.raises(Forked, match="shown by 2 forks"):
                await client.erase_thread(parent)
        assert (await verifier_of(target).all()).findings == ()


async def test_a_restored_backup_knows_which_forks_there_are(
    clew: Clew, deployment, durable_nats_server, tmp_path: Path
) -> None:
    async with served(clew), connect(deployment.url) as client:
        parent = await new_parent(client, 2)
        fork = await new_fork(client, parent)
    folder = Folder(tmp_path / "backup")
    await take(clew.connection, folder, "0", lambda _: None)
    async with connection(durable_nats_server.url, name="restore") as made:
        await restore(made, folder, None, lambda _: None)
    async with (
        compose.connect(durable_nats_server.url, name="restored") as restored,
        served(restored),
        connect(durable_nats_server.url) as client,
    ):
        assert await texts(client, fork) == [1, 2]
        with pytest.raises(Forked, match=f"'{fork}'"):
            await client.erase_thread(parent)


async def test_a_pack_without_the_parents_of_its_forks_says_so(clew: Clew, deployment, tmp_path) -> None:
    async with served(clew), connect(deployment.url) as client:
        parent = await new_parent(client, 2)
        since = datetime.now(UTC)
        fork = await new_fork(client, parent)
        await client.add_items(fork, [note(3)])
    pack = await packed(clew, tmp_path / "pack", Scope(tenant="default", since=since))
    assert pack.manifest.missing == (parent,)
    assert check_pack(pack, progress=nobody).verified.findings == ()
    reader = Offline(pack).reader
    listed = (await reader.answer("default", ListItems(thread_id=fork, order="asc"))).items
    assert [json.loads(bytes(item))["text"] for item in listed.data] == [3]
    then = (await reader.answer("default", ListItemsAt(thread_id=fork, as_of=2, order="asc"))).items
    assert [json.loads(bytes(item))["text"] for item in then.data] == [3]


async def test_forks_are_listed_and_a_search_names_those_that_show_what_it_finds(
    clew: Clew, deployment, tmp_path: Path
) -> None:
    root = tmp_path / "index"
    clew.open_index(root)
    async with fed(clew, root), served(clew), connect(deployment.url, tenant="acme") as client:
        parent = await new_parent(client, 1)
        await client.add_items(parent, [{"type": "note", "text": "wool"}])
        early = await new_fork(client, parent, at=1)
        fork = await new_fork(client, parent, metadata={"attempt": "2"})
        grandchild = await new_fork(client, fork)
        await client.add_items(fork, [note(3)])
        await client.add_items(parent, [{"type": "note", "text": "silk"}])
        await caught_up(clew, root)
        listed = [thread async for thread in client.iter_threads(where={"forked_from": {"eq": parent}})]
        assert [thread.id for thread in listed] == [fork, early]
        assert listed[0].forked_from == (await client.get_thread(fork)).thread.forked_from
        forks = {thread.id async for thread in client.iter_threads(where={"forked_from": {"exists": True}})}
        assert forks == {early, fork, grandchild}
        wool, silk = [(await client.list_threads(search=word)).data for word in ("wool", "silk")]
        assert [(hit.id, set(hit.excerpt.forks or ())) for hit in wool] == [(parent, {fork, grandchild})]
        assert [(hit.id, hit.excerpt.forks) for hit in silk] == [(parent, UNSET)]
        # What a fork wrote in place of an item is found in it, and is what the log says.
        item = (await ids(client, fork))[0]
        await client.replace_item(fork, item, {"type": "note", "text": "felt"})
        await client.delete_item(grandchild, item)
        await caught_up(clew, root)
        assert [hit.id for hit in (await client.list_threads(search="felt")).data] == [fork]
        assert await drift(clew, root) == []
        await client.delete_thread(parent)
        await client.delete_thread(early)
        await caught_up(clew, root)
        answer = json.loads((await call(clew, "GET", f"/v1/threads/{parent}/forks")).body)
        assert [(each["id"], each["forked_from"]["thread"]) for each in answer["data"]] == [(fork, parent)]
        query = json.dumps({"where": {"metadata": {"key": "attempt", "eq": "3"}}})
        filtered = await call(clew, "GET", f"/v1/threads/{parent}/forks?query={quote(query)}")
        assert json.loads(filtered.body)["data"] == []
        assert (await call(clew, "GET", "/v1/threads/thread_none/forks")).status == 404


async def test_a_fork_can_be_sent_back_as_it_is_answered_and_is_created_over_http(clew: Clew) -> None:
    created = json.loads((await call(clew, "POST", "/v1/threads", b'{"metadata": {"a": "b"}}')).body)
    assert (await call(clew, "POST", "/v1/threads", json.dumps(created).encode())).status == 200
    parent = f"/v1/threads/{created['id']}"
    fork = json.loads((await call(clew, "POST", f"{parent}/fork", b'{"at": 1}')).body)
    assert (fork["metadata"], fork["forked_from"]["thread"]) == ({"a": "b"}, created["id"])
    changed = {**fork, "metadata": {"a": "c"}}
    answer = await call(clew, "POST", f"/v1/threads/{fork['id']}", json.dumps(changed).encode())
    assert json.loads(answer.body) == changed
    for wrong in ({"id": created["id"]}, {"forked_from": {**fork["forked_from"], "n": 2}}):
        refused = await call(clew, "POST", f"/v1/threads/{fork['id']}", json.dumps(changed | wrong).encode())
        assert (refused.status, refused.error["param"]) == (400, *wrong)
    assert (await call(clew, "POST", "/v1/threads", json.dumps(fork).encode())).error["param"] == "forked_from"


@pytest.mark.parametrize(
    ("kind", "given", "pages"),
    [
        ("threads", {"messages": [{"role": "user", "content": "a secret"}] * 2}, "messages"),
        ("conversations", {"items": [{"role": "user", "content": "a secret"}] * 2}, "items"),
    ],
)
async def test_whoever_has_seen_a_page_is_shown_it_anew_once_something_on_it_was_erased(
    clew: Clew, kind: str, given: dict[str, Any], pages: str
) -> None:
    """The version of a thread tells of nothing that is erased in the thread it was forked from, or later than it."""

    async def posted(path: str, **body: object) -> dict[str, Any]:
        answered = await call(clew, "POST", path, json.dumps(body).encode())
        assert answered.status in {200, 202}, answered.error
        return dict(json.loads(answered.body))

    async def created(**body: object) -> str:
        made = await posted(f"/v1/{kind}", **body)
        return f"/v1/{kind}/{made['id']}"

    async def forked(parent: str) -> str:
        made = await posted(f"/v1/threads/{parent.rpartition('/')[2]}/fork")
        return f"/v1/{kind}/{made['id']}"

    parent = await created(**given)
    fork, empty = await forked(parent), await forked(await created())
    assert (await call(clew, "GET", f"{empty}/{pages}")).headers["etag"] == '"1"'  # it inherits nothing
    seen = [f"{fork}/{pages}", f"{parent}/{pages}?as_of=1", f"{fork}/{pages}?as_of=1"]
    tags = [(await call(clew, "GET", path)).headers.get("etag", '"1"') for path in seen]
    item = json.loads((await call(clew, "GET", f"{parent}/{pages}")).body)["first_id"]
    await posted(f"{parent}/{pages}/{item}/erase", forks=True)
    for path, tag in zip(seen, tags, strict=True):
        shown = await call(clew, "GET", path, headers={**IN, "If-None-Match": tag})
        assert (shown.status, shown.body.count(b"a secret")) == (200, 1), path
    assert (await call(clew, "GET", f"{fork}/{pages}/{item}", headers={**IN, "If-None-Match": '"1"'})).status == 404
    assert (await call(clew, "GET", fork)).headers["etag"] == '"1"'
