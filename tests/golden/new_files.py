"""Writes the golden file of every event that has none, from its example in the contract; no other file is touched.

``python tests/golden/new_files.py`` is part of ``make schema``, and names what it wrote.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import msgspec

from clew_events.contract.examples import EXAMPLES
from clew_events.events import Event


def main(folder: Path = Path(__file__).parent) -> None:
    """Write what is missing."""
    for event in get_args(Event):
        file = folder / f"{event.__name__}.json"
        if event.__name__ not in EXAMPLES:
            sys.exit(f"{event.__name__} has no example in events/clew_events/contract/examples.py")
        if not file.exists():
            file.write_bytes(msgspec.json.encode(EXAMPLES[event.__name__][0]))
            sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main()
