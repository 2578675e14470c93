"""Notes which of Clew's own functions a process enters. Python loads it into each process of the Clew that is measured.

In the process with role api between SIGUSR1 and SIGUSR2; in a command from its start to its end. Nothing of Clew has to
know, so that any commit can be measured. Functions that run while a module is imported are left out.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

TREE = os.environ["CLEW_HOUSE_TREE"]
NOTES = Path(os.environ["CLEW_HOUSE_NOTES"])
COUNTED = "api" in sys.orig_argv and "serve" in sys.orig_argv
PACKAGES = {"clew_events", "clew_projections", "clew_services"}
HOMES = tuple(os.path.join(TREE, folder, "") for folder in ("events", "projections", "services"))  # noqa: PTH118
NO_FUNCTIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}
IS_FUNCTION = 1
"""``CO_OPTIMIZED``: neither the body of a module nor that of a class."""

entered: dict[CodeType, bool] = {}
"""Every function that was entered, and whether it is Clew's own."""
steps: Counter[CodeType] = Counter()
"""Instructions of the interpreter in every function, those of libraries included."""


def trace(frame: FrameType, _: str, __: object) -> Callable[..., object] | None:
    code = frame.f_code
    if code not in entered or (not entered[code] and code.co_filename.startswith(HOMES)):
        entered[code] = is_own_function(code) and not is_importing(frame)
    if not COUNTED:
        return None
    frame.f_trace_opcodes, frame.f_trace_lines = True, False
    return count


def count(frame: FrameType, event: str, _: object) -> Callable[..., object]:
    if event == "opcode":
        steps[frame.f_code] += 1
    return count


def named(code: CodeType) -> str:
    return f"{code.co_filename.removeprefix(TREE + os.sep)}:{code.co_qualname}"


def is_own_function(code: CodeType) -> bool:
    is_function = code.co_flags & IS_FUNCTION and code.co_name not in NO_FUNCTIONS
    return bool(is_function) and code.co_filename.startswith(HOMES)


def is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def begin(*_: object) -> None:
    entered.clear()
    steps.clear()
    (NOTES / "begun").touch()
    threading.settrace(trace)
    sys.settrace(trace)


def end(*_: object) -> None:
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    found = {
        "functions": sorted(named(code) for code, is_own in entered.items() if is_own),
        "imported": sorted(name for name in sys.modules if name.split(".")[0] in PACKAGES),
        "steps": {named(code): number for code, number in steps.items()},
    }
    part = NOTES / "part"
    part.write_text(json.dumps(found))
    part.rename(NOTES / "entered")


if COUNTED:
    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)
    (NOTES / "pid").write_text(str(os.getpid()))
elif "verify" in sys.orig_argv:
    atexit.register(end)
    begin()
