"""The ``openai`` client, as it is sold, on a real service: lenient and strict, asynchronous and not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from clew_events.events import ItemAdded, MetadataUpdated, ThreadCreated, ThreadDeleted
from clew_events.queries import GetHistory
from clew_events.replies import History
from clew_services.compose import Clew
from support.api import ACME, GLOBEX, KEYS, served

pytestmark = pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning")


@pytest.fixture
async def url(clew: Clew) -> AsyncIterator[str]:
    async with served(clew) as address:
        yield f"{address}/v1"


@pytest.fixture(params=[False, True], ids=["lenient", "strict"])
async def client(request: pytest.FixtureRequest, url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        api_key=ACME, base_url=url, max_retries=0, _strict_response_validation=request.param
    ) as made:
        yield made


@pytest.fixture
async def other(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=GLOBEX, base_url=url, max_retries=0) as made:
        yield made


async def history(clew: Clew, thread: str) -> History:
    answer = await clew.reader.answer("acme", GetHistory(thread_id=thread))
    assert isinstance(answer, History)
    return answer


async def test_a_thread_lives_and_each_change_is_a_commit(client: AsyncOpenAI, clew: Clew):
    threads = client.beta.threads
    created = await threads.create(
        messages=[
            {"role": "user", "content": "Where is my parcel?"},
            {"role": "assistant", "content": [{"type": "text", "text": "On its way."}]},
        ],
        metadata={"customer": "c-81"},
    )
    assert created.id.startswith("thread_")
    assert (created.object, created.metadata) == ("thread", {"customer": "c-81"})

    assert (await threads.retrieve(created.id)).id == created.id
    updated = await threads.update(created.id, metadata={"state": "closed"})
    assert updated.metadata == {"state": "closed"}
    assert updated.created_at == created.created_at
    retrieved = await threads.retrieve(created.id)
    assert retrieved.metadata == {"state": "closed"}

    deleted = await threads.delete(created.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (created.id, "thread.deleted", True)
    with pytest.raises(openai.NotFoundError) as gone:
        await threads.retrieve(created.id)
    assert gone.value.message == f"Error code: 404 - No thread found with id '{created.id}'."
    assert (gone.value.code, gone.value.param) == (None, None)
    assert gone.value.type == "invalid_request_error"
    assert (gone.value.request_id or "").startswith("req_")

    commits = [entry.commit for entry in (await history(clew, created.id)).commits]
    kinds = [[type(event) for event in commit.events] for commit in commits]
    assert kinds == [[ThreadCreated, ItemAdded, ItemAdded], [MetadataUpdated], [ThreadDeleted]]
    holder = KEYS.holder(ACME)
    assert holder is not None
    assert {commit.actor for commit in commits} == {holder.actor}


async def test_an_expiry_goes_along_with_what_the_client_knows(client: AsyncOpenAI):
    threads = client.beta.threads
    month = {"anchor": "created_at", "days": 30}
    created = await threads.create(metadata={"a": "1"}, extra_body={"expires_after": month})
    assert (created.model_extra or {})["expires_after"] == month
    updated = await threads.update(created.id, metadata={"a": "2"}, extra_body={"expires_after": None})
    assert (updated.metadata, updated.model_extra) == ({"a": "2"}, {})
    with pytest.raises(openai.BadRequestError) as refused:
        await threads.update(created.id, extra_body={"expires_after": {**month, "days": "30"}})
    assert (refused.value.code, refused.value.param) == ("invalid_type", "expires_after.days")


async def test_the_synchronous_client_works_as_well(url: str):
    def live() -> None:
        for strict in (False, True):
            with OpenAI(api_key=ACME, base_url=url, max_retries=0, _strict_response_validation=strict) as client:
                threads = client.beta.threads
                thread = threads.create(messages=[{"role": "user", "content": "hi"}])
                message = threads.messages.create(thread.id, role="user", content="are you there?")
                assert next(each.id for each in threads.messages.list(thread.id, limit=1)) == message.id
                assert threads.update(thread.id, metadata={"a": "1"}).metadata == {"a": "1"}
                assert threads.delete(thread.id).deleted
                with pytest.raises(openai.NotFoundError):
                    threads.messages.list(thread.id)

    await asyncio.to_thread(live)


async def test_tool_resources_come_back_as_the_live_service_gave_them(client: AsyncOpenAI):
    threads = client.beta.threads
    bare = await threads.create()
    assert bare.tool_resources is not None
    assert bare.tool_resources.to_dict() == {}
    retrieved = await threads.retrieve(bare.id)
    assert retrieved.tool_resources is not None
    assert retrieved.tool_resources.to_dict() == {"code_interpreter": {"file_ids": []}}

    changed = await threads.update(bare.id, tool_resources={"file_search": {"vector_store_ids": ["vs_1"]}})
    assert changed.tool_resources is not None
    assert changed.tool_resources.to_dict() == {"file_search": {"vector_store_ids": ["vs_1"]}}
    made = await threads.create(tool_resources={"file_search": {"vector_stores": [{"file_ids": ["file_1"]}]}})
    assert made.tool_resources is not None
    assert made.tool_resources.file_search is not None
    assert len(made.tool_resources.file_search.vector_store_ids or []) == 1


async def test_messages_live_too(client: AsyncOpenAI):
    messages = client.beta.threads.messages
    thread = await client.beta.threads.create()
    created = await messages.create(
        thread.id,
        role="user",
        content=[
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}},
            {"type": "image_file", "image_file": {"file_id": "file_1", "detail": "low"}},
        ],
        attachments=[{"file_id": "file_2", "tools": [{"type": "code_interpreter"}]}],
        metadata={"k": "v"},
    )
    text, picture, file = created.content
    assert text.type == "text"
    assert (text.text.value, text.text.annotations) == ("look", [])
    assert picture.type == "image_url"
    assert picture.image_url.detail == "auto"
    assert file.type == "image_file"
    assert file.image_file.detail == "low"
    assert (created.thread_id, created.role, created.status) == (thread.id, "user", "completed")
    assert (await messages.retrieve(created.id, thread_id=thread.id)) == created

    changed = await messages.update(created.id, thread_id=thread.id, metadata={"k": "w"})
    assert (changed.id, changed.metadata) == (created.id, {"k": "w"})
    deleted = await messages.delete(created.id, thread_id=thread.id)
    assert (deleted.id, deleted.object) == (created.id, "thread.message.deleted")
    with pytest.raises(openai.NotFoundError, match=f"No message found with id '{created.id}'."):
        await messages.retrieve(created.id, thread_id=thread.id)


async def test_pages_follow_one_another_in_both_directions(client: AsyncOpenAI):
    said = [str(number) for number in range(7)]
    thread = await client.beta.threads.create(messages=[{"role": "user", "content": text} for text in said])
    messages = client.beta.threads.messages

    async def texts(**asked: object) -> list[str]:
        found = [message async for message in messages.list(thread.id, **asked)]  # type: ignore[arg-type]
        return [message.content[0].text.value for message in found]  # type: ignore[union-attr]

    assert await texts() == said[::-1]
    assert await texts(limit=2, order="asc") == said
    assert await texts(limit=3, order="desc") == said[::-1]

    first = await messages.list(thread.id, limit=3, order="asc")
    assert first.has_more
    assert (first.first_id, first.last_id) == (first.data[0].id, first.data[2].id)  # type: ignore[attr-defined]
    before = (await messages.list(thread.id, limit=1, order="asc", after=first.data[2].id)).data[0].id
    # The client goes on from such a page with `before` and `after` together.
    assert await texts(limit=2, order="asc", before=before) == said[1:3]
    assert await texts(limit=2, order="desc", before=before) == said[5:3:-1]
    assert await texts(run_id="run_1") == []

    assert [run async for run in client.beta.threads.runs.list(thread.id)] == []

    empty = await client.beta.threads.create()
    page = await messages.list(empty.id)
    assert (page.data, page.has_more) == ([], False)


async def test_the_clients_exceptions_say_what_was_wrong(client: AsyncOpenAI):
    threads = client.beta.threads
    with pytest.raises(openai.BadRequestError) as bad:
        await threads.create(metadata={"modified": True})  # type: ignore[dict-item]
    assert bad.value.body == {
        "message": "Invalid type for 'metadata.modified': expected a string, but got a boolean instead.",
        "type": "invalid_request_error",
        "param": "metadata.modified",
        "code": "invalid_type",
    }
    with pytest.raises(openai.BadRequestError) as bad:
        await threads.create(messages=[{"role": "user", "content": "x", "mood": "sad"}])  # type: ignore[typeddict-unknown-key]
    assert bad.value.message == "Error code: 400 - Unknown parameter: 'messages[0].mood'."
    with pytest.raises(openai.BadRequestError, match="Expected an ID that begins with 'thread'"):
        await threads.retrieve("a/b c")
    with pytest.raises(openai.NotFoundError):
        await threads.retrieve("thread_a/b c")
    with pytest.raises(openai.BadRequestError) as bad:
        await threads.messages.list("thread_x", limit=1000)
    assert bad.value.code == "integer_above_max_value"


async def test_a_wrong_key_opens_nothing(url: str):
    async with AsyncOpenAI(api_key="sk-not-a-real-key-here", base_url=url, max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as refused:
            await stranger.beta.threads.create()
    assert refused.value.code == "invalid_api_key"


async def test_tenants_do_not_see_each_other(client: AsyncOpenAI, other: AsyncOpenAI):
    thread = await client.beta.threads.create(messages=[{"role": "user", "content": "hi"}])
    message = (await client.beta.threads.messages.list(thread.id)).data[0]
    threads, messages = other.beta.threads, other.beta.threads.messages
    for attempt in (
        lambda: threads.retrieve(thread.id),
        lambda: threads.update(thread.id, metadata={"mine": "now"}),
        lambda: threads.delete(thread.id),
        lambda: messages.create(thread.id, role="user", content="hello?"),
        lambda: messages.list(thread.id),
        lambda: messages.retrieve(message.id, thread_id=thread.id),
        lambda: messages.update(message.id, thread_id=thread.id, metadata={"mine": "now"}),
        lambda: messages.delete(message.id, thread_id=thread.id),
    ):
        with pytest.raises(openai.NotFoundError, match=f"No thread found with id '{thread.id}'"):
            await attempt()
    assert (await client.beta.threads.retrieve(thread.id)).metadata == {}
    assert len((await client.beta.threads.messages.list(thread.id)).data) == 1


async def test_an_idempotency_key_makes_it_happen_once(client: AsyncOpenAI, clew: Clew):
    once = {"Idempotency-Key": "order-7"}
    threads = client.beta.threads
    first, again = await asyncio.gather(
        threads.create(metadata={"a": "1"}, extra_headers=once), threads.create(metadata={"a": "1"}, extra_headers=once)
    )
    assert first == again
    thread = first.id
    added = [
        await threads.messages.create(thread, role="user", content="hi", extra_headers={"Idempotency-Key": "m-1"})
        for _ in range(3)
    ]
    assert len({message.id for message in added}) == 1
    assert len((await history(clew, thread)).commits) == 2

    with pytest.raises(openai.ConflictError) as spent:
        await client.with_options(max_retries=2).beta.threads.create(metadata={"a": "2"}, extra_headers=once)
    assert (spent.value.code, spent.value.param) == ("command_id_reused", "Idempotency-Key")
    assert spent.value.response.headers["x-should-retry"] == "false"


async def test_a_version_guards_a_change(client: AsyncOpenAI):
    threads = client.beta.threads
    created = await threads.with_raw_response.create()
    tag = created.headers["etag"]
    thread = (created.parse()).id
    assert tag == '"1"'
    changed = await threads.with_raw_response.update(thread, metadata={"a": "1"}, extra_headers={"If-Match": tag})
    assert changed.headers["etag"] == '"2"'
    with pytest.raises(openai.APIStatusError) as stale:
        await threads.update(thread, metadata={"a": "2"}, extra_headers={"If-Match": tag})
    assert (stale.value.status_code, stale.value.code, stale.value.param) == (412, "version_conflict", "If-Match")
    retrieved = await threads.with_raw_response.retrieve(thread)
    assert retrieved.headers["etag"] == '"2"'
    assert retrieved.parse().metadata == {"a": "1"}


async def test_a_body_over_the_limit_is_told_so_even_while_it_is_being_sent(client: AsyncOpenAI):
    with pytest.raises(openai.APIStatusError) as large:
        await client.beta.threads.create(metadata={"k": "x" * 9_000_000})
    assert (large.value.status_code, large.value.code) == (413, "too_large")
    assert (await client.beta.threads.create(metadata={"k": "x" * 512})).id
