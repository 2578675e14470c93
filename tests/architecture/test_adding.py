"""What a new event with its command takes: added to a scratch copy, where mypy and the tests name every place.

``DECLARED`` is what somebody writes who has an idea; ``ASKED_FOR`` is what the checks then ask for, file by file, and
nothing else is needed. The recipe in the documents is this one. A file that the two do not name is found by no check.
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

ROOT = Path(__file__).parents[2]
PACKAGES = ("events", "projections", "services")
TESTS = (
    "architecture/test_events.py",
    "unit/test_client_methods.py",
    "contract/test_exported_contract.py",
    "golden",
    "support/commits.py",
)
ABOUT_ALL = (
    "types_say or has_examples or without_its_type or subject_and_its_answer or test_events or golden or client_methods"
)
MOST = 9
"""Files that a new event with its command may take, beside those that ``make schema`` writes."""

Change = tuple[str, str]
"""A text in a file, and what takes its place."""

EVENTS, COMMANDS = "events/clew_events/events.py", "events/clew_events/commands.py"
EXAMPLES = "events/clew_events/contract/examples.py"
OPERATIONS, CLIENT = "events/clew_events/operations.py", "events/clew_events/client/command_methods.py"
FOLD, BLAME = "projections/clew_projections/fold.py", "projections/clew_projections/audit/blame.py"
INDEX = "projections/clew_projections/index/writer.py"
DECIDE = "services/clew_services/threads/decide.py"

EVENT = '''@final
class ThreadPinned(ThreadEvent, frozen=True, kw_only=True, tag_field="type", tag="ThreadPinned"):
    """The thread was put before all others."""

    effect: ClassVar[Effect] = "changes"

    reason: str


'''
COMMAND = '''@final
class PinThread(ThreadCommand, frozen=True, kw_only=True):
    """Put a thread before all others."""

    named: ClassVar[str] = "PinThread"

    thread_id: ThreadId
    reason: str


'''
OPERATION = '    Operation(name="pin_thread", scope="write", command=PinThread, reply=Reply[Done]),\n'
METHOD = """    async def pin_thread(
        self, thread_id: str, reason: str, *, expected_version: int | None = None, command_id: str | None = None
    ) -> ThreadDone:
        \"\"\"Put a thread before all others.\"\"\"
        command = PinThread(id=command_id, thread_id=thread_id, reason=reason, expected_version=expected_version)
        return await self._execute(command, ThreadDone)

"""
DECISION = """        case PinThread():
            return (ThreadPinned(reason=command.reason),)
"""
DECLARED: Mapping[str, tuple[Change, ...]] = {
    EVENTS: (
        ("Event = (\n", f"{EVENT}Event = (\n"),
        ("    | ThreadDeleted\n", "    | ThreadDeleted\n    | ThreadPinned\n"),
    ),
    COMMANDS: (
        ("Command = Cr", f"{COMMAND}Command = Cr"),
        (" | DeleteMessage\n", " | DeleteMessage | PinThread\n"),
    ),
    OPERATIONS: (
        ("    DeleteThread,\n", "    DeleteThread,\n    PinThread,\n"),
        ('    Operation(\n        name="get_thread"', f'{OPERATION}    Operation(\n        name="get_thread"'),
    ),
}
ASKED_FOR: Mapping[str, tuple[Change, ...]] = {
    EVENTS: (('    "ThreadDeleted",\n]', '    "ThreadDeleted",\n    "ThreadPinned",\n]'),),
    COMMANDS: (
        ("case DeleteThread() |", "case PinThread() | DeleteThread() |"),
    ),
    CLIENT: (
        ("    DeleteThread,\n", "    DeleteThread,\n    PinThread,\n"),
        ("    async def add_message(", f"{METHOD}    async def add_message("),
    ),
    FOLD: (
        ("    ThreadDeleted,\n", "    ThreadDeleted,\n    ThreadPinned,\n"),
        ("        case MessageMetadataUpdated():\n", "        case MessageMetadataUpdated() | ThreadPinned():\n"),
    ),
    BLAME: (
        ("    ThreadDeleted,\n", "    ThreadDeleted,\n    ThreadPinned,\n"),
        ("            case _:\n", "            case ThreadPinned():\n                pass\n            case _:\n"),
    ),
    INDEX: (
        ("    ThreadDeleted,\n", "    ThreadDeleted,\n    ThreadPinned,\n"),
        ("case ThreadDeleted():", "case ThreadDeleted() | ThreadPinned():"),
    ),
    DECIDE: (
        ("    DeleteThread,\n", "    DeleteThread,\n    PinThread,\n"),
        ("    ThreadDeleted,\n", "    ThreadDeleted,\n    ThreadPinned,\n"),
        ("        case AddMessage():\n", f"{DECISION}        case AddMessage():\n"),
    ),
    EXAMPLES: (
        ("    DeleteThread,\n", "    DeleteThread,\n    PinThread,\n"),
        ("    ThreadDeleted,\n", "    ThreadDeleted,\n    ThreadPinned,\n"),
        ("    ThreadDeleted(),\n", '    ThreadDeleted(),\n    ThreadPinned(reason="urgent"),\n'),
        ('    "AddMessage":', '    "PinThread": (PinThread(thread_id=_THREAD, reason="urgent"),),\n    "AddMessage":'),
    ),
}  # fmt: skip
BY_TYPES = {COMMANDS, FOLD, BLAME, INDEX, DECIDE}
BY_TESTS: Mapping[str, str] = {
    EVENTS: "test_the_types_by_which_queries_choose_are_the_tags_of_all_events_in_order",
    CLIENT: "test_every_field_of_a_request_is_a_parameter_of_its_method[pin_thread]",
    EXAMPLES: "test_every_type_in_the_contract_has_examples_that_its_schema_and_its_decoder_take[ThreadPinned]",
    "docs/contract": "test_the_checked_in_contract_is_what_the_types_say",
    "tests/golden": "test_an_event_is_written_as_the_same_bytes_for_ever_and_read_back_whole[ThreadPinned]",
}
"""By which test a file, or a folder that ``make schema`` writes to, is found."""
PROGRAM = """
from clew_events.commands import PinThread
from clew_projections.fold import ThreadState
from clew_services.cli.event_words import describe
from clew_services.threads.decide import decide
pin = PinThread(thread_id="thread_1", reason="urgent")
(event,) = decide(pin, "thread_1", "cmd_1", ThreadState(status="open"))
print(event, describe(event))
"""


class Scratch:
    """A copy of the packages and of the tests that look at every event."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = [str(folder / package) for package in PACKAGES]
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
        for each in (*PACKAGES, "docs/contract", *(f"tests/{test}" for test in TESTS)):
            source = ROOT / each
            if source.is_dir():
                shutil.copytree(source, folder / each, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (folder / each).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / each)
        shutil.copy(ROOT / "pyproject.toml", folder)
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
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False, timeout=300
        )

    def mypy(self) -> set[str]:
        """The files in which mypy finds something."""
        ran = self.run("-m", "mypy", "--no-error-summary")
        assert ran.returncode in {0, 1}, ran.stdout + ran.stderr
        return set(re.findall(r"^(\S+?):\d+: error", ran.stdout, re.MULTILINE))

    def tests(self) -> str:
        """What the tests that look at all events and commands say, if they fail."""
        ran = self.run("-m", "pytest", "-q", "-n0", "-pno:cacheprovider", "--durations=0", "-k", ABOUT_ALL, "tests")
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


def test_a_new_event_with_its_command_takes_few_files() -> None:
    assert len({*DECLARED, *ASKED_FOR}) <= MOST
    assert set(ASKED_FOR) == BY_TYPES | {file for file in BY_TESTS if file.endswith(".py")}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "clew_events.contract.contract_files docs/contract" in makefile
    assert "tests/golden/new_files.py" in makefile


def test_each_of_them_is_named_by_the_type_checker_or_a_test_and_nothing_more_is_needed(scratch: Scratch) -> None:
    assert scratch.mypy() == BY_TYPES
    said = scratch.tests()
    for file, test in BY_TESTS.items():
        assert test in said, f"{file} is found by no test"
    assert "'make schema' writes it" in said

    scratch.change(ASKED_FOR)
    assert scratch.mypy() == set()
    scratch.schema()
    assert scratch.tests() == ""
    ran = scratch.run("-c", PROGRAM)
    assert ran.stdout == "ThreadPinned(reason='urgent') thread pinned\n", ran.stderr
