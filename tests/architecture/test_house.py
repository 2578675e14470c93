from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "events", ROOT / "projections", ROOT / "services", ROOT / "adapters"]
VAGUE = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}
# Spelled in pieces, so that this file does not name what it looks for.
MACHINES = re.compile(r"(?<![\w.~$})])/(?:" + "|".join(["ho" + "me", "ro" + "ot", "wo" + "rk", "Us" + "ers"]) + r")/\w")
REGISTRIES = re.compile(
    "|".join(["py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.(?:org|com)", "yarn" + r"pkg\."])
)
LOCKS = ("*.lock", "*lock.json", "*lock.yaml", "*requirements*.txt", ".npmrc", "pip.conf")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def ignored() -> list[str]:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    return [".git", *(line.strip("/") for line in lines if line and not line.startswith("#"))]


def files(folder: Path = ROOT, patterns: tuple[str, ...] = tuple(ignored())) -> Iterator[Path]:
    """Every file that a clone has, or would have once what lies here is committed."""
    for child in sorted(folder.iterdir()):
        names = child.name, child.relative_to(ROOT).as_posix()
        if any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns):
            continue
        if child.is_dir() and not child.is_symlink():
            yield from files(child, patterns)
        else:
            yield child


def text(file: Path) -> str:
    return file.read_bytes().decode("utf-8", errors="replace")


FILES = list(files())
DOCUMENTS = [file for file in FILES if file.suffix == ".md"]
MODULES = [file for file in FILES if file.suffix == ".py" and any(file.is_relative_to(home) for home in SOURCES)]


def short(file: Path) -> str:
    return str(file.relative_to(ROOT))


def anchors(file: Path) -> set[str]:
    headings = HEADING.findall(FENCE.sub("", text(file)))
    plain = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def links(file: Path) -> list[str]:
    return LINK.findall(FENCE.sub("", text(file)))


def test_the_whole_tree_is_looked_at() -> None:
    looked_at = {short(file) for file in FILES}
    assert {"pyproject.toml", "Makefile", "requirements.lock", ".ci/run", "events/clew_events/events.py"} <= looked_at
    assert not any(name.startswith((".venv", ".git/")) for name in looked_at)


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    found = [
        f"{short(file)}: {line.strip()}" for file in FILES for line in text(file).splitlines() if MACHINES.search(line)
    ]
    assert found == []


def test_no_file_names_a_package_registry() -> None:
    assert [short(file) for file in FILES if REGISTRIES.search(text(file))] == []


def test_lock_files_name_no_host_at_all() -> None:
    locks = [file for file in FILES if any(fnmatch.fnmatch(file.name, pattern) for pattern in LOCKS)]
    assert ROOT / "requirements.lock" in locks
    for file in locks:
        assert "://" not in text(file), short(file)


def test_the_patterns_find_what_they_are_for() -> None:
    home, registry = "/ho" + "me/somebody/x", "https://py" + "pi.org/simple"
    assert MACHINES.search(f"see {home}")
    assert MACHINES.search(f'"{home}"')
    assert not MACHINES.search("services/home/x and https://example.com/home/x")
    assert REGISTRIES.search(registry)
    assert LINK.findall("[a](b.md#c) ![i](p.png) [d](e)") == ["b.md#c", "e"]


def test_a_module_is_named_for_its_one_idea() -> None:
    assert len(MODULES) > 40
    for file in MODULES:
        words = {word for part in file.relative_to(ROOT).with_suffix("").parts for word in part.split("_")}
        assert not VAGUE & words, short(file)


@pytest.mark.parametrize("document", DOCUMENTS, ids=short)
def test_every_link_of_the_documents_leads_somewhere(document: Path) -> None:
    for link in links(document):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{short(document)} links to {link}"
        assert target.is_relative_to(ROOT), f"{short(document)} links out of the project: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{short(document)} links to {link}, which has no such heading"


def test_there_are_documents_with_links_to_look_at() -> None:
    assert sum(len(links(document)) for document in DOCUMENTS) > 5


def test_every_decision_is_numbered_without_gaps_and_listed() -> None:
    decisions = sorted(file.name for file in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [name[:4] for name in decisions] == [f"{number:04d}" for number in range(1, len(decisions) + 1)]
    assert set(decisions) <= set(links(ROOT / "docs" / "decisions" / "README.md"))


def test_every_decision_has_the_same_four_parts() -> None:
    for file in (ROOT / "docs" / "decisions").glob("[0-9]*.md"):
        written = text(file)
        assert re.match(rf"# {int(file.name[:4])}\. \S", written), file.name
        assert "| Status |" in written, file.name
        assert HEADING.findall(written)[1:] == ["Context", "Decision", "Consequences"], file.name


def test_every_logger_is_named_for_its_area() -> None:
    named = {short(file): re.findall(r"getLogger\(([^)]*)\)", text(file)) for file in MODULES}
    # uvicorn's own logger is written to by the server that holds uvicorn; the root logger has no name.
    allowed = re.compile(r'"clew\.[a-z_]+"|"uvicorn\.error"|')
    assert {file: names for file, names in named.items() if not all(map(allowed.fullmatch, names))} == {}
