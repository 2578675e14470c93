"""OpenAI's ChatKit, as it is published, keeps its threads, items and attachments in Clew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from clew_adapters.conversation import conversation_id
from clew_events.client import Clew
from clew_events.commands import AddItems, CreateThread, DeleteItem, ReplaceItem
from clew_events.errors import TooLarge, Unavailable
from support.lost_answers import LossyClew

RunProgram = Callable[[str], Awaitable[list[str]]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", autouse=True)
def framework() -> None:
    """Import it where these tests run: every process collects them, and importing it takes seconds of a core."""
    pytest.importorskip("chatkit", reason="clew[chatkit] is not installed")

    from chatkit.server import ChatKitServer, NonStreamingResult, StreamingResult
    from chatkit.store import NotFoundError
    from chatkit.types import (
        AssistantMessageContent,
        AssistantMessageItem,
        Attachment,
        ClientToolCallItem,
        FileAttachment,
        HiddenContextItem,
        ImageAttachment,
        InferenceOptions,
        LockedStatus,
        Page,
        Thread,
        ThreadItem,
        ThreadItemDoneEvent,
        ThreadMetadata,
        ThreadStreamEvent,
        UserMessageItem,
        UserMessageTagContent,
        UserMessageTextContent,
        WidgetItem,
        Workflow,
        WorkflowItem,
    )
    from chatkit.widgets import Card, Text
    from pydantic import AnyUrl

    from clew_adapters.chatkit import ClewStore

    class Clerk(ChatKitServer[str]):
        """Answers with how many items there are."""

        async def respond(
            self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: str
        ) -> AsyncIterator[ThreadStreamEvent]:
            seen = await self.store.load_thread_items(thread.id, None, 50, "desc", context)
            thread.title = f"{len(seen.data)} items"
            item_id = self.store.generate_item_id("task", thread, context)
            yield ThreadItemDoneEvent(item=message(thread, item_id, f"{len(seen.data)}"))

        async def ask(self, user: str, kind: str, **params: Any) -> Any:
            result = await self.process(json.dumps({"type": kind, "params": params}), user)
            if isinstance(result, NonStreamingResult):
                return json.loads(result.json)
            assert isinstance(result, StreamingResult)
            return [json.loads(event.removeprefix(b"data: ")) async for event in result]

    globals().update(locals())


NOW = datetime(2026, 11, 29, 12, 30, 15, 123456, UTC)


@pytest.fixture
def store(clew: Clew) -> ClewStore[str]:
    """A store whose context is the user."""
    return ClewStore(clew, user=lambda context: context)


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    return request.node.name


@pytest_asyncio.fixture(loop_scope="module")
async def thread(store: ClewStore[str], user: str) -> ThreadMetadata:
    made = ThreadMetadata(id=store.generate_thread_id(user), created_at=NOW)
    await store.save_thread(made, user)
    return made


def message(thread: ThreadMetadata, item_id: str, text: str = "hi") -> AssistantMessageItem:
    content = [AssistantMessageContent(text=text)]
    return AssistantMessageItem(id=item_id, thread_id=thread.id, created_at=NOW, content=content)


async def items(store: ClewStore[str], thread: ThreadMetadata, user: str, **page: Any) -> Page[ThreadItem]:
    asked: dict[str, Any] = {"after": None, "limit": 20, "order": "asc"} | page
    return await store.load_thread_items(thread.id, context=user, **asked)


async def test_ids_have_enough_random_bits_and_begin_as_chatkits_do(store: ClewStore[str], thread: ThreadMetadata):
    made = {store.generate_item_id("message", thread, "ada") for _ in range(1000)}
    assert len(made) == 1000
    assert all(each.startswith("msg_") and len(each) == 36 for each in made)
    assert thread.id.startswith("thr_")


async def test_a_thread_is_saved_and_saved_again_value_for_value(store: ClewStore[str], user: str):
    thread = ThreadMetadata(id="a thread / ü", created_at=NOW, title="x" * 2000, metadata={"deep": {"n": [1, None]}})
    for status in (thread.status, LockedStatus(reason="paid?")):
        thread.status = status
        await store.save_thread(Thread(**thread.model_dump(), items=Page()), user)
        assert await store.load_thread(thread.id, user) == thread
    await store.delete_thread(thread.id, user)
    await store.delete_thread(thread.id, user)
    with pytest.raises(NotFoundError):
        await store.load_thread(thread.id, user)
    with pytest.raises(NotFoundError):
        await store.save_thread(thread, user)


async def test_items_of_all_kinds_come_back_value_for_value(store: ClewStore[str], thread: ThreadMetadata, user: str):
    of: Any = {"thread_id": thread.id, "created_at": NOW}
    image = ImageAttachment(id="atc_1", name="ü", mime_type="image/png", preview_url=AnyUrl("https://a.example/b"))
    tag = UserMessageTagContent(id="t", text="@ada", data={"user": {"n": 10**30}})
    said = UserMessageTextContent(text="é\x00")
    kept: list[ThreadItem] = [
        UserMessageItem(
            id="m 1", content=[said, tag], attachments=[image], inference_options=InferenceOptions(model="m"), **of
        ),
        message(thread, "m.2", "é"),
        ClientToolCallItem(id="c/1", call_id="1", name="f", arguments={"a": None}, output={"b": [0.1]}, **of),
        WidgetItem(id="w" * 300, widget=Card(children=[Text(value="Hello")]), copy_text="Hello", **of),
        WorkflowItem(id="wf", workflow=Workflow(type="custom", tasks=[]), **of),
        HiddenContextItem(id="chatkit:thread", content={"any": ["thing"]}, **of),
    ]
    for item in kept:
        await store.add_thread_item(thread.id, item, user)
    assert (await items(store, thread, user)).data == kept
    assert [await store.load_item(thread.id, item.id, user) for item in kept] == kept


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 5, 6, 99, 1000])
async def test_pages_of_items_have_each_item_once(
    store: ClewStore[str], thread: ThreadMetadata, user: str, order: str, limit: int
):
    assert await items(store, thread, user, order=order, limit=limit) == Page(data=[], has_more=False, after=None)
    for number in range(5):
        await store.add_thread_item(thread.id, message(thread, f"m{number}"), user)
    found, after, pages = [], None, 0
    while pages < 10:
        page = await items(store, thread, user, order=order, limit=limit, after=after)
        assert 0 < len(page.data) <= limit
        found += [item.id for item in page.data]
        pages += 1
        if not page.has_more:
            break
        assert page.after == found[-1]
        after = page.after
    assert found == [f"m{number}" for number in range(5)][:: 1 if order == "asc" else -1]
    assert pages == -(-5 // limit)


async def test_an_item_is_replaced_in_its_place_added_where_it_was_not_and_deleted(
    store: ClewStore[str], thread: ThreadMetadata, user: str
):
    for name in ("a", "b", "c"):
        await store.save_item(thread.id, message(thread, name), user)
    await store.save_item(thread.id, message(thread, "b", "other"), user)
    await store.add_thread_item(thread.id, message(thread, "a", "more"), user)
    await store.delete_thread_item(thread.id, "c", user)
    await store.delete_thread_item(thread.id, "c", user)
    assert (await items(store, thread, user)).data == [message(thread, "a", "more"), message(thread, "b", "other")]
    page = await items(store, thread, user, order="desc", after="c")
    assert [item.id for item in page.data] == ["b", "a"]
    for missing in ("c", "never"):
        with pytest.raises(NotFoundError):
            await store.load_item(thread.id, missing, user)


async def test_threads_are_listed_by_user_newest_first_and_page_by_page(store: ClewStore[str], user: str):
    for number in range(5):
        await store.save_thread(ThreadMetadata(id=f"thr_{number}", created_at=NOW, title=f"{number}"), user)
    await store.save_thread(ThreadMetadata(id="thr_3", created_at=NOW, title="renamed"), user)
    await store.delete_thread("thr_1", user)
    titles, after = [], None
    while True:
        page = await store.load_threads(2, after, "desc", user)
        titles += [thread.title for thread in page.data]
        after = page.after
        if not page.has_more:
            break
    assert titles == ["4", "renamed", "2", "0"]
    assert (await store.load_threads(1000, None, "asc", user)).data[0].id == "thr_0"
    assert (await store.load_threads(20, None, "desc", f"{user} ")).data == []


async def test_nobody_finds_what_is_another_users(store: ClewStore[str], thread: ThreadMetadata, user: str):
    await store.add_thread_item(thread.id, message(thread, "m"), user)
    for asked in (
        store.load_thread(thread.id, "eve"),
        items(store, thread, "eve"),
        store.load_item(thread.id, "m", "eve"),
        store.add_thread_item(thread.id, message(thread, "n"), "eve"),
        store.save_item(thread.id, message(thread, "m", "forged"), "eve"),
        store.load_attachment("atc_1", "eve"),
    ):
        with pytest.raises(NotFoundError):
            await asked
    await store.delete_thread_item(thread.id, "m", "eve")
    await store.delete_thread(thread.id, "eve")
    assert (await items(store, thread, user)).data == [message(thread, "m")]


async def test_attachments_are_saved_loaded_and_deleted(store: ClewStore[str], user: str):
    attachment: Attachment = FileAttachment(id="atc 1", name="a.txt", mime_type="text/plain", metadata={"k": [1]})
    for name in ("a.txt", "b.txt"):
        attachment = attachment.model_copy(update={"name": name})
        await store.save_attachment(attachment, user)
        assert await store.load_attachment("atc 1", user) == attachment
    assert (await store.load_threads(20, None, "desc", user)).data == []
    for _ in range(2):
        await store.delete_attachment("atc 1", user)
    with pytest.raises(NotFoundError):
        await store.load_attachment("atc 1", user)


@pytest.mark.parametrize("arrives", [True, False])
async def test_whatever_is_done_again_after_an_unknown_outcome_is_done_once(clew: Clew, user: str, arrives: bool):
    lossy = LossyClew(clew)
    store: ClewStore[str] = ClewStore(lossy, user=lambda context: context)
    thread = ThreadMetadata(id="thr_1", created_at=NOW)
    steps: list[tuple[Any, Any]] = [
        (CreateThread, lambda: store.save_thread(thread, user)),
        (AddItems, lambda: store.add_thread_item(thread.id, message(thread, "a"), user)),
        (AddItems, lambda: store.save_item(thread.id, message(thread, "b"), user)),
        (ReplaceItem, lambda: store.save_item(thread.id, message(thread, "a", "other"), user)),
        (DeleteItem, lambda: store.delete_thread_item(thread.id, "b", user)),
    ]
    for lost, do in steps:
        lossy.lost[lost] = arrives
        lossy.after[lost] = 0
        with pytest.raises(Unavailable):
            await do()
        await do()
    assert (await items(store, thread, user)).data == [message(thread, "a", "other")]
    entries = clew.iter_history(conversation_id("chatkit", "thread", user, "thr_1"))
    commands = [entry.commit.command async for entry in entries]
    assert commands == ["CreateThread", "AddItems", "AddItems", "ReplaceItem", "DeleteItem"]


async def test_the_same_item_saved_by_many_at_once_is_there_once(
    store: ClewStore[str], thread: ThreadMetadata, user: str
):
    await asyncio.gather(*(store.save_item(thread.id, message(thread, "m", f"{n}"), user) for n in range(8)))
    assert len((await items(store, thread, user)).data) == 1


async def test_what_is_too_large_is_refused(store: ClewStore[str], thread: ThreadMetadata, user: str):
    with pytest.raises(TooLarge):
        await store.add_thread_item(thread.id, message(thread, "m", "x" * 9_000_000), user)
    assert (await items(store, thread, user)).data == []


def said(text: str) -> dict[str, object]:
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}


async def test_a_chatkit_server_works_on_it(store: ClewStore[str], user: str):
    server = Clerk(store)
    events = await server.ask(user, "threads.create", input=said("one"))
    thread = next(event["thread"] for event in events if event["type"] == "thread.created")["id"]
    await server.ask(user, "threads.add_user_message", thread_id=thread, input=said("two"))
    shown = await server.ask(user, "threads.get_by_id", thread_id=thread)
    assert shown["title"] == "3 items"
    texts = [item["content"][0]["text"] for item in shown["items"]["data"]]
    assert sorted(texts) == ["1", "3", "one", "two"]
    first = next(item["id"] for item in shown["items"]["data"] if item["content"][0]["text"] == "one")
    await server.ask(user, "threads.retry_after_item", thread_id=thread, item_id=first)
    again = await server.ask(user, "items.list", thread_id=thread, order="asc")
    assert [item["content"][0]["text"] for item in again["data"]] == ["one", "1"]
    await server.ask(user, "threads.update", thread_id=thread, title="named")
    (listed,) = (await server.ask(user, "threads.list"))["data"]
    assert (listed["id"], listed["title"]) == (thread, "named")
    await server.ask(user, "threads.delete", thread_id=thread)
    assert (await server.ask(user, "threads.list"))["data"] == []


async def test_the_program_of_the_guide_runs(run_program: RunProgram):
    assert await run_program("with_chatkit") == [
        "user_message: Where is my parcel?",
        "assistant_message: I see 1 items.",
        "user_message: And now?",
        "assistant_message: I see 3 items.",
        "0 threads of bob",
    ]
