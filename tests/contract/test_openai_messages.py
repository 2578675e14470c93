"""OpenAI's contract about messages, row by row: calls, the object, what can be said, and pages."""

from __future__ import annotations

import pytest

from support.rows import HELLO, MESSAGE, MESSAGES, THREADS, Row, Service, begins, error, rows, shaped

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_MESSAGE = "msg_" + "0" * 24
TEXT = {"type": "text", "text": {"value": "hi", "annotations": []}}
WHOLE = {
    "id": shaped("msg_[A-Za-z0-9]{24}"),
    "object": "thread.message",
    "created_at": lambda found: type(found) is int,
    "assistant_id": None,
    "thread_id": "{thread}",
    "run_id": None,
    "role": "user",
    "content": [TEXT],
    "attachments": [],
    "metadata": {},
    "status": "completed",
    "completed_at": None,
    "incomplete_at": None,
    "incomplete_details": None,
}
CODE, SEARCH = {"type": "code_interpreter"}, {"type": "file_search"}


def part(**said: object) -> dict[str, object]:
    return {"role": "user", "content": [said]}


def wanted(*parts: object) -> dict[str, object]:
    return {"content": list(parts)}


@rows(
    Row(cites="3.1 create is a POST", path=MESSAGES, body=HELLO, answer=WHOLE),
    Row(cites="3.1 retrieve is a GET", method="GET", path=MESSAGE, answer={**WHOLE, "id": "{message}"}),
    Row(
        cites="3.1 modify is a POST", path=MESSAGE, body={"metadata": {"a": "1"}},
        answer={**WHOLE, "id": "{message}", "metadata": {"a": "1"}},
    ),
    Row(
        cites="3.1 modify takes metadata only", path=MESSAGE, body={"content": "no"}, status=400,
        answer=error("Unknown parameter: 'content'.", "unknown_parameter", "content"),
    ),
    Row(
        cites="3.1 delete answers id, object and deleted", method="DELETE", path=MESSAGE,
        answer={"id": "{message}", "object": "thread.message.deleted", "deleted": True},
    ),
    Row(
        cites="3.1 list is a GET", method="GET", path=MESSAGES,
        answer={"object": "list", "first_id": "{message}", "last_id": "{message}", "has_more": False},
    ),
    *(
        Row(
            cites=f"2.2 unknown message: {method}", method=method, path=f"/v1/threads/{{thread}}/messages/{NO_MESSAGE}",
            body=body, status=404, answer=error(f"No message found with id '{NO_MESSAGE}'."),
        )
        for method, body in (("GET", None), ("POST", {}), ("DELETE", None))
    ),
    Row(
        cites="2.2 path id lacks prefix, of a message", method="GET", path="/v1/threads/{thread}/messages/1234",
        status=400,
        answer=error(
            "Invalid 'message_id': '1234'. Expected an ID that begins with 'msg'.", "invalid_value", "message_id"
        ),
    ),
)  # fmt: skip
async def test_calls(service: Service, row: Row):
    await service.hold(row)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_the_object_has_exactly_the_fields_of_the_specification(service: Service, method: str):
    """3.2: all of them required, in the recorded order, and behind them what no recording has; attachments, too."""
    there = await service.there()
    path = MESSAGE.format(**there)
    answer = await service.ask(method, path, {} if method == "POST" else None)
    assert list(answer.json()) == list(WHOLE)


async def test_all_messages_of_one_creation_share_one_time_and_keep_their_order(service: Service):
    """3.2 created_at; 3.3 sort key: ties keep insertion order, asc as asked and desc its reverse."""
    said = [str(number) for number in range(30)]
    made = await service.make(messages=[{"role": "user", "content": text} for text in said])
    path = f"{THREADS}/{made['id']}/messages"
    for order, texts in {"asc": said, "desc": said[::-1]}.items():
        data = (await service.ask("GET", f"{path}?order={order}&limit=100")).json()["data"]
        assert [message["content"][0]["text"]["value"] for message in data] == texts
        assert len({message["created_at"] for message in data}) == 1


@rows(
    Row(
        cites="1.4 role: user or assistant", path=MESSAGES, body={"role": "assistant", "content": "hi"},
        answer={"role": "assistant"},
    ),
    *(
        Row(
            cites=f"1.4 role: not {role}", path=MESSAGES, body={"role": role, "content": "hi"}, status=400,
            answer=error(
                f"Invalid value: '{role}'. Supported values are: 'user' and 'assistant'.", "invalid_value", "role"
            ),
        )
        for role in ("system", "developer", "tool", "")
    ),
    *(
        Row(
            cites=f"1.4 {name} is required", path=MESSAGES,
            body={key: value for key, value in HELLO.items() if key != name}, status=400,
            answer=error(f"Missing required parameter: '{name}'.", "missing_required_parameter", name),
        )
        for name in HELLO
    ),
    Row(
        cites="3.2 a string becomes one text part", path=MESSAGES, body={"role": "user", "content": "hi"},
        answer=wanted(TEXT),
    ),
    Row(
        cites="1.4 content, 256,000 characters", path=MESSAGES, body={"role": "user", "content": "線" * 256_000},
        answer=wanted({"type": "text", "text": {"value": "線" * 256_000, "annotations": []}}),
    ),
    Row(
        cites="1.4 content, one character more", path=MESSAGES, body={"role": "user", "content": "x" * 256_001},
        status=400,
        answer=error(
            "Invalid 'content': string too long. Expected a string with maximum length 256000, but got a string with "
            "length 256001 instead.", "string_above_max_length", "content",
        ),
    ),
    Row(cites="1.4 empty string content", path=MESSAGES, body={"role": "user", "content": ""}),
    Row(
        cites="1.4 content, an array of at least one part", path=MESSAGES, body={"role": "user", "content": []},
        status=400,
        answer=error(
            begins("Invalid 'content': empty array. Expected an array with minimum length 1, "),
            "empty_array", "content",
        ),
    ),
    Row(
        cites="1.4 part text: a string in the request, an object in the answer", path=MESSAGES,
        body=part(type="text", text="hi"), answer=wanted(TEXT),
    ),
    Row(
        cites="1.4 part image_file: detail is filled in", path=MESSAGES,
        body=part(type="image_file", image_file={"file_id": "file_1"}),
        answer=wanted({"type": "image_file", "image_file": {"file_id": "file_1", "detail": "auto"}}),
    ),
    *(
        Row(
            cites=f"1.4 part image_file: detail {detail}", path=MESSAGES,
            body=part(type="image_file", image_file={"file_id": "file_1", "detail": detail}),
            answer=wanted({"type": "image_file", "image_file": {"file_id": "file_1", "detail": detail}}),
        )
        for detail in ("auto", "low", "high")
    ),
    Row(
        cites="1.4 part image_file: no other detail", path=MESSAGES, status=400,
        body=part(type="image_file", image_file={"file_id": "file_1", "detail": "huge"}),
        answer=error(
            "Invalid value: 'huge'. Supported values are: 'auto', 'low', and 'high'.", "invalid_value",
            "content[0].image_file.detail",
        ),
    ),
    Row(
        cites="1.4 part image_url: the same", path=MESSAGES,
        body=part(type="image_url", image_url={"url": "https://pictures.example/a.png"}),
        answer=wanted({"type": "image_url", "image_url": {"url": "https://pictures.example/a.png", "detail": "auto"}}),
    ),
    Row(
        cites="1.4 no other part", path=MESSAGES, body=part(type="refusal", refusal="no"), status=400,
        answer={"error": {"code": "invalid_value", "param": "content[0].type"}},
    ),
    Row(cites="1.4 attachments: null", path=MESSAGES, body={**HELLO, "attachments": None}, answer={"attachments": []}),
    Row(
        cites="1.4 attachments", path=MESSAGES,
        body={**HELLO, "attachments": [{"file_id": "file_1", "tools": [CODE, SEARCH]}]},
        answer={"attachments": [{"file_id": "file_1", "tools": [CODE, SEARCH]}]},
    ),
    Row(
        cites="1.4 attachments: no other tool", path=MESSAGES, status=400,
        body={**HELLO, "attachments": [{"file_id": "file_1", "tools": [{"type": "browser"}]}]},
        answer={"error": {"code": "invalid_value", "param": "attachments[0].tools[0].type"}},
    ),
    Row(cites="1.4 metadata", path=MESSAGES, body={**HELLO, "metadata": {"k": "v"}}, answer={"metadata": {"k": "v"}}),
)  # fmt: skip
async def test_what_can_be_said(service: Service, row: Row):
    await service.hold(row)


async def test_an_attachment_becomes_one_of_the_threads_resources(service: Service):
    """1.4: attachments add the file to the thread's tool_resources."""
    there = await service.there()
    attached = {**HELLO, "attachments": [{"file_id": "file_1", "tools": [CODE]}]}
    await service.ask("POST", MESSAGES.format(**there), attached)
    found = (await service.ask("GET", f"{THREADS}/{there['thread']}")).json()
    assert found["tool_resources"] == {"code_interpreter": {"file_ids": ["file_1"]}}
    made = await service.make(messages=[attached])
    assert made["tool_resources"] == {"code_interpreter": {"file_ids": ["file_1"]}}


async def test_a_thread_has_no_runs(service: Service):
    """6: clients list runs to find out whether one is active."""
    there = await service.there()
    none = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    for query in ("", "?limit=1&order=asc&after=run_1&before=run_2"):
        assert (await service.ask("GET", f"{THREADS}/{there['thread']}/runs{query}")).json() == none
    refused = await service.ask("GET", f"{THREADS}/{there['thread']}/runs?limit=0")
    assert refused.json()["error"]["param"] == "limit"


async def pages(service: Service, path: str, **asked: object) -> list[list[str]]:
    """The texts of every page, got as the SDK gets them: the same query with ``after``, until there is no more."""
    found, after = [], None
    while True:
        said = {**asked, **({"after": after} if after else {})}
        page = (await service.ask("GET", f"{path}?" + "&".join(f"{key}={value}" for key, value in said.items()))).json()
        found.append([message["content"][0]["text"]["value"] for message in page["data"]])
        if not page["data"] or not page["has_more"]:
            return found
        after = page["last_id"]
        assert page["first_id"] == page["data"][0]["id"]
        assert after == page["data"][-1]["id"]


async def test_pages(service: Service):
    """3.3: limit default 20, order default desc, after and before alone and together, has_more, the envelope."""
    said = [str(number) for number in range(25)]
    made = await service.make(messages=[{"role": "user", "content": text} for text in said])
    path = f"{THREADS}/{made['id']}/messages"
    assert await pages(service, path) == [said[:4:-1], said[4::-1]]
    assert await pages(service, path, order="asc", limit=25) == [said]
    assert await pages(service, path, order="asc", limit=12) == [said[:12], said[12:24], said[24:]]
    assert await pages(service, path, limit=100) == [said[::-1]]

    data = (await service.ask("GET", f"{path}?order=asc&limit=100")).json()["data"]
    ids = [message["id"] for message in data]
    assert await pages(service, path, order="desc", before=ids[22], limit=100) == [["24", "23"]]
    assert await pages(service, path, order="asc", before=ids[9], after=ids[4], limit=100) == [["5", "6", "7", "8"]]
    assert await pages(service, path, order="desc", before=ids[4], after=ids[9], limit=100) == [["8", "7", "6", "5"]]
    assert await pages(service, path, order="asc", before=ids[4], after=ids[9], limit=100) == [[]]


async def test_before_alone_is_the_previous_page(service: Service):
    """3.3: before, in both orders, now and as of a moment; has_more says whether there is another page before it."""
    made = await service.make(messages=[{"role": "user", "content": str(number)} for number in range(1, 11)])
    path = f"{THREADS}/{made['id']}/messages"
    ids = [each["id"] for each in (await service.ask("GET", f"{path}?order=asc")).json()["data"]]
    for then in ("", "&as_of=1"):

        async def page(order: str, before: str, limit: int = 2, then: str = then) -> tuple[list[str], bool]:
            query = f"?order={order}&limit={limit}&before={before}{then}"
            said = (await service.ask("GET", path + query)).json()
            assert [said["first_id"], said["last_id"]] == [said["data"][0]["id"], said["data"][-1]["id"]]
            return [each["content"][0]["text"]["value"] for each in said["data"]], said["has_more"]

        assert await page("asc", ids[6]) == (["5", "6"], True)
        assert await page("asc", ids[4]) == (["3", "4"], True)
        assert await page("asc", ids[2]) == (["1", "2"], False)
        assert await page("desc", ids[3]) == (["6", "5"], True)
        assert await page("desc", ids[3], 100) == (["10", "9", "8", "7", "6", "5"], False)
    # The SDK goes on with `after` beside `before`, finds nothing between them, and stops.
    assert await pages(service, path, order="asc", before=ids[6], limit=2) == [["5", "6"], []]


@rows(
    Row(
        cites="3.3 an empty list", method="GET", path="/v1/threads/{thread}/messages?run_id=run_1",
        answer={"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False},
    ),
    Row(
        cites="3.3 order is asc or desc", method="GET", path=MESSAGES + "?order=up", status=400,
        answer=error("Invalid value: 'up'. Supported values are: 'asc' and 'desc'.", "invalid_value", "order"),
    ),
    *(
        Row(
            cites=f"3.3 unknown cursor id: {cursor}", method="GET", path=f"{MESSAGES}?{cursor}={NO_MESSAGE}",
            status=404, answer=error(f"No message found with id '{NO_MESSAGE}'."),
        )
        for cursor in ("after", "before")
    ),
    *(
        Row(cites=f"3.3 limit {limit}", method="GET", path=f"{MESSAGES}?limit={limit}", answer={"has_more": False})
        for limit in (1, 100)
    ),
)  # fmt: skip
async def test_parameters_of_a_page(service: Service, row: Row):
    await service.hold(row)


async def test_a_thread_without_messages_has_an_empty_page(service: Service):
    """3.3: empty."""
    made = await service.make()
    page = (await service.ask("GET", f"{THREADS}/{made['id']}/messages")).json()
    assert page == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


async def test_a_deleted_message_is_in_no_page_and_is_still_a_cursor(service: Service):
    """3.1: deleting, and what a client that is paging at that moment sees."""
    made = await service.make(messages=[{"role": "user", "content": str(number)} for number in range(5)])
    path = f"{THREADS}/{made['id']}/messages"
    ids = [message["id"] for message in (await service.ask("GET", f"{path}?order=asc")).json()["data"]]
    await service.ask("DELETE", f"{path}/{ids[2]}")
    assert await pages(service, path, order="asc", limit=2) == [["0", "1"], ["3", "4"]]
    assert await pages(service, path, order="asc", after=ids[2]) == [["3", "4"]]
    assert (await service.ask("GET", f"{path}/{ids[2]}")).status_code == 404
