"""The load generator and the order of turns, against servers and contenders of the tests' own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from bench.peers.contender import About, Contender, Place
from bench.peers.http_load import Load, Request
from bench.peers.measuring import Run
from bench.peers.processes import CannotRace
from bench.peers.race import Plan, race

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Oh\r\ncontent-length: 5\r\n\r\nsorry"


@contextlib.asynccontextmanager
async def answering(*answers: bytes, pieces: int = 1 << 20) -> AsyncIterator[int]:
    """A server that gives these answers in turn, in pieces; an empty one hangs up. Its port."""
    turn = 0
    open_ones: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        open_ones.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                answer = answers[turn % len(answers)]
                turn += 1
                if not answer:
                    break
                for start in range(0, len(answer), pieces):
                    writer.write(answer[start : start + pieces])
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in open_ones:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def loaded(port: int, request: Request, count: int = 40) -> tuple[Run, list[bytes]]:
    load = Load("127.0.0.1", port, lambda _: request, keep=True)
    return await load.run(4, count=count), load.bodies


GET = b"GET / HTTP/1.1\r\n\r\n"


async def test_every_kind_of_answer_is_read_to_its_end_however_it_comes() -> None:
    async with answering(PLAIN, CHUNKED, pieces=7) as port:
        run, bodies = await loaded(port, Request(GET, b"hello"))
    assert (run.count, run.failed, run.unfinished) == (40, 0, 0)
    assert len(run.latencies) == len(bodies) == 40
    assert all(b"hello" in body for body in bodies)


async def test_an_answer_without_a_body_is_an_answer() -> None:
    async with answering(EMPTY) as port:
        run, _ = await loaded(port, Request(GET, b""))
    assert run.count == 40


async def test_an_error_is_counted_as_a_failure_and_kept_in_words() -> None:
    async with answering(PLAIN, BROKEN) as port:
        run, _ = await loaded(port, Request(GET, b"hello"))
    assert (run.count, run.failed) == (20, 20)
    assert run.failure == "HTTP 500: sorry"


async def test_a_success_that_does_not_hold_what_was_asked_for_is_a_failure() -> None:
    async with answering(PLAIN) as port:
        wrong, _ = await loaded(port, Request(GET, b"goodbye"))
        too_few, _ = await loaded(port, Request(GET, b"hello", 2))
    assert wrong.count == too_few.count == 0
    assert wrong.failed == too_few.failed == 40


async def test_a_connection_that_is_closed_instead_of_an_answer_is_a_failure_and_ends_nothing() -> None:
    async with answering(PLAIN, b"") as port:
        run, _ = await asyncio.wait_for(loaded(port, Request(GET, b"hello")), 20)
    assert run.failed == 4  # each of the four connections met it once
    assert run.unfinished == 0


class Noting:
    """A contender's operations that only note who was asked."""

    lanes = frozenset({"get", "create"})

    def __init__(self, name: str, asked: list[str]) -> None:
        self._name = name
        self._asked = asked

    async def fill(self, count: int) -> Run:
        if self._name == "broken":
            raise CannotRace("it takes nothing")
        return Run(count=count, elapsed=1.0)

    async def run(self, lane: str, workers: int, seconds: float) -> Run:
        if seconds == 1.0:
            self._asked.append(f"{lane} {self._name}")
        return Run(count=10, elapsed=1.0, latencies=[1000] * 10)


async def test_contenders_take_turns_and_another_begins_each_round(tmp_path: Path) -> None:
    asked: list[str] = []

    def entry(name: str):
        async def enter(place: Place, stack: contextlib.AsyncExitStack) -> Contender:
            if name == "absent":
                raise CannotRace("not here")
            about = About(name=name, version="", durable=True, stored="")
            return Contender(about, Noting(name, asked), ())

        return enter

    names = ("one", "two", "absent", "broken")
    plan = Plan(seconds=1.0, rounds=2, few=5, many=5)
    told: list[str] = []
    result = await race({name: entry(name) for name in names}, Place(tmp_path, tmp_path), plan, told.append)
    assert asked[:4] == ["get one", "get two", "get two", "get one"]
    assert result.skipped == {"absent": "not here", "broken": "it takes nothing"}
    stored = {each.contender: each.stored for each in result.figures if each.lane == "create"}
    assert stored == {"one": 5 + 2 * 20, "two": 5 + 2 * 20}
    assert any("absent" in line for line in told)
