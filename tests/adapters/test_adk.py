"""Google's ADK, as it is published, keeps its sessions in Clew."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from clew_adapters.conversation import conversation_id
from clew_events.client import Clew, connect
from clew_events.commands import AddItems
from clew_events.errors import Unavailable
from support.lost_answers import LossyClew

RunProgram = Callable[[str], Awaitable[list[str]]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", autouse=True)
def framework() -> None:
    """Import it where these tests run: every process collects them, and importing it takes seconds of a core."""
    pytest.importorskip("google.adk", reason="clew[adk] is not installed")

    from google.adk.agents import BaseAgent, InvocationContext
    from google.adk.errors._stale_session_error import StaleSessionError
    from google.adk.errors.already_exists_error import AlreadyExistsError
    from google.adk.errors.session_not_found_error import SessionNotFoundError
    from google.adk.events import Event, EventActions
    from google.adk.runners import Runner
    from google.adk.sessions import Session
    from google.adk.sessions.base_session_service import GetSessionConfig
    from google.genai import types

    from clew_adapters.adk import ClewSessionService

    class Counter(BaseAgent):
        """Counts what it was asked."""

        async def _run_async_impl(self, context: InvocationContext) -> AsyncGenerator[Event]:
            asked = context.session.state.get("asked", 0) + 1
            yield Event(
                author=self.name,
                invocation_id=context.invocation_id,
                content=types.Content(role="model", parts=[types.Part(text=str(asked))]),
                actions=EventActions(state_delta={"asked": asked}),
            )

    globals().update(locals())


@pytest.fixture
def app(request: pytest.FixtureRequest) -> str:
    """An app of its own for each test."""
    return request.node.name


@pytest.fixture
def service(clew: Clew) -> ClewSessionService:
    return ClewSessionService(clew)


def event(text: str = "", *, author: str = "user", **delta: object) -> Event:
    content = types.Content(role="user", parts=[types.Part(text=text)])
    return Event(
        author=author,
        content=content,
        invocation_id=f"of {text}",
        actions=EventActions(state_delta={key.replace("_of_", ":"): value for key, value in delta.items()}),
    )


async def load(service: ClewSessionService, session: Session, **config: Any) -> Session:
    found = await service.get_session(
        app_name=session.app_name, user_id=session.user_id, session_id=session.id, config=GetSessionConfig(**config)
    )
    assert found is not None
    return found


def texts(session: Session) -> list[str]:
    return [part.text or "" for each in session.events if each.content for part in each.content.parts or ()]


async def test_a_session_comes_back_value_for_value(service: ClewSessionService, app: str):
    state = {"n": 10**30, "f": 0.1, "none": None, "deep": {"a": [1, {"b": "é\u0000"}]}, "": "no name"}
    session = await service.create_session(app_name=app, user_id="ada", state=state)
    assert (session.state, session.events) == (state, [])
    parts = [
        types.Part(text="Where is it?", thought=True, thought_signature=b"\x00\xff"),
        types.Part(inline_data=types.Blob(data=bytes(range(256)), mime_type="image/png")),
        types.Part(function_call=types.FunctionCall(id="c1", name="track", args={"parcel": None, "n": [1.5, {}]})),
        types.Part(function_response=types.FunctionResponse(id="c1", name="track", response={"at": "sea"})),
        types.Part(executable_code=types.ExecutableCode(code="1", language=types.Language.PYTHON)),
    ]
    said = Event(
        author="clerk",
        content=types.Content(role="model", parts=parts),
        custom_metadata={"unknown": {"to": ["everybody", None]}},
        long_running_tool_ids={"c1"},
        actions=EventActions(state_delta={"n": 1}, artifact_delta={"file": 2}, escalate=True),
    )
    await service.append_event(session, said)
    assert await load(service, session) == session
    assert (await load(service, session)).events == [said]


@pytest.mark.parametrize("config", [{}, {"num_recent_events": 7}, {"num_recent_events": 0}])
async def test_however_little_is_loaded_events_are_in_order_and_the_state_is_whole(
    service: ClewSessionService, app: str, config: dict[str, int]
):
    session = await service.create_session(app_name=app, user_id="ada", state={"big": "x" * 3000, "user:a": 1})
    for number in range(120 if not config else 20):
        await service.append_event(session, event(str(number), last=number, **{f"at{number}": number}))
    loaded = await load(service, session, **config)
    wanted = config.get("num_recent_events", len(session.events))
    assert loaded.state == session.state
    assert texts(loaded) == texts(session)[len(session.events) - wanted :]
    assert loaded.last_update_time == session.events[-1].timestamp
    await service.append_event(loaded, event("goes on"))


async def test_state_is_stored_whole_no_more_often_than_it_is_long(clew: Clew, service: ClewSessionService, app: str):
    session = await service.create_session(app_name=app, user_id="ada", state={"big": "x" * 3000})
    for number in range(40):
        await service.append_event(session, event(str(number), last=number))
    thread = conversation_id("adk", "session", app, "ada", session.id)
    items = [json.loads(bytes(item)) async for item in clew.iter_items(thread)]
    events = [len(json.dumps(each["event"])) for each in items[1:]]
    states = [len(json.dumps(each["state"])) for each in items[1:] if "state" in each]
    assert 2 < len(states) < len(events) / 3
    assert sum(states) <= sum(events)
    assert (await service.list_sessions(app_name=app)).sessions[0].state == session.state


@pytest.mark.parametrize(
    "name", [" a b", "a.b>*", "ü/../..", "a:b", '["x"]', "\x00", "x" * 500], ids=lambda name: name[:5].encode().hex()
)
async def test_names_are_any_text_and_no_two_are_one_session(service: ClewSessionService, app: str, name: str):
    session = await service.create_session(app_name=app, user_id=name, session_id=f" {name} ", state={"user:is": name})
    assert session.id == name.strip()
    for user, other in ((name, f"{name}{name}"[:512] + "!"), (f"{name}!", name)):
        assert await service.get_session(app_name=app, user_id=user, session_id=other) is None
    assert [each.id for each in (await service.list_sessions(app_name=app, user_id=name)).sessions] == [session.id]
    assert await service.get_user_state(app_name=app, user_id=name) == {"is": name}
    with pytest.raises(AlreadyExistsError):
        await service.create_session(app_name=app, user_id=name, session_id=name)


async def test_sessions_are_listed_by_user_with_their_state_and_the_last_active_one_last(
    service: ClewSessionService, app: str
):
    for user, session_id in (("ada", "one"), ("bob", "two"), ("ada", "three"), ("", "four")):
        await service.create_session(
            app_name=app, user_id=user, session_id=session_id, state={"is": session_id, "app:last": session_id}
        )
    session = await service.get_session(app_name=app, user_id="ada", session_id="one")
    assert session is not None
    await service.append_event(session, event("later"))

    async def listed(**of: str) -> list[str]:
        found = (await service.list_sessions(app_name=app, **of)).sessions
        assert all(each.state == {"is": each.id, "app:last": "four"} and each.events == [] for each in found)
        return [each.id for each in found]

    assert await listed() == ["two", "three", "four", "one"]
    assert await listed(user_id="ada") == ["three", "one"]
    assert await listed(user_id="") == ["four"]
    await service.delete_session(app_name=app, user_id="ada", session_id="one")
    assert await listed(user_id="ada") == ["three"]


async def test_what_others_added_first_makes_a_session_object_stale(url: str, service: ClewSessionService, app: str):
    session = await service.create_session(app_name=app, user_id="ada")
    async with connect(url) as elsewhere:
        other = ClewSessionService(elsewhere)
        theirs = [await load(other, session), Session.model_validate((await load(other, session)).model_dump())]
        tried = await asyncio.gather(
            service.append_event(session, event("mine", app_of_by="me")),
            *(other.append_event(each, event("theirs", app_of_by="them")) for each in theirs),
            return_exceptions=True,
        )
    lost = [holder for holder, outcome in zip([session, *theirs], tried, strict=True) if isinstance(outcome, Exception)]
    assert len(lost) == 2
    assert all(isinstance(each, (Event, StaleSessionError)) for each in tried)
    kept = await load(service, session)
    assert len(kept.events) == 1
    with pytest.raises(StaleSessionError, match="modified in storage"):
        await service.append_event(lost[0], event("late", user_of_late=True))
    assert "user:late" not in (await load(service, session)).state
    await service.append_event(kept, event("in time"))


async def test_tasks_that_share_a_session_object_add_one_after_the_other(service: ClewSessionService, app: str):
    session = await service.create_session(app_name=app, user_id="ada")
    await asyncio.gather(*(service.append_event(session, event(str(n), **{f"n{n}": n})) for n in range(10)))
    kept = await load(service, session)
    assert texts(kept) == texts(session)
    assert kept.state == session.state == {f"n{n}": n for n in range(10)}


async def test_a_hold_or_a_label_on_a_session_makes_nobody_stale(clew: Clew, service: ClewSessionService, app: str):
    session = await service.create_session(app_name=app, user_id="ada")
    thread = conversation_id("adk", "session", app, "ada", session.id)
    await clew.place_hold(thread, "case-7")
    await clew.patch_metadata(thread, set={"label": "vip"})
    await service.append_event(session, event("goes on"))
    assert texts(await load(service, session)) == ["goes on"]


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("reload", ["loaded again", "without its place", "as it is"])
async def test_an_event_that_is_added_again_after_an_unknown_outcome_is_there_once(
    clew: Clew, app: str, arrives: bool, shared: bool, reload: str
):
    lossy = LossyClew(clew)
    service = ClewSessionService(lossy)
    session = await service.create_session(app_name=app, user_id="ada")
    said = event("once", n=1, temp_of_t=2, **({"user_of_x": 3} if shared else {}))
    lossy.after[AddItems] = shared
    lossy.lost[AddItems] = arrives
    with pytest.raises(Unavailable):
        await service.append_event(session, said)
    if reload == "loaded again":
        session = await load(service, session)
    elif reload == "without its place":
        session = Session.model_validate(session.model_dump())
    await service.append_event(session, said)
    await service.append_event(session, event("next"))
    assert texts(await load(service, session)) == texts(session) == ["once", "next"]
    assert (await load(service, session)).state == {"n": 1} | ({"user:x": 3} if shared else {})


async def test_shared_state_of_a_lost_event_is_written_once_though_others_wrote_since(clew: Clew, app: str):
    lossy = LossyClew(clew)
    service = ClewSessionService(lossy)
    session = await service.create_session(app_name=app, user_id="ada", state={"app:count": 0, "user:x": 0})
    said = event("mine", app_of_count=1, user_of_x=1)
    await service.append_event(session, event("before"))
    lossy.after[AddItems] = 2  # The state of the app and of the user is written, and then the event gets lost.
    lossy.lost[AddItems] = False
    with pytest.raises(Unavailable):
        await service.append_event(session, said)
    assert (await load(service, session)).state == {"app:count": 1, "user:x": 1}
    other = await service.create_session(app_name=app, user_id="bob", state={"app:count": 2})
    await service.append_event(session, said)
    kept = await load(service, session)
    assert (texts(kept), kept.state) == (["before", "mine"], {"app:count": 2, "user:x": 1})
    assert (await load(service, other)).state == {"app:count": 2}


async def test_shared_state_that_was_deleted_or_erased_begins_anew(clew: Clew, service: ClewSessionService, app: str):
    session = await service.create_session(app_name=app, user_id="ada", state={"app:a": 0, "user:a": 0})
    for turn, (end_app, end_user) in enumerate(
        [(clew.delete_thread, clew.erase_thread), (clew.erase_thread, clew.delete_thread)], start=1
    ):
        later = [str(turn - 1)] if turn > 1 else []
        await end_app(conversation_id("adk", "app", app, *later))
        await end_user(conversation_id("adk", "user", app, "ada", *later))
        assert (await load(service, session)).state == {}
        await service.append_event(session, event("again", app_of_b=turn, user_of_b=turn))
        assert (await load(service, session)).state == {"app:b": turn, "user:b": turn}
    assert texts(await load(service, session)) == ["again", "again"]


async def test_events_that_share_an_id_are_both_stored(service: ClewSessionService, app: str):
    session = await service.create_session(app_name=app, user_id="ada")
    for author in ("user", "clerk"):
        await service.append_event(session, Event(id="one", author=author))
    assert [each.author for each in (await load(service, session)).events] == ["user", "clerk"]


async def test_what_is_partial_or_temporary_is_not_stored(service: ClewSessionService, app: str):
    session = await service.create_session(app_name=app, user_id="ada", state={"temp:a": 1, "b": 2})
    await service.append_event(session, Event(author="user", partial=True, actions=EventActions(state_delta={"c": 3})))
    await service.append_event(session, event("said", temp_of_d=4))
    assert session.state == {"b": 2, "temp:d": 4}
    kept = await load(service, session)
    assert (kept.state, [each.actions.state_delta for each in kept.events]) == ({"b": 2}, [{}])


async def test_a_deleted_session_is_gone_and_its_id_with_it(service: ClewSessionService, app: str):
    session = await service.create_session(app_name=app, user_id="ada", session_id="one")
    for _ in range(2):
        await service.delete_session(app_name=app, user_id="ada", session_id="one")
    assert await service.get_session(app_name=app, user_id="ada", session_id="one") is None
    with pytest.raises(SessionNotFoundError):
        await service.append_event(session, event("late"))
    with pytest.raises(AlreadyExistsError):
        await service.create_session(app_name=app, user_id="ada", session_id="one")


async def test_without_the_key_nobody_finds_a_session_by_its_names(clew: Clew, app: str):
    session = await ClewSessionService(clew, id_key=b"secret").create_session(app_name=app, user_id="ada")
    assert await load(ClewSessionService(clew, id_key=b"secret"), session) == session
    other = ClewSessionService(clew)
    assert await other.get_session(app_name=app, user_id="ada", session_id=session.id) is None


async def test_a_runner_goes_on_where_it_was_and_rewinds(service: ClewSessionService, app: str):
    runner = Runner(app_name="counting", agent=Counter(name="counter"), session_service=service)
    session = await service.create_session(app_name="counting", user_id=app)

    async def ask(text: str) -> Event:
        message = types.Content(role="user", parts=[types.Part(text=text)])
        said = [each async for each in runner.run_async(user_id=app, session_id=session.id, new_message=message)]
        return said[-1]

    await ask("one")
    second = await ask("two")
    assert texts(await load(service, session)) == ["one", "1", "two", "2"]
    await runner.rewind_async(user_id=app, session_id=session.id, rewind_before_invocation_id=second.invocation_id)
    assert (await load(service, session)).state == {"asked": 1}
    assert texts(await load(service, session))[:4] == ["one", "1", "two", "2"]
    assert (await ask("other")).content == types.Content(role="model", parts=[types.Part(text="2")])
    assert time.time() >= (await load(service, session)).last_update_time


async def test_the_program_of_the_guide_runs(run_program: RunProgram):
    assert await run_program("with_adk") == [
        "clerk You asked 1 times.",
        "clerk You asked 2 times.",
        "4 events, {'asked': 2, 'user:language': 'en'}",
    ]
