"""Lists and searches over a thousand and a million threads: ``python -m bench.listing --data DIR``.

Fills index files directly, without a log, and asks each question of all of them in turn, so that what is compared was
measured in the same minute. The files stay in the folder, and are not made again.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import click
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from clew_events.commit import FORMAT, Commit, Position, Recorded
from clew_events.content import Message, Role, Text, ToolResources
from clew_events.events import Event, ItemAdded, ThreadCreated
from clew_events.ids import derive_id, item_id
from clew_events.list_query import ActorTest, Condition, IdTest, ListThreads, MetadataTest, NumberTest
from clew_events.subjects import shard_of
from clew_projections.index import IndexReader, open_for_reading, open_for_writing

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 2_000
TENANT = "acme"
SYLLABLES = ("ka", "lo", "mi", "ren", "tu", "sa", "vor", "ne", "pil", "dra", "go", "fi", "hun", "qe", "zo", "ba")
VOCABULARY = tuple(a + b + c for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES)


def word(chance: Random) -> str:
    """A word of 4096, as often as words are: the n-th most frequent with a weight of about 1/n."""
    return VOCABULARY[int(math.exp(chance.random() * math.log(len(VOCABULARY)))) - 1]


def commits(threads: int) -> Iterator[Recorded]:
    """A commit for each thread, which makes it with two or three messages; one in twenty belongs to another tenant."""
    chance = Random(1)
    for number in range(threads):
        tenant = TENANT if number % 20 else "globex"
        thread = derive_id("thread_", tenant, str(number))
        metadata = {
            "customer": str(chance.randrange(max(1, threads // 5))),
            "plan": chance.choices(("free", "silver", "gold"), (90, 9, 1))[0],
            **({"region": chance.choice(("eu", "us", "asia"))} if chance.random() < 0.5 else {}),
        }
        events: list[Event] = [ThreadCreated(metadata=metadata, tool_resources=ToolResources())]
        for ordinal in range(1, 3 + chance.randrange(2)):
            text = " ".join(word(chance) for _ in range(chance.randrange(5, 40)))
            role: Role = "user" if ordinal % 2 else "assistant"
            made = Message(role=role, content=(Text(text),), metadata={})
            events.append(ItemAdded(item=item_id(ordinal, thread), ordinal=ordinal, message=made))
        at = BEGIN + timedelta(seconds=number * 10, microseconds=chance.randrange(10**6))
        commit = Commit(
            v=FORMAT,
            id=f"cmd_{number}",
            tenant=tenant,
            thread=thread,
            n=1,
            at=at,
            actor=f"agent-{chance.randrange(50)}",
            by="nats",
            command="CreateThread",
            prev=None,
            events=tuple(events),
        )
        yield Recorded(commit, Position(shard_of(thread, 4), number + 1), derive_id("", thread))


def filled(path: Path, threads: int) -> str:
    """Make the file if it is not there; how long that took."""
    if path.exists():
        return "was there"
    writer = open_for_writing(path.with_suffix(".part"))
    batch: list[Recorded] = []
    spent = 0.0
    for each in commits(threads):
        batch.append(each)
        if len(batch) == BATCH or each.position.seq == threads:
            started = time.perf_counter()
            writer.apply(batch, dict.fromkeys(range(4), each.position.seq))
            spent += time.perf_counter() - started
            batch.clear()
    writer.close()
    path.with_suffix(".part").rename(path)
    return f"{threads / spent:,.0f} commits/s"


def eq(key: str, value: str) -> Condition:
    """Threads with a value."""
    return Condition(metadata=MetadataTest(key=key, eq=value))


QUESTIONS: dict[str, ListThreads] = {
    "list by created": ListThreads(),
    "list by updated": ListThreads(order_by="updated"),
    "plan = gold (1 %)": ListThreads(where=eq("plan", "gold")),
    "plan = free (90 %), updated": ListThreads(where=eq("plan", "free"), order_by="updated"),
    "customer = 7 (5 threads)": ListThreads(where=eq("customer", "7")),
    "gold and eu": ListThreads(where=Condition(every=(eq("plan", "gold"), eq("region", "eu")))),
    "gold or silver": ListThreads(where=Condition(some=(eq("plan", "gold"), eq("plan", "silver")))),
    "not free": ListThreads(where=Condition(no=eq("plan", "free"))),
    "region exists": ListThreads(where=Condition(metadata=MetadataTest(key="region", exists=True))),
    "customer prefix": ListThreads(where=Condition(metadata=MetadataTest(key="customer", prefix="12"))),
    "customer < 10, as numbers": ListThreads(where=Condition(metadata=MetadataTest(key="customer", lt=10.0))),
    "created by agent-7": ListThreads(where=Condition(created_by=ActorTest(eq="agent-7"))),
    "3 messages or more": ListThreads(where=Condition(messages=NumberTest(gte=3))),
    "id begins with": ListThreads(where=Condition(id=IdTest(prefix=derive_id("thread_", TENANT, "7")[:12]))),
    "count": ListThreads(count=True),
    "count of gold": ListThreads(where=eq("plan", "gold"), count=True),
    "facets plan, customer": ListThreads(facets=("plan", "customer")),
    "search, most frequent word": ListThreads(search=VOCABULARY[0]),
    "search, 100th word": ListThreads(search=VOCABULARY[99]),
    "search, rarest word": ListThreads(search=VOCABULARY[-1]),
    "search, two words": ListThreads(search=f"{VOCABULARY[9]} {VOCABULARY[59]}"),
    "search among gold": ListThreads(search=VOCABULARY[9], where=eq("plan", "gold")),
    "search, customer = 7": ListThreads(search=VOCABULARY[0], where=eq("customer", "7")),
}


def milliseconds(readers: dict[int, IndexReader], query: ListThreads, rounds: int) -> dict[int, float]:
    """The median time of an answer, by number of threads."""
    times: dict[int, list[float]] = {threads: [] for threads in readers}
    for _ in range(rounds):
        for threads, reader in readers.items():
            started = time.perf_counter()
            reader.list(TENANT, query)
            times[threads].append((time.perf_counter() - started) * 1000)
    return {threads: statistics.median(each) for threads, each in times.items()}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Where the files are, or are made.")
@click.option("--threads", "sizes", type=int, multiple=True, default=(1_000, 1_000_000), show_default=True)
@click.option("--rounds", default=25, show_default=True)
def main(*, data: Path, sizes: tuple[int, ...], rounds: int) -> None:
    """Measure every question over files of several sizes."""
    data.mkdir(parents=True, exist_ok=True)
    table = Table("question", *(f"{size:,} threads, ms" for size in sizes), "ratio", "page two, ms", box=None)
    readers = {}
    for size in sizes:
        path = data / f"index-{size}.db"
        took = filled(path, size)
        click.echo(f"{size:,} threads: {took}, {path.stat().st_size / 1e6:,.0f} MB")
        readers[size] = open_for_reading(path)
    for name, query in QUESTIONS.items():
        found = milliseconds(readers, query, rounds)
        following = readers[sizes[-1]].list(TENANT, query).next
        second = milliseconds({sizes[-1]: readers[sizes[-1]]}, replace(query, after=following), rounds)
        cells = [f"{each:.2f}" for each in found.values()]
        table.add_row(name, *cells, f"{found[sizes[-1]] / found[sizes[0]]:.2f}", f"{second[sizes[-1]]:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
