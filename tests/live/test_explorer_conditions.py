"""The explorer on every screen, in the dark, with assistive technology, and where the connection is slow or gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route, expect

from clew_events.commands import EraseMessage, ForkThread, PlaceHold
from clew_events.content import ToolResources
from clew_events.events import ThreadCreated
from clew_events.subjects import Address
from clew_services.api_keys import Holder
from clew_services.api_keys.holders import digest
from support.api import ACME
from support.browser import needs_chromium, page_at
from support.commits import NOON, added, body_of, commit, store_many
from support.explorer import Stand, at, explorer, row, story
from support.node import check_lock, install, needs_node
from support.proxy import between
from support.writers import message_id

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

FOLDER = Path(__file__).parents[1] / "node_axe"
SCREENS = ((1440, 900), (1024, 768), (390, 844))
SOON_REVOKED = "a-key-that-is-revoked-soon"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with explorer(tmp_path_factory.mktemp("explorer")) as stand:
        yield stand


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = install(FOLDER, tmp_path_factory.mktemp("node_axe"))
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


async def test_the_lock_file_names_no_host() -> None:
    check_lock(FOLDER)


async def half_of(route: Route) -> None:
    """An answer of which the rest never comes."""
    answer = await route.fetch()
    text = await answer.text()
    await route.fulfill(status=200, content_type="application/json", body=text[: len(text) // 2])


async def check(page: Page) -> None:
    """Check a page with axe on every screen, and its colours in the dark as well; nothing has to be moved sideways."""
    for scheme, what in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width, height in SCREENS:
            await page.set_viewport_size({"width": width, "height": height})
            found = await page.evaluate("what => axe.run(document, { resultTypes: ['violations'], ...what })", what)
            told = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]
            assert told == [], f"{scheme}, {width} pixels, {page.url}"
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (width, page.url)


@needs_node
async def test_axe_finds_nothing_on_any_page_on_any_screen_in_light_or_dark(stand: Stand, axe: str) -> None:
    thread = await story(stand.writer, "thread_for_all")
    handle = stand.composed.handler.handle
    await handle("acme", PlaceHold(thread_id=thread, hold="case-7", actor="counsel"))  # 8
    code = "# Title\n\n```python\nprint('a line') # " + "which is long " * 20 + "\n```\n| a | b |\n|--|--|\n| 1 | 2 |"
    await stand.writer.add(thread, code, actor="bot")  # 9
    await handle("acme", ForkThread(thread_id="thread_for_some", parent=thread, at=4, actor="bot"))
    gone = message_id(await stand.writer.add("thread_for_some", "a secret"))
    await handle("acme", EraseMessage(thread_id="thread_for_some", message_id=gone, actor="dpo"))
    await stand.writer.delete("thread_for_some")
    await stand.fed.feed()
    async with stand.page() as page:
        await page.evaluate(axe)
        await check(page)
    # Without motion, for what is half faded in has colours that it has at no other time.
    async with stand.entered(reduced_motion="reduce") as page:
        await page.evaluate(axe)
        await expect(page.locator(".threads > li")).to_have_count(1)
        await check(page)
        for place in ("?at=4&kind=metadata", "?tab=blame", "?at=9&from=1&tab=compare", ""):
            await page.evaluate("place => location.hash = place", f"#thread/{thread}{place}")
            await expect(page.locator(".panel h2").first).to_be_visible()
            await expect(page.locator(".panel")).not_to_have_attribute("aria-busy", "true")
            await expect(page.locator(".live")).to_have_text("Live")
            if place == "":
                await expect(page.locator(".rendered pre").first).to_be_visible()
                await page.get_by_text("on record").click()
                await page.get_by_role("button", name="Verify the chain").click()
                await expect(page.locator(".verdicts > section")).to_have_count(3)
            await check(page)
        await page.keyboard.press("?")
        await check(page)
        await page.keyboard.press("Escape")
        await page.evaluate("location.hash = '#thread/thread_for_some'")
        await expect(page.get_by_role("button", name="Restore the thread")).to_be_visible()
        await check(page)
        await page.evaluate("location.hash = '#thread/thread_of_nobody'")
        await expect(page.get_by_role("alert")).to_be_visible()
        await check(page)
        for tenants in ("you", "feed", "keys", "rejected", "retention", "holds", "status"):
            await page.evaluate("place => location.hash = place", f"#tenant/{tenants}")
            await expect(page.locator("[role=tab][aria-selected=true]")).to_have_attribute("data-name", tenants)
            await expect(page.locator(".panel .loading")).to_have_count(0)
            await check(page)


async def test_what_comes_slowly_is_waited_for_and_not_shown_as_what_it_is_not(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_slow")
    async with stand.entered(f"#thread/{thread}?at=4") as page:
        await at(page, 4)
        await expect(row(page, "plan").locator("ins")).to_have_text("paid")
        session = await page.context.new_cdp_session(page)
        slow = {"offline": False, "latency": 2000, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
        await session.send("Network.emulateNetworkConditions", slow)
        await page.get_by_role("slider").press("Home")
        await expect(page.locator(".panel")).to_contain_text("Loading this moment …")
        await expect(page.locator(".panel")).not_to_contain_text("paid")
        await at(page, 1)
        await expect(row(page, "plan").locator("ins")).to_have_text("free")


async def test_a_server_that_goes_away_is_said_to_be_and_comes_back_by_itself(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_cut_off")
    await stand.fed.feed()
    async with between(stand.url.replace("http", "nats")) as proxy:
        url = f"http://{urlsplit(proxy.url).netloc}/explorer#thread/{thread}"
        async with page_at(stand.browser, url) as page:
            await page.get_by_label("API key").fill(ACME)
            await page.keyboard.press("Enter")
            await at(page, 7)
            await expect(page.locator(".live")).to_have_text("Live")
            await proxy.down()
            await expect(page.locator(".live")).to_have_text("Cut off, trying again …")
            await page.locator("#commit-4").click()
            await expect(page.get_by_role("alert")).to_contain_text("No answer")
            await expect(page.locator(".panel")).not_to_contain_text("file-1")
            await stand.writer.set(thread, "while", "away", actor="bot")  # 8
            await proxy.up()
            await at(page, 4)
            await expect(row(page, "plan").locator("ins")).to_have_text("paid")
            await expect(page.locator(".live")).to_have_text("Live")
            await expect(page.locator("#commit-8 .did")).to_have_text("set while: away")
            await expect(page.get_by_role("alert")).to_have_count(0)

            # So do the lists, and an answer that breaks off halfway is none.
            await page.evaluate("location.hash = '#threads'")
            await expect(page.get_by_role("link", name=thread)).to_be_visible()
            await proxy.down()
            await page.get_by_label("Words, values").fill("refund")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("alert")).to_contain_text("It is tried again by itself.")
            await expect(page.locator(".threads > li")).to_have_count(0)
            await proxy.up()
            await expect(page.get_by_role("link", name=thread)).to_be_visible()
            await page.route("**/v1/threads/*", half_of)
            await page.evaluate("place => location.hash = place", f"#thread/{thread}?at=1")
            await expect(page.get_by_role("alert")).to_contain_text("No answer")
            await page.unroute("**/v1/threads/*")
            await at(page, 1)
            await expect(page.get_by_role("alert")).to_have_count(0)


async def test_a_key_that_is_revoked_while_one_looks_is_asked_for_again_and_the_place_is_kept(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_revoked")
    stand.keys.admit(
        digest(SOON_REVOKED), Holder("acme", "key:soon", frozenset({"read", "audit"}), digest(SOON_REVOKED).hex()[:16])
    )
    async with stand.entered(f"#thread/{thread}?at=4", key=SOON_REVOKED) as page:
        await at(page, 4)
        stand.keys.shut_out(digest(SOON_REVOKED))
        await page.get_by_role("button", name="Previous commit").click()
        await expect(page.get_by_role("alert")).to_contain_text("The key is not accepted")
        await expect(page.locator("main")).not_to_contain_text("It left Oslo.")
        await page.get_by_label("API key").fill(ACME)
        await page.keyboard.press("Enter")
        await at(page, 3)


@pytest.mark.soak
async def test_100_000_threads_are_listed_and_searched_a_page_at_a_time(stand: Stand) -> None:
    def commits() -> Iterator[tuple[Address, bytes]]:
        for number in range(100_000):
            thread = Address("acme", f"thread_{number:06d}")
            said = added(1, f"parcel {number} is {'lost' if number % 1000 == 0 else 'on its way'}")
            created = ThreadCreated(metadata={"plan": f"plan {number % 50}"}, tool_resources=ToolResources())
            made = commit(1, created, said, thread=thread.thread, tenant="acme", at=NOON + timedelta(seconds=number))
            yield thread, body_of(made)

    await store_many(stand.composed, commits())
    await stand.fed.feed()
    answered: list[int] = []
    async with stand.entered() as page:
        page.on("response", lambda answer: answered.append(int(answer.headers.get("content-length", "0"))))
        rows = page.locator(".threads > li")
        await expect(rows).to_have_count(25)
        await page.get_by_role("link", name="Next page").click()
        await expect(page.get_by_role("link", name="Previous page")).to_be_visible()
        await expect(rows).to_have_count(25)
        await page.get_by_label("Words, values").fill("lost parcel")
        await page.keyboard.press("Enter")
        await expect(page.locator("mark", has_text="lost").first).to_be_visible()
        await expect(rows).to_have_count(25)
        await page.get_by_label("Words, values").fill("thread_054321")
        await page.keyboard.press("Enter")
        await at(page, 1)
        await expect(page.locator(".message")).to_contain_text("parcel 54321 is on its way")
    assert max(answered) < 200_000
