"""Where Clew does more than OpenAI did: versions, patches, and requests that happen once, however often sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from support.api import GLOBEX
from support.rows import HELLO, MESSAGE, MESSAGES, THREAD, THREADS, Row, Service, begins, error, rows

pytestmark = pytest.mark.asyncio(loop_scope="module")

Lines = Mapping[str, str] | Sequence[tuple[str, str]]

PATCH = {"metadata": {"set": {"a": "1"}}}


async def test_a_threads_etag_is_its_version(service: Service):
    made = await service.ask("POST", THREADS)
    path = f"{THREADS}/{made.json()['id']}"
    tags = [made.headers["etag"]]
    for value in ("1", "2", "2"):
        modified = await service.ask("POST", path, {"metadata": {"a": value}})
        tags.append(modified.headers["etag"])
    assert tags == ['"1"', '"2"', '"3"', '"3"']
    await service.ask("POST", f"{path}/messages", HELLO)
    assert (await service.ask("GET", path)).headers["etag"] == '"4"'


async def test_who_has_the_latest_version_is_not_sent_it_again(service: Service):
    path = f"{THREADS}/{(await service.make())['id']}"
    for tag in ('"1"', 'W/"1"', '"7", "1"', "*"):
        known = await service.ask("GET", path, headers={"If-None-Match": tag})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", '"1"')
    await service.ask("POST", path, {"metadata": {"a": "1"}})
    assert (await service.ask("GET", path, headers={"If-None-Match": '"1"'})).status_code == 200


CHANGES = (
    ("POST", THREAD, {"metadata": {"a": "1"}}),
    ("PATCH", THREAD, PATCH),
    ("DELETE", THREAD, None),
    ("POST", MESSAGES, HELLO),
    ("POST", MESSAGE, {"metadata": {"a": "1"}}),
    ("PATCH", MESSAGE, PATCH),
    ("DELETE", MESSAGE, None),
)


@pytest.mark.parametrize(("method", "path", "body"), CHANGES, ids=[f"{method} {path}" for method, path, _ in CHANGES])
async def test_every_change_can_be_made_to_depend_on_a_version(service: Service, method: str, path: str, body: object):
    there = await service.there()
    path = path.format(**there)
    stale = await service.ask(method, path, body, headers={"If-Match": '"7"'})
    assert (stale.status_code, stale.headers["x-should-retry"]) == (412, "false")
    assert stale.json() == error(f"thread '{there['thread']}' is at version 1, not 7", "version_conflict", "If-Match")
    assert (await service.ask(method, path, body, headers={"If-Match": '"1"'})).status_code == 200


HELD: tuple[Lines, ...] = (
    {"If-Match": '"1"'}, {"If-Match": "*"}, {"If-Match": '"7", "1"'}, {"If-Match": ' "x,y" ,, "1" '},
    [("If-Match", '"7"'), ("If-Match", '"1"')], {"If-None-Match": '"7"'}, {"If-None-Match": 'W/"7", "8"'},
    {"If-Match": '"1"', "If-None-Match": '"7"'},
)  # fmt: skip
NOT_HELD: tuple[Lines, ...] = (
    {"If-Match": '"7"'}, {"If-Match": '"x"'}, {"If-Match": 'W/"1"'}, {"If-Match": '"01"'}, {"If-Match": '"7", W/"1"'},
    {"If-Match": '"99999999999999999999"'}, [("If-Match", '"7"'), ("If-Match", '"8"')], {"If-None-Match": "*"},
    {"If-None-Match": '"1"'}, {"If-None-Match": 'W/"1"'}, [("If-None-Match", '"7"'), ("If-None-Match", '"1"')],
    {"If-Match": "*", "If-None-Match": '"1"'},
)  # fmt: skip


async def test_conditions_hold_as_http_says(service: Service):
    """RFC 9110, 13.1.1 and 13.1.2: lists, weak tags, header lines that are one list, and `*`."""
    path = f"{THREADS}/{(await service.make())['id']}"
    for lines in HELD:
        for method, body in (("POST", {}), ("PATCH", {"metadata": {}}), ("GET", None), ("HEAD", None)):
            held = await service.ask(method, path, body, headers=lines)
            assert (held.status_code, held.headers["etag"]) == (200, '"1"'), (method, lines, held.text)
    for lines in NOT_HELD:
        for method, body in (("POST", {"metadata": {"a": "1"}}), ("PATCH", PATCH), ("DELETE", None)):
            refused = await service.ask(method, path, body, headers=lines)
            assert refused.status_code == 412, (method, lines, refused.text)
            assert refused.json()["error"]["code"] == "version_conflict"
            assert refused.json()["error"]["param"] in dict(lines)
        for method in ("GET", "HEAD"):
            refused = await service.ask(method, path, headers=lines)
            known = "If-None-Match" in dict(lines)
            assert refused.status_code == (304 if known else 412), (method, lines)
            assert refused.headers.get("etag") == ('"1"' if known else None)
    assert (await service.ask("GET", path)).headers["etag"] == '"1"'


@pytest.mark.parametrize("tag", ["1", '"1', '"1" "2"', '"1"x', 'w/"1"', '*, "1"', '"a b"', ""])
async def test_a_condition_that_is_none_is_refused(service: Service, tag: str):
    there = await service.there()
    for name in ("If-Match", "If-None-Match"):
        for method, path, body in (*CHANGES, ("GET", THREAD, None), ("GET", "/v1/checkpoints", None)):
            refused = await service.ask(method, path.format(**there), body, headers={name: tag})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, name), (method, path)


async def test_what_would_fail_without_a_condition_fails_alike_with_one(service: Service):
    """RFC 9110, 13.2.1: a thread that is not there is 404, not 412, and so is what a rule refuses."""
    there = await service.there()
    nowhere = "thread_" + "0" * 24
    theirs = {"Authorization": f"Bearer {GLOBEX}"}
    for stale in ({"If-Match": '"7"'}, {"If-None-Match": "*"}, {"If-Match": "*"}):
        for method, path, body in (*CHANGES, ("GET", THREAD, None), ("GET", MESSAGES, None), ("GET", MESSAGE, None)):
            for thread in (nowhere, there["gone"]):
                asked = path.format(thread=thread, message=there["message"])
                missing = await service.ask(method, asked, body, headers=stale)
                assert (missing.status_code, nowhere in missing.text or there["gone"] in missing.text) == (404, True)
            missing = await service.ask(method, path.format(**there), body, headers={**stale, **theirs})
            assert missing.status_code == 404, (method, path, stale)
            if path == MESSAGE:
                asked = path.format(thread=there["thread"], message="msg_" + "0" * 24)
                assert (await service.ask(method, asked, body, headers=stale)).status_code == 404
        too_much = {"metadata": {"set": {str(n): "v" for n in range(17)}}}
        for path in (THREAD, MESSAGE):
            refused = await service.ask("PATCH", path.format(**there), too_much, headers=stale)
            assert refused.status_code == 400
        full = f"{THREADS}/{(await service.make(metadata={str(n): 'v' for n in range(16)}))['id']}"
        assert (await service.ask("PATCH", full, PATCH, headers=stale)).status_code == 400


async def test_creating_a_thread_depends_on_no_version(service: Service):
    """`If-None-Match: *` is what a client says that means to create; the list of threads itself has no tag."""
    for lines in ({"If-None-Match": "*"}, {"If-None-Match": '"1"'}, {"If-Match": "*"}):
        assert (await service.ask("POST", THREADS, {}, headers=lines)).status_code == 200
    for tag in ('"0"', '"1"', 'W/"1"'):
        assert (await service.ask("POST", THREADS, {}, headers={"If-Match": tag})).status_code == 412


async def test_messages_are_tagged_with_the_version_of_their_thread(service: Service):
    there = await service.there()
    messages, message = MESSAGES.format(**there), MESSAGE.format(**there)
    added = await service.ask("POST", messages, HELLO)
    assert added.headers["etag"] == '"2"'
    for path in (messages, message):
        shown = await service.ask("GET", path)
        assert shown.headers["etag"] == '"2"'
        known = await service.ask("GET", path, headers={"If-None-Match": '"2"'})
        assert (known.status_code, known.content) == (304, b"")
        assert (await service.ask("GET", path, headers={"If-Match": '"1"'})).status_code == 412
    changed = await service.ask("PATCH", message, PATCH, headers={"If-Match": added.headers["etag"]})
    assert changed.headers["etag"] == '"3"'
    # What has no tag is there all the same.
    for path in ("/v1/events", f"{THREAD.format(**there)}/events", "/v1/checkpoints", "/openapi.json"):
        assert (await service.ask("GET", path, headers={"If-Match": '"1"'})).status_code == 412
        assert (await service.ask("GET", path, headers={"If-None-Match": "*"})).status_code == 304
        assert (await service.ask("GET", path, headers={"If-Match": "x"})).status_code == 400
        assert (await service.ask("GET", path, headers={"If-Match": "*", "If-None-Match": '"1"'})).status_code == 200


async def test_of_many_who_decided_on_one_version_one_gets_through(service: Service):
    path = f"{THREADS}/{(await service.make())['id']}"
    answers = await asyncio.gather(
        *(service.ask("POST", path, {"metadata": {"n": str(n)}}, headers={"If-Match": '"1"'}) for n in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19


@rows(
    Row(
        cites="PATCH sets and unsets", method="PATCH", path=THREAD,
        body={"metadata": {"set": {"a": "1"}, "unset": ["b"]}}, answer={"metadata": {"a": "1"}},
        answered={"etag": '"2"'},
    ),
    Row(cites="PATCH of a message", method="PATCH", path=MESSAGE, body=PATCH, answer={"metadata": {"a": "1"}}),
    Row(cites="PATCH of nothing", method="PATCH", path=THREAD, body={"metadata": {}}, answered={"etag": '"1"'}),
    Row(
        cites="PATCH without metadata", method="PATCH", path=THREAD, body={}, status=400,
        answer=error("Missing required parameter: 'metadata'.", "missing_required_parameter", "metadata"),
    ),
    Row(
        cites="PATCH of a value that is no string", method="PATCH", path=THREAD, body={"metadata": {"set": {"a": 1}}},
        status=400,
        answer=error(
            "Invalid type for 'metadata.set.a': expected a string, but got an integer instead.", "invalid_type",
            "metadata.set.a",
        ),
    ),
    Row(
        cites="PATCH with what PATCH does not know", method="PATCH", path=THREAD, body={"metadata": {"a": "1"}},
        status=400, answer=error("Unknown parameter: 'metadata.a'.", "unknown_parameter", "metadata.a"),
    ),
)  # fmt: skip
async def test_patches(service: Service, row: Row):
    await service.hold(row)


async def test_a_patch_may_not_fill_metadata_beyond_its_limit(service: Service):
    path = f"{THREADS}/{(await service.make(metadata={str(n): 'v' for n in range(16)}))['id']}"
    row = Row(
        cites="", method="PATCH", path=path, body=PATCH, status=400,
        answer=error(begins("Invalid 'metadata': too many properties."), "object_above_max_properties", "metadata"),
    )  # fmt: skip
    await service.hold(row)
    swapped = {"metadata": {"set": {"a": "1"}, "unset": ["0"]}}
    assert (await service.ask("PATCH", path, swapped)).status_code == 200


async def test_patches_of_different_keys_never_undo_each_other(service: Service):
    path = f"{THREADS}/{(await service.make())['id']}"
    patches = [{"metadata": {"set": {str(number): "x"}}} for number in range(16)]
    assert {each.status_code for each in await asyncio.gather(*(service.ask("PATCH", path, p) for p in patches))} == {
        200
    }
    assert (await service.ask("GET", path)).json()["metadata"] == {str(number): "x" for number in range(16)}


@pytest.mark.parametrize(("method", "path", "body"), CHANGES, ids=[f"{method} {path}" for method, path, _ in CHANGES])
async def test_the_same_key_and_body_get_the_same_answer(service: Service, method: str, path: str, body: object):
    there = await service.there()
    path, once = path.format(**there), {"Idempotency-Key": "order-7"}
    first = await service.ask(method, path, body, headers=once)
    assert first.status_code == 200
    if method != "DELETE":
        await service.ask("POST", MESSAGES.format(**there), HELLO)
        await service.ask("POST", THREAD.format(**there), {"metadata": {"later": "1"}})
    again = await service.ask(method, path, body, headers=once)
    assert (again.status_code, again.text, again.headers.get("etag")) == (200, first.text, first.headers.get("etag"))


async def test_a_creation_is_answered_the_same_for_ever(service: Service):
    once = {"Idempotency-Key": "create-for-ever"}
    first = await service.ask("POST", THREADS, {"metadata": {"a": "1"}}, headers=once)
    path = f"{THREADS}/{first.json()['id']}"
    for number in range(120):
        await service.ask("POST", path, {"metadata": {"n": str(number)}})
    again = await service.ask("POST", THREADS, {"metadata": {"a": "1"}}, headers=once)
    assert (again.status_code, again.text) == (200, first.text)


async def test_a_hundred_commits_later_a_key_is_still_known(service: Service):
    there = await service.there()
    path, once = MESSAGES.format(**there), {"Idempotency-Key": "message-1"}
    first = await service.ask("POST", path, HELLO, headers=once)
    for number in range(99):
        await service.ask("POST", THREAD.format(**there), {"metadata": {"n": str(number)}})
    again = await service.ask("POST", path, HELLO, headers=once)
    assert (again.status_code, again.text) == (200, first.text)
    assert len((await service.ask("GET", path)).json()["data"]) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((THREADS, {"metadata": {"a": "1"}}), (THREADS, {"metadata": {"a": "2"}})),
        ((MESSAGES, HELLO), (MESSAGES, {**HELLO, "content": "other"})),
        ((THREAD, {"metadata": {"a": "1"}}), (THREAD, {"metadata": {"a": "2"}})),
        ((THREAD, {"metadata": {"a": "1"}}), (MESSAGES, HELLO)),
    ],
    ids=["creating", "adding", "modifying", "something else of the thread"],
)
async def test_the_same_key_for_something_else_is_refused(
    service: Service, first: tuple[str, object], second: tuple[str, object], request: pytest.FixtureRequest
):
    there = await service.there()
    key = f"spent-on-{request.node.callspec.id.replace(' ', '-')}"
    for (path, body), status in ((first, 200), (second, 409)):
        answer = await service.ask("POST", path.format(**there), body, headers={"Idempotency-Key": key})
        assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == "command_id_reused"
    assert answer.json()["error"]["param"] == "Idempotency-Key"
    assert key in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"


async def test_a_key_is_a_threads_own(service: Service):
    once = {"Idempotency-Key": "the-same-for-both"}
    ones = [await service.there() for _ in range(2)]
    said = [(await service.ask("POST", MESSAGES.format(**there), HELLO, headers=once)).json() for there in ones]
    assert [message["thread_id"] for message in said] == [there["thread"] for there in ones]
    assert said[0]["id"] != said[1]["id"]


async def test_of_many_at_once_with_one_key_all_get_one_thread(service: Service):
    once = {"Idempotency-Key": "fifty-at-once"}
    answers = await asyncio.gather(*(service.ask("POST", THREADS, {}, headers=once) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
