"""What the command line prints: nothing that controls a terminal, and numbers with their nouns."""

from __future__ import annotations

import json

import pytest

from clew_services.cli import terminal

CONTROLS = "\x00\x07\x1b[31m\x7f\x80\x9b\x9f\u200e\u2028\u2029\u202e\u2066\u2069"


def test_only_its_own_colours_reach_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.echo(CONTROLS)
    terminal.echo(terminal.line(CONTROLS, " ", terminal.style(CONTROLS, fg="red")))
    terminal.echo_lines(f"one{CONTROLS}\ntwo\n")
    terminal.show([CONTROLS])
    out = capsys.readouterr().out
    assert {c for c in out if not c.isprintable()} == {"\n"}
    assert out.splitlines()[0] == CONTROLS.encode("unicode_escape").decode()
    assert len(out.splitlines()) == 5
    assert terminal.style("a\x1bb", fg="red").count("\x1b") == 2  # its own, at both ends
    assert terminal.line(terminal.style("a", fg="red"), "\x1b").count("\x1b") == 2


def test_json_says_the_same_with_every_control_character_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {CONTROLS: [CONTROLS, "ä ☃ 𝄞 \u00a0 plain"]}
    terminal.print_json(answer)
    out = capsys.readouterr().out
    assert {c for c in out if not c.isprintable()} == {"\n", "\u00a0"}
    assert json.loads(out) == answer


@pytest.mark.parametrize(
    ("number", "plural", "said"),
    [
        (1, "threads", "1 thread"),
        (0, "threads", "0 threads"),
        (2, "threads", "2 threads"),
        (1, "commits not projected yet", "1 commit not projected yet"),
        (1, "parked threads", "1 parked thread"),
        (1, "copies", "1 copy"),
        (1, "seed", "1 seed"),
    ],
)
def test_one_of_a_kind_is_said_in_the_singular(number: int, plural: str, said: str) -> None:
    assert terminal.quantity(number, plural) == said
