"""The explorer's three verdicts in a real browser: on a thread, on the log it is in, and on what was not checked."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect

from clew_events.subjects import Address
from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.kv.key_names import thread_key
from clew_services.checkpoints.log_heads import Heads
from clew_services.checkpoints.maker import Maker
from clew_services.checkpoints.note import SigningKey
from clew_services.compose import Clew
from support.api import ACME, served
from support.browser import PATIENCE, chromium, needs_chromium, page_at
from support.feeding import fed_by_hand
from support.forging import delete, five_commits, remove, stored
from support.parts import audit_of
from support.truth import projecting
from support.waiting import eventually

pytestmark = [needs_chromium]

VICTIM = Address("acme", "thread_victim")
KEY = SigningKey(bytes(range(32)))
SHOTS = os.environ.get("CLEW_TEST_SCREENSHOTS")
"""A folder for pictures of the verdicts, if somebody wants to see them."""
expect.set_options(timeout=PATIENCE)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


@asynccontextmanager
async def opened(clew: Clew, browser: Browser, address: Address) -> AsyncIterator[Page]:
    """A thread's page, with a key entered."""
    async with served(clew) as url, page_at(browser, f"{url}/explorer#thread/{address.thread}") as page:
        await page.get_by_label("API key").fill(ACME)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        yield page


async def sign(clew: Clew) -> None:
    heads = Heads(clew.js, clew.deployment.shards, HeadsFile())
    try:
        await Maker(clew.js, clew.ledger, heads, KEY).make()
    finally:
        await heads.close()


async def verified(page: Page, name: str) -> dict[str, Locator]:
    """The three verdicts, by what they are about. What they look like is in the folder for pictures."""
    await page.get_by_role("button", name="Verify the chain").click()
    found = page.locator(".verdicts > section")
    await expect(found).to_have_count(3)
    for scheme in ("light", "dark") if SHOTS else ():
        await page.emulate_media(color_scheme=scheme)
        await page.locator(".verdicts").screenshot(path=Path(SHOTS or "") / f"{name}-{scheme}.png")
    return {"thread": found.nth(0), "log": found.nth(1), "rest": found.nth(2)}


async def colours(verdicts: dict[str, Locator], page: Page) -> list[tuple[str, ...]]:
    """The colours of each verdict's ground, edge and title, in the light and in the dark."""
    told: list[tuple[str, ...]] = []
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for each in verdicts.values():
            style = "each => [getComputedStyle(each).backgroundColor, getComputedStyle(each).borderLeftColor, "
            title = "getComputedStyle(each.querySelector('h2')).color]"
            told.append(tuple(await each.evaluate(style + title)))
    return told


async def is_verdict(each: Locator, how: str, title: str) -> None:
    await expect(each).to_have_class(f"notice {how}")
    await expect(each.locator("h2")).to_have_text(title)


REST = "Not checked: What this does not tell"


async def test_a_thread_and_its_log_that_are_whole_are_said_to_be_so_and_what_was_not_checked_is_no_praise(
    clew: Clew, browser: Browser
) -> None:
    await five_commits(clew, VICTIM)
    await sign(clew)
    async with opened(clew, browser, VICTIM) as page:
        found = await verified(page, "whole")
        await is_verdict(found["thread"], "good", "This thread: The chain verifies")
        await is_verdict(
            found["log"], "good", "The log it is in: The log is what was signed, as far as this thread tells"
        )
        await is_verdict(found["rest"], "open", REST)
        await expect(found["thread"]).to_contain_text("Commit 5 is the head that signed checkpoint 1 has")
        await expect(found["rest"]).to_contain_text("signature")
        good, _, rest, dark, _, dark_rest = await colours(found, page)
        assert len({good, rest, dark, dark_rest}) == 4


async def test_a_history_that_was_changed_beside_a_whole_thread_is_a_verdict_of_its_own(
    clew: Clew, browser: Browser
) -> None:
    await five_commits(clew, VICTIM)
    shard = clew.histories.shard(VICTIM)
    beside = next(
        each for number in range(100) if clew.histories.shard(each := Address("acme", f"thread_{number}")) == shard
    )
    await five_commits(clew, beside)
    await sign(clew)
    await remove(clew, beside)
    async with opened(clew, browser, VICTIM) as page:
        found = await verified(page, "changed")
        await is_verdict(found["thread"], "good", "This thread: The chain verifies")
        await is_verdict(found["log"], "bad", "The log it is in: The log is not what was signed")
        await is_verdict(found["rest"], "open", REST)
        await expect(found["log"].locator("li.bad")).to_contain_text("The history was changed")
        three, dark = (await colours(found, page))[:3], (await colours(found, page))[3:]
        for each in (three, dark):
            assert all(len({colour[place] for colour in each}) == 3 for place in range(3))
        said = await page.locator("#said").text_content()
        assert said is not None
        assert "The log is not what was signed" in said


async def test_what_the_background_verification_found_elsewhere_is_told_here(clew: Clew, browser: Browser) -> None:
    await five_commits(clew, VICTIM)
    shard = clew.histories.shard(VICTIM)
    elsewhere = next(
        each for number in range(100) if clew.histories.shard(each := Address("acme", f"thread_{number}")) != shard
    )
    await five_commits(clew, elsewhere)
    await sign(clew)
    await delete(clew, elsewhere, (await stored(clew, elsewhere))[-1].seq)
    await audit_of(clew, 86_400).look()
    async with opened(clew, browser, VICTIM) as page:
        found = await verified(page, "elsewhere")
        await is_verdict(found["thread"], "good", "This thread: The chain verifies")
        await is_verdict(found["log"], "bad", "The log it is in: The log is not what was signed")
        await expect(found["log"]).to_contain_text(f"shard {1 - shard} has lost 1 messages since checkpoint 1")


async def test_a_thread_that_was_changed_in_a_log_that_nobody_signed(clew: Clew, browser: Browser) -> None:
    await five_commits(clew, VICTIM)

    async def forged(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(
            response=answer,
            body=(await answer.text()).replace('"step": "1"', '"step": "9"').replace('"step":"1"', '"step":"9"'),
        )

    async with opened(clew, browser, VICTIM) as page:
        await page.route("**/events?*", forged)
        found = await verified(page, "forged")
        await is_verdict(found["thread"], "bad", "This thread: The record does not verify")
        await is_verdict(found["log"], "open", "The log it is in: The log was not checked")
        await is_verdict(found["rest"], "open", REST)


async def test_a_thread_whose_history_is_gone_is_shown_as_it_is_still_known(
    clew: Clew, browser: Browser, tmp_path: Path
) -> None:
    await five_commits(clew, VICTIM)
    with fed_by_hand(clew, tmp_path) as fed:
        await fed.feed()
        async with projecting(clew):
            await eventually(lambda: clew.live.current.threads.latest(thread_key(VICTIM)))
        await remove(clew, VICTIM)
        clew.memory.clear()
        async with opened(clew, browser, VICTIM) as page:
            alert = page.get_by_role("alert")
            await expect(alert).to_contain_text("The history of this thread is gone")
            await expect(alert).to_contain_text("clew verify --all")
            await expect(page.locator(".alone")).to_contain_text("free")
            assert "Invalid" not in await page.inner_text("body")
