"""What tests are lent is as good as a server of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import nats
import pytest

from support.deployments import FAST, connected_client, deploy
from support.lending import STREAM_FOLDER, Lender, Lent


@pytest.fixture
def lender(tmp_path: Path) -> Iterator[Lender]:
    made = Lender(tmp_path, sync=FAST)
    yield made
    made.close()


def process_of(lent: Lent) -> int:
    return lent._server.pid


async def test_a_server_is_lent_again_and_nothing_of_the_test_before_is_there(lender: Lender) -> None:
    with lender.lent() as first:
        await deploy(first.url)
        async with connected_client(first.url) as nc:
            await nc.jetstream().publish("clew.inbox.default.create_thread", b"{}")
        before = process_of(first)
    with lender.lent() as second:
        assert process_of(second) == before
        async with connected_client(second.url) as nc:
            assert await nc.jetstream().streams_info() == []
        await deploy(second.url)
        async with connected_client(second.url) as nc:
            assert all(
                each.state.last_seq == 0 for each in await nc.jetstream().streams_info() if "EVT" in each.config.name
            )


async def test_the_server_does_not_remove_the_folder_in_which_the_next_test_creates_streams(lender: Lender) -> None:
    with lender.lent() as first:
        await deploy(first.url)
        folder = first._server.data / STREAM_FOLDER
    with lender.lent() as second:
        assert second._server.data / STREAM_FOLDER == folder
        with pytest.raises(OSError, match="not empty"):
            folder.rmdir()  # what the server does some time after the last stream was deleted


async def test_two_at_once_are_two(lender: Lender) -> None:
    with lender.lent() as one, lender.lent() as other:
        assert process_of(one) != process_of(other)


async def test_a_server_to_which_somebody_is_still_connected_is_not_lent_again(lender: Lender) -> None:
    with lender.lent() as first:
        stays = await nats.connect(first.url, allow_reconnect=False)
        before = process_of(first)
    try:
        with lender.lent() as second:
            assert process_of(second) != before
    finally:
        await stays.close()


@pytest.mark.parametrize("touch", ["data", "pid"])
async def test_a_server_whose_process_or_files_a_test_may_have_changed_is_not_lent_again(
    lender: Lender, touch: str
) -> None:
    with lender.lent() as first:
        before = process_of(first)
        assert getattr(first, touch)
    with lender.lent() as second:
        assert process_of(second) != before


async def test_a_server_on_loan_is_killed_and_started_again_like_any(lender: Lender) -> None:
    with lender.lent() as server:
        await deploy(server.url)
        os.kill(server.pid, SIGKILL)
        assert await server.wait() == -SIGKILL
        await server.start()
        async with connected_client(server.url) as nc:
            assert len(await nc.jetstream().streams_info()) > 5
        await server.stop()


async def test_a_server_that_died_unnoticed_is_not_lent_again(lender: Lender) -> None:
    with lender.lent() as first:
        os.kill(process_of(first), SIGKILL)
    with lender.lent() as second:
        async with connected_client(second.url) as nc:
            assert await nc.jetstream().streams_info() == []
