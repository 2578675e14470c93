"""Headers read quickly say what nats-py's own reading says, whatever stands in them."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client

from clew_projections.nats.headers import _line_by_line, fields, plain
from clew_projections.nats.lean_client import LeanClient

LIKELY = st.sampled_from(
    [
        "Nats-Sequence",
        "Nats-Msg-Id",
        "x",
        ":",
        ": ",
        " ",
        "  ",
        "\t",
        "\r\n",
        "\r",
        "\n",
        "1",
        "a:b",
        "é",
        "\x0b",
        "\x1f",
    ]
)
LINES = st.lists(st.one_of(LIKELY, st.text(max_size=3)), max_size=8).map("".join)
BLOCKS = st.lists(LINES, min_size=1, max_size=5).map(lambda lines: "NATS/1.0\r\n" + "\r\n".join(lines) + "\r\n\r\n")


def read(client: Client, block: bytes) -> dict[str, str] | None:
    return asyncio.run(client._process_headers(block))


@given(BLOCKS.map(str.encode))
@example(b"NATS/1.0\r\na: b\r\na: c\r\n\r\n")
@example(b"NATS/1.0\r\na:b: c\r\n\r\n")
@example(b"NATS/1.0\r\n: b\r\n\r\n")
@example(b"NATS/1.0\r\na: \r\n\r\n")
@example(b"NATS/1.0\r\n\r\na: b\r\n\r\n")
def test_any_block_is_read_as_it_would_be_otherwise(block: bytes) -> None:
    assert read(LeanClient(), block) == read(Client(), block)


@given(
    st.sampled_from([b"NATS/1.0 404\r\n\r\n", b"NATS/1.0 404 No Messages\r\n\r\n", b"NATS/1.0\r\n\r\n", b"NATS/1.0"])
)
def test_a_status_is_left_to_the_library(block: bytes) -> None:
    assert plain(block) is None


@given(BLOCKS.map(str.encode), st.sampled_from([b"NATS/1.0", b"NATS/1.0 204 EOB", b"NATS/1.0 404"]))
@example(b"NATS/1.0\r\nNats-UpTo-Sequence: 7\r\nNats-Num-Pending: 0\r\n\r\n", b"NATS/1.0 204 EOB")
def test_the_fields_beside_a_status_are_those_that_its_lines_say(block: bytes, begin: bytes) -> None:
    whole = begin + block.removeprefix(b"NATS/1.0")
    assert fields(whole) == _line_by_line(whole)


def test_what_a_server_sends_with_a_commit_is_read_in_one_go() -> None:
    block = (
        b"NATS/1.0\r\nNats-Stream: CLEW_EVT_00\r\nNats-Subject: clew.evt.00.shop.thread_1\r\nNats-Sequence: 7\r\n"
        b"Nats-Time-Stamp: 2026-11-23T07:00:00.123456Z\r\nNats-Msg-Id: shop:thread_1:cmd_1\r\n\r\n"
    )
    assert plain(block) == read(Client(), block)


@pytest.mark.parametrize("nothing", [None, b""])
def test_a_message_without_headers_has_none(nothing: bytes | None) -> None:
    assert asyncio.run(LeanClient()._process_headers(nothing)) is None
