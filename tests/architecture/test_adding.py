"""What it takes to add something: added to a scratch copy, where mypy and the tests name every place.

A command with its event, a query, a column of the index and a setting, all at once, for each run of mypy takes seconds.
``DECLARED`` is what somebody writes who has an idea; ``ASKED_FOR`` is what the checks then ask for, file by file, and
nothing else is needed. The recipes in the documents are these. A file that the two do not name is found by no check.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from clew_projections.index import INDEX_FORMAT

ROOT = Path(__file__).parents[2]
PACKAGES = ("events", "projections", "services")
COPIED = (*PACKAGES, "bench", "docs", "infra/nats", "tests")
TESTS = (
    "architecture/test_events.py",
    "architecture/test_map.py",
    "unit/test_client_methods.py",
    "unit/test_index.py",
    "contract/test_exported_contract.py",
    "golden",
)
ABOUT_ALL = (
    "types_say or has_examples or without_its_type or subject_and_its_answer or test_events or golden "
    "or client_methods or every_setting or query_of_its_scope or other_tables"
)
Change = tuple[str, str]
"""A text in a file, and what takes its place."""

EVENTS, COMMANDS = "events/clew_events/events.py", "events/clew_events/commands.py"
QUERIES, LISTS = "events/clew_events/queries.py", "events/clew_events/list_query.py"
EXAMPLES = "events/clew_events/contract/examples.py"
OPERATIONS, SYNC = "events/clew_events/operations.py", "events/clew_events/client/sync.py"
CLIENT, CLIENT_QUERIES = "events/clew_events/client/command_methods.py", "events/clew_events/client/query_methods.py"
FOLD, BLAME = "projections/clew_projections/fold.py", "projections/clew_projections/audit/blame.py"
INDEX = "projections/clew_projections/index/writer.py"
ROWS, TABLES = "projections/clew_projections/index/rows.py", "projections/clew_projections/index/tables.py"
DECIDE, READER = "services/clew_services/threads/decide.py", "services/clew_services/queries/reader.py"
SETTINGS, GUIDE = "services/clew_services/settings.py", "docs/operating/settings.md"
ACCOUNTS, INDEX_TEST = "infra/nats/accounts.conf", "tests/unit/test_index.py"

EVENT = '''@final
class ThreadPinned(ThreadEvent, frozen=True, tag_field="type", tag="ThreadPinned"):
    """The thread was put before all others."""

    effect: ClassVar[Effect] = "changes"

    note: Content[str]


'''
COMMAND = '''@final
class PinThread(ThreadCommand, frozen=True, kw_only=True):
    """Put a thread before all others."""

    named: ClassVar[str] = "PinThread"

    thread_id: ThreadId
    note: str


'''
OPERATION = '    Operation(name="pin_thread", scope="write", command=PinThread, reply=Reply[Done]),\n'
METHOD = """    async def pin_thread(
        self, thread_id: str, note: str, *, expected_version: int | None = None, command_id: str | None = None,
        reason: str | None = None
    ) -> ThreadDone:
        \"\"\"Put a thread before all others.\"\"\"
        command = PinThread(
            id=command_id, reason=reason, thread_id=thread_id, note=note, expected_version=expected_version
        )
        return await self._execute(command, ThreadDone)

"""
DECISION = """        case PinThread():
            return (ThreadPinned(note=command.note),)
"""
QUERY = '''class PeekThread(Request, frozen=True, kw_only=True):
    """A thread as it was a moment ago."""

    thread_id: ThreadId


'''
ASKED = '    Operation(name="peek_thread", scope="read", query=PeekThread, reply=Reply[Found]),\n'
ASKING = '''    async def peek_thread(self, thread_id: str) -> ThreadFound:
        """A thread as it was a moment ago."""
        return await self._ask(PeekThread(thread_id=thread_id), ThreadFound)

'''
ANSWER = """            case PeekThread():
                return await self.thread(tenant, GetThread(thread_id=query.thread_id, consistency="eventual"))
"""
SETTING = '    greeting: Annotated[str, Setting("What is said to whoever comes.")] = "hello"\n'
ROW = "| `--greeting` | `CLEW_GREETING` | `hello` | what is said to whoever comes |\n"
DECLARED: Mapping[str, tuple[Change, ...]] = {
    EVENTS: (
        ("StoredEvent = (\n", f"{EVENT}StoredEvent = (\n"),
        ("    | StandingHoldReleased\n", "    | StandingHoldReleased\n    | ThreadPinned\n"),
    ),
    COMMANDS: (
        ("OnThread = (\n", f"{COMMAND}OnThread = (\n"),
        ("    | DeleteMessage\n", "    | DeleteMessage\n    | PinThread\n"),
    ),
    OPERATIONS: (
        ("    EraseThread,\n", "    EraseThread,\n    PinThread,\n"),
        ("    ListMessagesAt,\n    Query,\n", "    ListMessagesAt,\n    PeekThread,\n    Query,\n"),
        ('    Operation(\n        name="get_thread"', f'{OPERATION}{ASKED}    Operation(\n        name="get_thread"'),
    ),
    QUERIES: (
        ("class GetThread(Request", f"{QUERY}class GetThread(Request"),
        ("    | GetBlame\n", "    | GetBlame\n    | PeekThread\n"),
    ),
    ROWS: (("    last_ordinal: int\n", "    last_ordinal: int\n    pairs: int\n"),),
    LISTS: (
        (
            "    messages: NumberTest | None = None\n",
            "    messages: NumberTest | None = None\n    pairs: NumberTest | None = None\n",
        ),
    ),
    SETTINGS: (("    log: Annotated[", f"{SETTING}    log: Annotated["),),
}
ASKED_FOR: Mapping[str, tuple[Change, ...]] = {
    EVENTS: (('    "StandingHoldReleased",\n]', '    "StandingHoldReleased",\n    "ThreadPinned",\n]'),),
    COMMANDS: (
        ("case DeleteThread() |", "case PinThread() | DeleteThread() |"),
    ),
    CLIENT: (
        ("    DeleteThread,\n", "    DeleteThread,\n    PinThread,\n"),
        ("    async def add_message(", f"{METHOD}    async def add_message("),
    ),
    CLIENT_QUERIES: (
        ("    Order,\n)", "    Order,\n    PeekThread,\n)"),
        ("    async def wait_for(", f"{ASKING}    async def wait_for("),
    ),
    SYNC: (
        ("    delete_thread = _call", "    pin_thread = _call(client.Clew.pin_thread)\n    delete_thread = _call"),
        ("    wait_for = _call", "    peek_thread = _call(client.Clew.peek_thread)\n    wait_for = _call"),
    ),
    ROWS: (("        shown=_NOTHING", "        pairs=len(view.metadata),\n        shown=_NOTHING"),),
    READER: (
        ("    GetThread,\n", "    GetThread,\n    PeekThread,\n"),
        ("            case ListThreads():\n", f"{ANSWER}            case ListThreads():\n"),
    ),
    ACCOUNTS: (('"clew.query.acme.get_thread", ', '"clew.query.acme.get_thread", "clew.query.acme.peek_thread", '),),
    GUIDE: (("| `--log` |", f"{ROW}| `--log` |"),),
    FOLD: (
        ("    ThreadDeleted,\n", "    ThreadDeleted,\n    ThreadPinned,\n"),
        ("case ItemReplaced() | ItemMetadataUpdated()", "case ThreadPinned() | ItemReplaced() | ItemMetadataUpdated()"),
    ),
    BLAME: (
        ("    ThreadDeleted,\n", "    ThreadDeleted,\n    ThreadPinned,\n"),
        ("            case _:\n", "            case ThreadPinned():\n                pass\n            case _:\n"),
    ),
    INDEX: (
        ("    ThreadDeleted,\n", "    ThreadDeleted,\n    ThreadPinned,\n"),
        ("case ThreadDeleted() |", "case ThreadPinned() | ThreadDeleted() |"),
    ),
    DECIDE: (
        ("    DeleteThread,\n", "    DeleteThread,\n    PinThread,\n"),
        ("    ThreadDeleted,\n", "    ThreadDeleted,\n    ThreadPinned,\n"),
        ("        case AddMessage():\n", f"{DECISION}        case AddMessage():\n"),
    ),
    EXAMPLES: (
        ("    DeleteThread,\n", "    DeleteThread,\n    PinThread,\n"),
        ("    ThreadDeleted,\n", "    ThreadDeleted,\n    ThreadPinned,\n"),
        ("    ThreadDeleted(),\n", '    ThreadDeleted(),\n    ThreadPinned(note="urgent"),\n'),
        ("    GetBlame,\n", "    GetBlame,\n    PeekThread,\n"),
        ('    "GetBlame":', '    "PeekThread": (PeekThread(thread_id=_THREAD),),\n    "GetBlame":'),
        ('    "AddMessage":', '    "PinThread": (PinThread(thread_id=_THREAD, note="urgent"),),\n    "AddMessage":'),
    ),
}  # fmt: skip
RECIPES: Mapping[str, set[str]] = {
    "An event": {EVENTS, FOLD, BLAME, INDEX, EXAMPLES},
    "A command": {COMMANDS, OPERATIONS, DECIDE, CLIENT, SYNC, EXAMPLES},
    "A query": {QUERIES, OPERATIONS, READER, CLIENT_QUERIES, SYNC, ACCOUNTS, EXAMPLES},
    "A column of the index": {ROWS, TABLES, INDEX_TEST, LISTS},
    "A setting": {SETTINGS, GUIDE},
}
"""The files that each takes, by its heading in the documents, beside those that ``make schema`` writes."""
BY_TYPES = {COMMANDS, FOLD, BLAME, INDEX, DECIDE, READER, ROWS}
BY_TESTS: Mapping[str, str] = {
    EVENTS: "test_the_types_by_which_queries_choose_are_the_tags_of_all_events_in_order",
    CLIENT: "test_every_field_of_a_request_is_a_parameter_of_its_method[pin_thread]",
    CLIENT_QUERIES: "test_every_field_of_a_request_is_a_parameter_of_its_method[peek_thread]",
    SYNC: "test_the_client_without_async_has_every_method_of_an_operation[peek_thread]",
    TABLES: "test_other_tables_are_another_format",
    INDEX_TEST: "test_other_tables_are_another_format",
    ACCOUNTS: "test_a_user_of_a_tenant_may_ask_each_query_of_its_scope_and_no_other[acme-reader-read]",
    GUIDE: "test_every_setting_stands_in_the_guide_with_its_variable_and_its_default",
    EXAMPLES: "test_every_type_in_the_contract_has_examples_that_its_schema_and_its_decoder_take[ThreadPinned]",
    "docs/contract": "test_the_checked_in_contract_is_what_the_types_say",
    "tests/golden": "test_an_event_is_written_as_the_same_bytes_for_ever_and_read_back_whole[ThreadPinned]",
}
"""By which test a file, or a folder that ``make schema`` writes to, is found."""
PROGRAM = """
import sys
from pathlib import Path
import click
from clew_events.commands import PinThread
from clew_events.events import MetadataUpdated
from clew_events.list_query import Condition, ListThreads, NumberTest
from clew_projections.fold import ThreadState
from clew_projections.index import open_for_reading, open_for_writing
from clew_services.cli import main
from clew_services.cli.event_words import describe
from clew_services.settings import Settings
from clew_services.threads.decide import decide
from support.commits import CREATED, THREAD, chain

(event,) = decide(PinThread(thread_id=THREAD, note="urgent"), THREAD, "cmd_1", ThreadState(status="open"))
assert describe(event) == "thread pinned"

up = main.get_command(click.Context(main), "up")
assert "--greeting TEXT" in up.get_help(click.Context(up))
assert Settings(greeting="hi").environment["CLEW_GREETING"] == "hi"

writer = open_for_writing(Path("index.db"))
first, second = chain([CREATED], [MetadataUpdated(set={"a": "1", "b": "2", "c": "3"}, unset=())])
for place, commit in enumerate((first, second), start=1):
    writer.apply([commit], {0: place})
query = ListThreads(where=Condition(pairs=NumberTest(gte=3)))
assert [each.id for each in open_for_reading(Path("index.db")).list("default", query).data] == [THREAD]
"""


class Scratch:
    """A copy of the packages and of what the tests look at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = [str(folder / each) for each in (*PACKAGES, "tests")]
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
        left_out = shutil.ignore_patterns("__pycache__", "*.png", ".peers", "results")
        for each in COPIED:
            shutil.copytree(ROOT / each, folder / each, ignore=left_out)
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        # No adapter is among what it takes, and mypy would look at all their frameworks.
        (folder / "pyproject.toml").write_text(project.replace('"clew_adapters", ', ""), encoding="utf-8")
        with suppress(FileNotFoundError, shutil.Error):  # Only faster with it, even if it is being written.
            shutil.copytree(ROOT / ".mypy_cache", folder / ".mypy_cache")

    def change(self, changes: Mapping[str, tuple[Change, ...]]) -> None:
        for name, replaced in changes.items():
            text = (self.folder / name).read_text(encoding="utf-8")
            for old, new in replaced:
                assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times: say here where to write now"
                text = text.replace(old, new)
            (self.folder / name).write_text(text, encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )

    def mypy(self) -> set[str]:
        """The files in which mypy finds something."""
        ran = self.run("-m", "mypy", "--no-error-summary")
        assert ran.returncode in {0, 1}, ran.stdout + ran.stderr
        return set(re.findall(r"^(\S+?):\d+: error", ran.stdout, re.MULTILINE))

    def tests(self) -> str:
        """What the tests that look at all there is of something say, if they fail."""
        files = [f"tests/{test}" for test in TESTS]
        ran = self.run("-m", "pytest", "-q", "-n0", "-pno:cacheprovider", "--durations=0", "-k", ABOUT_ALL, *files)
        assert ran.returncode in {0, 1}, ran.stdout + ran.stderr
        return ran.stdout if ran.returncode else ""

    def schema(self) -> None:
        """What ``make schema`` does."""
        for arguments in (
            ("-m", "clew_events.contract.contract_files", "docs/contract"),
            ("tests/golden/new_files.py",),
        ):
            ran = self.run(*arguments)
            assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    copy = Scratch(tmp_path_factory.mktemp("adding"))
    copy.change(DECLARED)
    return copy


@pytest.mark.parametrize("heading", RECIPES)
def test_the_documents_name_each_file_that_it_takes(heading: str) -> None:
    document = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    chapter = document.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    table = "\n".join(re.findall(r"^\| (`.*?) \|", chapter, re.MULTILINE))
    assert {file for file in RECIPES[heading] if f"`{file}`" not in table} == set()


def test_they_take_few_files_and_each_is_found_by_a_check() -> None:
    assert len(RECIPES["An event"] | RECIPES["A command"]) <= 11
    assert len(RECIPES["A query"]) <= 7
    assert len(RECIPES["A column of the index"]) <= 4
    assert set.union(*RECIPES.values()) == {*DECLARED, *ASKED_FOR, TABLES, INDEX_TEST}
    assert {*ASKED_FOR, TABLES, INDEX_TEST} == BY_TYPES | {file for file in BY_TESTS if "." in file}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "clew_events.contract.contract_files docs/contract" in makefile
    assert "tests/golden/new_files.py" in makefile


@pytest.mark.timeout(900)
def test_each_of_them_is_named_by_the_type_checker_or_a_test_and_nothing_more_is_needed(scratch: Scratch) -> None:
    assert scratch.mypy() == BY_TYPES
    said = scratch.tests()
    for file, test in BY_TESTS.items():
        assert test in said, f"{file} is found by no test"
    assert "'make schema' writes it" in said
    another = re.search(r"raise INDEX_FORMAT, and add ((\d+): '\w+') to TABLES", said)
    assert another is not None

    scratch.change(ASKED_FOR)
    scratch.change(
        {
            TABLES: ((f"INDEX_FORMAT: Final = {INDEX_FORMAT}\n", f"INDEX_FORMAT: Final = {another[2]}\n"),),
            INDEX_TEST: (("TABLES = {", f"TABLES = {{{another[1]}, "),),
        }
    )
    assert scratch.mypy() == set()
    scratch.schema()
    assert scratch.tests() == ""
    ran = scratch.run("-c", PROGRAM)
    assert ran.returncode == 0, ran.stderr
