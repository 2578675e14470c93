"""The explorer in a real browser, against the real service: what people do on it, and what is tried against them.

Every page holds at its end that nothing was asked of anybody else and nothing was against its policy.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import Raw
from playwright.async_api import Page, Route, expect

from clew_events.commands import (
    AddItems,
    CreateThread,
    DeleteItem,
    EraseMessage,
    EraseThread,
    PlaceHold,
    ReleaseHold,
    ReplaceItem,
)
from clew_events.events import RetentionSet, StandingHoldPlaced
from clew_events.queries import ListMessages
from clew_events.requests import ExpiresAfterIn, NewMessage
from clew_events.subjects import TENANT, Address
from clew_services.api_keys import Holder
from clew_services.api_keys.holders import digest
from support.api import ACME
from support.browser import PATIENCE, needs_chromium
from support.commits import body_of, commit, store
from support.deployments import connected_client
from support.erasure_worker import complete_all
from support.explorer import READER, Stand, at, explorer, row, story
from support.forging import delete, stored
from support.parcels import PARCEL, write_parcels
from support.up import clew
from support.writers import thread_id

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

PICTURES = os.environ.get("CLEW_TEST_PICTURES")
"""A folder for the pictures of the documents, if they are to be made anew."""
expect.set_options(timeout=PATIENCE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with explorer(tmp_path_factory.mktemp("explorer")) as stand:
        yield stand


async def test_a_thread_is_found_walked_through_and_watched(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_story")
    await stand.writer.create("thread_other", metadata={"plan": "gold"}, actor="shop")
    await stand.fed.feed()
    async with stand.entered() as page:
        # Found by what was said in it, with the words marked.
        await page.get_by_label("Words, values").fill("refund")
        await page.get_by_role("button", name="Find", exact=True).click()
        await expect(page.locator(".threads > li")).to_have_count(1)
        await expect(page.locator("mark")).to_have_text("refund")
        await page.get_by_role("link", name=thread).click()
        await at(page, 7)
        await expect(page.locator("#resources + table ins")).to_have_text("file-1")

        # Back in time by the slider, with what each commit changed.
        slider = page.get_by_role("slider")
        await slider.focus()
        await slider.press("Home")
        await at(page, 1)
        await expect(row(page, "plan").locator("ins")).to_have_text("free")
        for _ in range(3):
            await slider.press("ArrowRight")
        await at(page, 4)
        await expect(row(page, "plan").locator("del")).to_have_text("free")
        await expect(row(page, "plan").locator("ins")).to_have_text("paid")
        await expect(row(page, "trial")).to_contain_text("removed")
        assert "Commit 4 of 7" in (await slider.get_attribute("aria-valuetext") or "")
        await slider.press("ArrowRight")
        await slider.press("ArrowRight")
        await at(page, 6)
        await expect(page.locator(".message.is-deleted")).to_contain_text("My card is 4111")

        # What stands on record of it stays open from commit to commit.
        await page.get_by_text("Commit 6 on record").click()
        await expect(page.locator(".record")).to_contain_text('"type": "ItemDeleted"')
        await slider.press("ArrowLeft")
        await at(page, 5)
        await expect(page.locator(".record .code")).to_contain_text('"mood": "sad"')

        # Who took a key away that is not there any more.
        await page.get_by_role("tab", name="Who changed what").click()
        await expect(row(page, "trial")).to_contain_text("removed by sales in commit 4")
        await expect(row(page, "trial")).to_contain_text("set by shop in commit 1")
        await expect(page.locator(".blame").last).to_contain_text("changed by bot in commit 5")
        await page.get_by_role("tab", name="State", exact=True).click()
        await at(page, 5)
        await page.get_by_role("button", name="Latest commit").click()
        await at(page, 7)

        # Live, paused, and live again without a gap.
        await expect(page.locator(".live")).to_have_text("Live")
        await stand.writer.add(thread, "A word from elsewhere", actor="bot")
        await at(page, 8)
        await expect(page.locator(".message.is-added")).to_contain_text("A word from elsewhere")
        await page.locator(".live").click()
        await expect(page.locator(".live")).to_have_text("Paused")
        await stand.writer.set(thread, "while", "paused", actor="bot")
        await page.locator(".live").click()
        await at(page, 9)
        await expect(row(page, "while")).to_contain_text("paused")

        # The way back, and the way back to it.
        await page.go_back()
        await page.go_back()
        await page.goto(f"{stand.url}/explorer#thread/{thread}?at=4")
        await at(page, 4)
        await page.reload()
        await at(page, 4)

        # In the dark as well.
        light = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        await page.emulate_media(color_scheme="dark")
        dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert light != dark


async def test_threads_are_found_by_words_values_and_actors_and_the_address_says_how(stand: Stand) -> None:
    for number in range(30):
        said = NewMessage(role="user", content=f"My parcel\n{number} is lost")
        title = {"title": "<b>A lost parcel</b>"} if number == 7 else {}
        metadata = {"shelf": "upper" if number < 28 else "lower", "box": str(number), "book": "find me", **title}
        await stand.writer.create(f"thread_shelf_{number:02}", metadata=metadata, messages=(said,), actor="shelver")
    await stand.writer.add("thread_shelf_03", "Found", actor="finder")
    await stand.fed.feed()
    rows, counted = "ol.threads > li", ".above > .fine"
    async with stand.entered() as page:
        field = page.get_by_label("Words, values")
        await field.fill('book="find me" box=7')
        await field.press("Enter")
        await expect(page.locator(rows)).to_have_count(1)
        await expect(page.locator(rows).locator(".title")).to_have_text("<b>A lost parcel</b>")
        await expect(page.locator(rows).locator(".first")).to_have_text("user My parcel 7 is lost")
        # A chip goes away by a click, and pages lead on and back, by the address as well.
        await page.get_by_role("link", name="Without the filter: box 7").click()
        await expect(page.locator(counted)).to_have_text("30 threads")
        await expect(page.locator(rows)).to_have_count(25)
        await expect(page.locator(rows).first.locator(".title")).to_have_text("My parcel 3 is lost")
        await page.get_by_role("link", name="Next page").click()
        await expect(page.locator(rows)).to_have_count(5)
        there = await page.evaluate("location.hash")
        await page.get_by_role("link", name="Previous page").click()
        await expect(page.locator(rows)).to_have_count(25)
        await page.go_back()
        await expect(page.locator(rows)).to_have_count(5)
        # What is frequent narrows the list down: values, and actors.
        facets = page.locator(".facets")
        await expect(facets.locator("section", has_text="shelf")).to_have_text("shelfupper 28lower 2")
        await expect(facets.locator("section", has_text="box")).to_have_count(0)
        await facets.get_by_role("link", name="finder").click()
        await expect(page.locator(rows)).to_have_count(1)
        await expect(page.locator(rows)).to_contain_text("2 items · begun by shelver · changed")
        await page.get_by_label("Items, at least").fill("3")
        await page.get_by_role("button", name="Apply").click()
        await expect(page.get_by_role("heading", name="No thread is like that")).to_be_visible()
        await page.get_by_role("link", name="Without 3").click()
        await expect(page.locator(rows)).to_have_count(1)
        await page.get_by_label("Changed until").fill("2020-01-01")
        await page.get_by_role("button", name="Apply").click()
        await expect(page.locator(counted)).to_have_text("0 threads")
        # Words that are a value, too.
        await page.evaluate("location.hash = '#threads?search=upper'")
        await page.get_by_role("link", name="28 threads").click()
        await expect(page.locator(counted)).to_have_text("28 threads")
        assert "value=upper" in await page.evaluate("location.hash")
        # An id opens its thread, and the beginning of one lists those that have it.
        await page.keyboard.press("/")
        await page.keyboard.type("thread_shelf_1*")
        await page.keyboard.press("Enter")
        await expect(page.locator(counted)).to_have_text("10 threads")
        await page.goto(f"{stand.url}/explorer{there}")
        await expect(page.locator(rows)).to_have_count(5)
        # An address that somebody wrote by hand asks for nothing that it does not say.
        await page.goto(f"{stand.url}/explorer#threads?least=x&since=never&order=odd&meta.shelf=lower&after=page_x")
        await expect(page.get_by_role("alert")).to_contain_text("cursor")
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator(rows)).to_have_count(2)


async def test_what_an_item_is_and_was_is_shown_and_who_replaced_it(stand: Stand) -> None:
    call = '{"type":"function_call","id":"fc_1","eur":%d,"note":"<i>a</i>\\u202e","2":1.10,"1":9007199254740993}'
    items = (Raw(b'{"role":"system","content":"Pay by card."}'), Raw((call % 10).encode()))
    commands = (
        CreateThread(thread_id="conv_pay", items=items, actor="shop"),
        ReplaceItem(thread_id="conv_pay", item_id="fc_1", item=Raw((call % 9999).encode()), actor="mallory"),
        DeleteItem(thread_id="conv_pay", item_id="fc_1", actor="privacy"),
    )
    for command in commands:
        await stand.writer.handler.handle("acme", command)
    await stand.fed.feed()
    async with stand.entered() as page:
        await page.get_by_role("link", name="conv_pay").click()
        await at(page, 3)
        await expect(page.locator(".message.is-deleted")).to_contain_text('"eur": 9999')
        # Every digit, and the keys in their order, as they were given.
        await page.get_by_role("button", name="Raw").click()
        await expect(page.locator(".message.is-deleted")).to_contain_text('"2": 1.10, "1": 9007199254740993')
        await page.get_by_role("button", name="Raw", pressed=True).click()
        await expect(page.locator(".message", has_text="Pay by card.").locator(".role")).to_have_text("system")
        await page.get_by_role("slider").press("ArrowLeft")
        await at(page, 2)
        await expect(page.locator("#commit-2")).to_contain_text("replaced: function call")
        await expect(page.locator(".message.is-changed > del")).to_contain_text('"eur": 10')
        await expect(page.locator(".message.is-changed > ins")).to_contain_text('"eur": 9999')
        await expect(page.locator(".message.is-changed > ins")).to_contain_text("<i>a</i>")
        await page.get_by_role("tab", name="Who changed what").click()
        await expect(row(page, "fc_1")).to_contain_text("replaced by mallory in commit 2")
    async with stand.entered("#thread/conv_pay", key=READER) as page:
        await expect(page.locator(".messages > .message")).to_have_count(1)


async def test_a_deleted_thread_is_restored_where_it_is_shown(stand: Stand) -> None:
    thread = thread_id(await stand.writer.create(messages=(NewMessage(role="user", content="Still here"),)))
    await stand.writer.delete(thread)
    undo = "Restore the thread"
    async with stand.entered(f"#thread/{thread}") as page:
        await at(page, 2)
        await expect(page.locator(".panel .notice")).to_contain_text("Deleted")
        await page.get_by_role("slider").press("Home")
        await at(page, 1)
        await expect(page.get_by_role("button", name=undo)).to_have_count(0)
        await page.get_by_role("button", name="Latest commit").click()
        await at(page, 2)
        await page.get_by_role("button", name=undo).click()
        await at(page, 3)
        await expect(page.locator(".message")).to_contain_text("Still here")
        await expect(page.get_by_role("button", name=undo)).to_have_count(0)


async def test_a_thread_is_forked_at_the_commit_that_is_shown_and_leads_to_its_forks(stand: Stand) -> None:
    thread = thread_id(await stand.writer.create(messages=(NewMessage(role="user", content="A name?"),)))
    await stand.writer.add(thread, "Laika")
    async with stand.entered(f"#thread/{thread}?at=1") as page:
        await at(page, 1)
        await page.get_by_role("button", name="Fork at commit 1").click()
        forks = page.get_by_label("Forks")
        await expect(forks).to_contain_text(f"Forked from {thread} at commit 1.")
        await expect(page.locator(".message")).to_have_count(1)
        fork = await page.locator("#thread-id").inner_text()
        await stand.fed.feed()
        await forks.get_by_role("link", name=f"{thread} at commit 1").click()
        await expect(page.locator("#thread-id")).to_have_text(thread)
        await expect(forks.get_by_role("link", name=fork)).to_be_visible()


async def test_what_keeps_a_thread_and_what_was_erased_of_it_is_shown_with_the_certificate(stand: Stand) -> None:
    clew, thread = stand.composed, "thread_to_forget"
    secret = NewMessage(role="user", content="My card is 4111")
    idle = ExpiresAfterIn(anchor="last_active_at", days=90)
    made = await stand.writer.create(thread, messages=(secret,), metadata={"plan": "gold"}, expires_after=idle)  # 1
    assert made.n == 1
    await stand.writer.add(thread, "It left Oslo.", actor="bot")  # 2
    await clew.handler.handle("acme", PlaceHold(thread_id=thread, hold="case-7", actor="counsel"))  # 3
    where = '{"metadata":{"key":"plan","eq":"%s"}}'
    own = Address("acme", TENANT)
    yearly = RetentionSet(
        name="yearly", after_days=365, since="created", then="delete", erase_after_days=30, where=None
    )
    orders = (yearly, *(StandingHoldPlaced(hold=each, where=where % each) for each in ("gold", "silver")))
    ordered = body_of(commit(1, *orders, thread=own.thread, tenant=own.tenant, actor="counsel"))
    async with connected_client(stand.nats) as nc:
        await store(nc, own, ordered)
    await stand.fed.feed()
    message = (await clew.reader.messages("acme", ListMessages(thread_id=thread))).messages
    assert message is not None
    async with stand.entered(f"#thread/{thread}") as page:
        await at(page, 3)
        policy = row(page, "Policy")
        await expect(policy).to_contain_text("yearly: deleted 365 days after it was created, erased 30 days later")
        await expect(policy).to_contain_text("set by counsel in commit 1 of the tenant")
        await expect(row(page, "Legal hold")).to_have_count(2)
        await expect(row(page, "Legal hold").first).to_contain_text("case-7placed by counsel in commit 3")
        await expect(row(page, "Legal hold").last).to_contain_text("goldstanding, placed by counsel in commit 1")
        await expect(row(page, "Expires")).to_contain_text("in 2 months, 90 days after it was last activenot while")
        await page.get_by_role("button", name="First commit").click()
        await at(page, 1)
        await expect(row(page, "Expires")).to_be_visible()
        await expect(row(page, "Legal hold")).to_have_count(0)
        await expect(page.locator(".message")).to_contain_text("4111")
        # What was read before goes from the page, too, as soon as it is to be erased.
        await clew.handler.handle("acme", ReleaseHold(thread_id=thread, hold="case-7", actor="counsel"))  # 4
        await stand.writer.set(thread, "plan", "bronze")  # 5, which takes it out of the standing hold
        await clew.handler.handle("acme", EraseMessage(thread_id=thread, message_id=message.data[-1].id, actor="dpo"))
        await expect(page.locator(".message")).to_contain_text("Who said it, and what, was erased.")
        await expect(page.locator("main")).not_to_contain_text("4111")
        await expect(page.locator("#erasures + div")).to_contain_text("Asked for by dpo in commit 6")
        await expect(page.locator("#erasures + div")).to_contain_text("There is no certificate yet")

        # No list tells whether a deleted thread matches a filter.
        await stand.writer.delete(thread)
        await page.get_by_role("button", name="Latest commit").click()
        await at(page, 7)
        await expect(row(page, "Legal hold")).to_have_count(2)
        await expect(row(page, "Legal hold").first).to_contain_text(", if it matches its filter")
        await expect(row(page, "Policy")).to_have_count(0)

        await clew.handler.handle("acme", EraseThread(thread_id=thread, reason="asked_by_customer", actor="dpo"))
        await complete_all(clew)
        await expect(page.locator(".panel .notice")).to_contain_text("gone for good")
        await expect(page.get_by_role("button", name="Restore the thread")).to_have_count(0)
        erased = page.locator("#erasures ~ div", has_text="What people wrote in this thread")
        await expect(erased).to_contain_text("asked_by_customer.The certificate has the SHA-256")
        await erased.get_by_role("button", name="Show the certificate").click()
        await expect(erased.locator(".code")).to_contain_text('"thread":"thread_to_forget"')
        await page.get_by_role("slider").press("Home")
        await at(page, 1)
        await expect(page.locator("#metadata + p")).to_have_text("Erased.")
        await expect(erased).to_be_visible()
        await page.get_by_role("tab", name="Who changed what").click()
        await expect(page.locator(".panel")).to_contain_text("was erased, and is not named here")
        await page.get_by_role("button", name="Verify the chain").click()
        await expect(page.locator(".verdict")).to_contain_text("The chain verifies")
        await expect(page.locator(".verdict")).to_contain_text("4 contents were erased, each asked for by a later")


async def test_what_a_thread_says_is_text_and_nothing_else(stand: Stand) -> None:
    evil = "<script>document.title='owned'</script><img src=//evil.example/x onerror=alert(1)>"
    turned = "invoice_\u202egnp.exe"
    huge = "😀 long " * 100_000
    made = await stand.writer.create(
        metadata={
            evil[:64]: evil,
            turned: turned,
            "2": "two",
            "1": '\\"\x7f\u2028\t',
            "__proto__": "x",
            "constructor": "y",
        },
        messages=(NewMessage(role="user", content=evil), NewMessage(role="user", content=huge)),
        actor="<b>bold</b>\u200f",
    )
    await stand.writer.add(
        thread_id(made), "javascript:alert(1) \u202eright to left\u202c שלום 👩‍👩‍👧", actor=evil[:120]
    )
    await stand.fed.feed()
    async with stand.entered() as page:
        before = await page.locator("script, img, iframe, object, style").count()
        await expect(page.locator(".threads .chips").first).to_contain_text("<script>")
        for place in ("?at=1", "?at=2", "?tab=blame"):
            await page.evaluate("place => location.hash = place", f"#thread/{thread_id(made)}{place}")
            await expect(page.locator(".panel")).to_contain_text(evil[:50])
            await expect(page.locator(".panel")).not_to_have_attribute("aria-busy", "true")
            assert await page.locator("script, img, iframe, object, style").count() == before
            assert "owned" not in await page.title()
            # What would turn the line around is named instead.
            assert "\u202e" not in await page.inner_text("body")
            await expect(page.locator(".panel tr .sign:visible", has_text="U+202E").first).to_be_visible()
        await page.evaluate("place => location.hash = place", f"#thread/{thread_id(made)}?at=1")
        await at(page, 1)
        await expect(page.locator("th", has_text="__proto__")).to_be_visible()
        # A message of a megabyte comes bit by bit, and no sign of it is cut in two.
        shown = page.locator(".message .prose", has_text="😀 long").first
        assert len(await shown.inner_text()) < 5000
        await page.get_by_role("button", name="Show more").click()
        text = await shown.inner_text()
        assert 40_000 < len(text) < 60_000
        assert "\ufffd" not in text
        # Whatever is written in it, its bytes are put together again to the last one.
        await page.get_by_role("button", name="Verify the chain").click()
        await expect(page.locator(".verdict")).to_contain_text("Each hash was computed here")
        # Nothing is so long that the page has to be moved sideways.
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_links_that_run_are_text_and_what_arrives_by_half_is_told_as_such(stand: Stand) -> None:
    links = (
        "[a](javascript:alert(1)) [b](data:text/html,<script>alert(1)</script>) [c](JaVaScRiPt&colon;alert(1)) "
        "<javascript:alert(1)> ![d](https://evil.example/p.png) [e](//evil.example) [f](https://good.example/x)"
    )
    said = NewMessage(role="user", content=links)
    thread = thread_id(await stand.writer.create(messages=(said,), metadata={"plan": "half"}))
    await stand.fed.feed()
    async with stand.entered(f"#thread/{thread}") as page:
        await expect(page.locator(".rendered a[href]")).to_have_text("f")
        assert await page.locator(".rendered a[href]").get_attribute("href") == "https://good.example/x"

        # Whatever the answer has, only harmless elements are made of it.
        evil = [
            {"tag": "script", "children": ["alert(1)"]},
            {"tag": "img", "href": "https://evil.example/x"},
            {"tag": "a", "href": "javascript:alert(1)", "children": ["run"]},
            {"tag": "p", "style": "x onclick=alert(1)", "children": [{"tag": "iframe", "children": ["inside"]}]},
        ]
        forged = {"object": "list", "data": [evil]}
        await page.route("**/v1/rendered_items", lambda route: route.fulfill(json=forged))
        await page.reload()
        await expect(page.locator(".rendered")).to_have_text("alert(1)runinside")
        assert await page.locator(".rendered").inner_html() == "alert(1)<a>run</a><p>inside</p>"

        async def halved(route: Route) -> None:
            answer = await route.fetch()
            await route.fulfill(response=answer, body=(await answer.text())[:-20])

        await page.route("**/v1/threads?**", halved)
        await page.evaluate("location.hash = '#threads?meta.plan=half'")
        await expect(page.get_by_role("alert")).to_contain_text("The answer was cut off before its end.")
        await expect(page.locator("ol.threads > li")).to_have_count(0)
        await page.unroute("**/v1/threads?**")
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator("ol.threads > li")).to_have_count(1)
        await page.route("**/explorer/timeline.js", lambda route: route.abort())
        await page.reload()
        await expect(page.locator("main")).to_contain_text("a part of it did not arrive: load the page again")


async def test_everything_can_be_done_with_the_keyboard_and_has_a_name(stand: Stand) -> None:
    await story(stand.writer, "thread_by_keyboard")
    await stand.fed.feed()
    async with stand.page(viewport={"width": 390, "height": 800}, reduced_motion="reduce") as page:
        await _named(page)
        await page.keyboard.type(ACME)
        await page.keyboard.press("Enter")
        await expect(page.locator(".threads > li").first).to_be_visible()
        await _named(page)
        await _tab_to(page, "document.activeElement.id === 'words'")
        await page.keyboard.type("thread_by_keyboard")
        await page.keyboard.press("Enter")
        await at(page, 7)
        await expect(page.locator(".live")).to_have_text("Live")
        await _named(page)
        await _tab_to(page, "document.activeElement.type === 'range'")
        await page.keyboard.press("ArrowLeft")
        await at(page, 6)
        await _tab_to(page, "document.activeElement.matches('.timeline')")
        await page.keyboard.press("End")
        await at(page, 1)
        await page.keyboard.press("ArrowUp")
        await at(page, 2)
        chosen = await page.locator(".timeline").get_attribute("aria-activedescendant")
        await expect(page.locator(f"#{chosen}")).to_have_attribute("aria-selected", "true")
        await _tab_to(page, "document.activeElement.role === 'tab'")
        await page.keyboard.press("ArrowRight")
        await expect(page.locator(".blame").first).to_be_visible()
        await at(page, 2)
        await _named(page)
        await _tab_to(page, "document.activeElement.textContent === 'Verify the chain'")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="The chain verifies")).to_be_visible()
        await _tab_to(page, "document.activeElement.id === 'skip'")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def _tab_to(page: Page, there: str) -> None:
    """Press Tab until something has the focus; wherever it comes by, the focus can be seen."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        if not await page.evaluate("document.activeElement !== document.body"):
            continue  # once around
        seen = "(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none' })()"
        assert await page.evaluate(seen), await page.evaluate("document.activeElement.outerHTML")
        if await page.evaluate(there):
            return
    pytest.fail(f"never there: {there}")


async def _named(page: Page) -> None:
    """Everything that can be used says what it is, to those who do not see it, and no two things have one id."""
    session = await page.context.new_cdp_session(page)
    nodes = (await session.send("Accessibility.getFullAXTree"))["nodes"]
    usable = {"button", "link", "textbox", "searchbox", "slider", "listbox", "tab", "tabpanel", "combobox", "option"}
    told = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if "role" in node]
    assert [role for role, name in told if role in usable and not name.strip()] == []
    assert any(role in usable for role, _ in told)
    ids = await page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))
    assert await page.locator("h1").count() == 1
    await session.detach()


async def test_the_chain_is_recomputed_here_and_a_word_that_was_changed_is_found(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_to_verify")
    await stand.writer.delete(thread, actor="privacy")  # 8

    async def forged(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=(await answer.text()).replace("It left Oslo", "It left Rome"))

    async def emptied(route: Route) -> None:
        answer = await route.fetch()
        page = await answer.json()
        commit = page["data"][1]
        record, *_ = commit["stored"].split("\n")
        (added,) = json.loads(record)["events"]
        commit["stored"] = f"{record}\n\n\n"
        commit["events"] = [{**added, "of": added["type"], "type": "ErasedItemEvent"}]
        await route.fulfill(response=answer, json=page)

    async with stand.entered(f"#thread/{thread}") as page:
        await expect(page.locator(".panel")).to_contain_text("gone for its users")
        verify = page.get_by_role("button", name="Verify the chain")
        await verify.click()
        verdict = page.locator(".verdict")
        await expect(verdict).to_contain_text("The chain verifies")
        await expect(verdict).to_contain_text("8 commits, numbered without a gap")
        await expect(verdict).to_contain_text("Each hash was computed here")
        await expect(verdict).to_contain_text("No signed checkpoint has this thread yet")
        await page.route("**/events?*", forged)
        await verify.click()
        await expect(verdict).to_contain_text("The record does not verify")
        await expect(verdict).to_contain_text("Commit 2 does not fit")
        await page.unroute("**/events?*")
        await page.route("**/events?*", emptied)
        await verify.click()
        await expect(verdict).to_contain_text("a content of it is gone, and nobody asked to erase that")
        await page.unroute("**/events?*")
        async with page.expect_download() as downloading:
            await page.get_by_role("button", name="Download pack").click()
        assert (await downloading.value).suggested_filename == f"{thread}.clew.tar.zst"
        verified = clew("verify", "--pack", str(await (await downloading.value).path()))
        assert verified.returncode == 0, verified.stderr


async def test_commits_that_the_log_lost_are_shown_in_their_places(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_with_gaps")
    await stand.fed.feed()
    address = Address("acme", thread)
    lost = await stored(stand.composed, address)
    await delete(stand.composed, address, lost[3].seq, lost[6].seq)
    async with stand.entered(f"#thread/{thread}") as page:
        for n in (4, 7):
            await expect(page.locator(f"#commit-{n}")).to_contain_text("Missing from the log")
        await expect(page.locator("#commit-5")).to_contain_text("bot")
        await page.get_by_role("button", name="Verify the chain").click()
        await expect(page.locator(".verdict")).to_contain_text("The record does not verify")
        await expect(page.locator(".verdict")).to_contain_text("Commit 4 does not fit")


async def test_a_key_that_is_wrong_or_reaches_less_far_is_told_why(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_for_readers")
    async with stand.page(f"#thread/{thread}") as page:
        await page.get_by_label("API key").fill("a-key-of-nobody-at-all")
        await page.get_by_role("button", name="Open").click()
        await expect(page.get_by_role("alert")).to_contain_text("The key is not accepted")
        assert await page.context.cookies() == []
        # One that may only read sees what is, and is told what it takes to see what was.
        await page.get_by_label("API key").fill(READER)
        await page.get_by_role("button", name="Open").click()
        await expect(page.get_by_role("alert")).to_contain_text("The key lacks the scope “audit”")
        await expect(page.locator(".alone")).to_contain_text("It left Oslo.")
        await expect(page.locator(".alone")).to_contain_text("paid")
        await page.evaluate("location.hash = '#thread/thread_of_nobody'")
        await expect(page.get_by_role("alert").last).to_contain_text("Not there")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("API key")).to_be_visible()
        assert await page.context.cookies() == []
        assert await page.evaluate("JSON.stringify([sessionStorage, localStorage])") == "[{},{}]"


async def test_who_is_signed_in_is_so_in_all_tabs_until_they_sign_out_or_the_key_is_revoked(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_in_tabs")
    key = "a-key-that-is-revoked-later"
    stand.keys.admit(digest(key), Holder("acme", "key:later", key=digest(key).hex()[:16]))
    async with stand.entered(f"#thread/{thread}?at=4", key) as page:
        await at(page, 4)
        assert key not in page.url
        other = await page.context.new_page()
        await other.goto(page.url)
        await at(other, 4)  # nobody was asked
        await expect(other.locator(".whose")).to_have_text("acme")
        await other.get_by_role("button", name="Sign out").click()
        for tab in (page, other):
            await expect(tab.get_by_label("API key")).to_be_visible()
        await page.get_by_label("API key").fill(key)
        await page.keyboard.press("Enter")
        for tab in (page, other):
            await at(tab, 4)
        stand.keys.shut_out(digest(key))
        await page.get_by_role("tab", name="Who changed what").click()
        await expect(page.get_by_role("alert")).to_contain_text("This session has ended")
        await expect(page.get_by_label("API key")).to_be_visible()
        await expect(page.get_by_text("It left Oslo.")).to_have_count(0)


async def test_another_key_of_another_tab_is_that_of_all_tabs_at_once(stand: Stand) -> None:
    await stand.writer.create("thread_of_the_first", metadata={"title": "Of the first"})
    await stand.fed.feed()
    first, second = "a-key-of-the-first-tenant", "a-key-of-the-second-tenant"
    for key, tenant in ((first, "acme"), (second, "globex")):
        stand.keys.admit(digest(key), Holder(tenant, f"key:{tenant}", key=digest(key).hex()[:16]))
    async with stand.entered(key=first) as page:
        await expect(page.get_by_text("Of the first")).to_be_visible()
        stand.keys.shut_out(digest(first))  # which this tab does not notice before it asks for something
        other = await page.context.new_page()
        await other.goto(page.url)
        await other.get_by_label("API key").fill(second)
        await other.keyboard.press("Enter")
        for tab in (page, other):
            await expect(tab.locator(".whose")).to_have_text("globex")
            await expect(tab.get_by_text("There are no threads yet")).to_be_visible()
        await expect(page.get_by_text("Of the first")).to_have_count(0)


async def test_names_that_programs_have_for_themselves_are_names_like_others(stand: Stand) -> None:
    thread = "conv_of_names"
    names = {"constructor": "a", "__proto__": "b", "toString": "c"}
    turned = "because \u202e of"
    await stand.writer.create(thread, metadata=names)
    await stand.writer.update(thread, metadata={"plan": "x"}, reason=turned)
    items = tuple(
        Raw(json.dumps({"id": each, "type": "note", "says": f"I am {each}"}).encode()) for each in ("said", "main")
    )
    await stand.writer.handler.handle("acme", AddItems(thread_id=thread, items=items))
    await stand.fed.feed()
    async with stand.entered(f"#thread/{thread}?at=2") as page:
        for name, value in names.items():
            await expect(row(page, name).locator("td")).to_have_text(f"{value}removed")
        # A link can ask for what there is not.
        for kind in ("constructor", "__proto__"):
            await page.evaluate("hash => location.hash = hash", f"#thread/{thread}?at=3&kind={kind}")
            await at(page, 3)
            await expect(page.locator("#commit-3")).to_be_visible()
            await expect(page.get_by_role("alert")).to_have_count(0)
            await page.goto(f"{stand.url}/explorer#threads?{kind}=1")
            await page.reload()
            await expect(page.locator("ol.threads > li").first).to_be_visible()
        # What the page says goes where it says things, whatever items are called.
        await page.evaluate("hash => location.hash = hash", f"#thread/{thread}?at=3")
        await expect(page.locator(".message", has_text="I am said")).to_be_visible()
        await stand.writer.set(thread, "plan", "y")
        await expect(page.get_by_role("status").filter(has_text="1 new commit.")).to_have_count(1)
        await expect(page.locator(".message", has_text="I am said")).to_be_visible()
        assert await page.evaluate("document.querySelectorAll('#said, #main').length") == 2
        await page.get_by_role("tab", name="Who changed what").click()
        await expect(page.locator(".origin .sign", has_text="U+202E").first).to_be_visible()
        assert "\u202e" not in await page.inner_text("body")


async def test_a_report_of_the_moment_that_is_looked_at_and_a_pack_are_downloaded(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_taken_home")
    async with stand.entered(f"#thread/{thread}?at=4") as page:
        await at(page, 4)
        for what, name, holds in (("report", ".html", b"Then: after commit 4"), ("pack", ".clew.tar.zst", b"")):
            async with page.expect_download() as downloading:
                await page.get_by_role("button", name=f"Download {what}").click()
            download = await downloading.value
            assert download.suggested_filename == f"{thread}{name}"
            assert holds in Path(await download.path()).read_bytes()


async def test_what_a_thread_says_is_read_rendered_or_raw_and_in_either_order(stand: Stand) -> None:
    texts = (
        "# First\n\n| a | b |\n|---|---|\n| 1 | 2 |",
        "**second** <img src=x onerror=alert(1)> [x](javascript:alert(1))",
    )
    await stand.writer.create("thread_to_read", messages=tuple(NewMessage(role="user", content=text) for text in texts))
    call = Raw(b'{"type":"function_call","name":"look_up","arguments":"{\\"price\\":1.10}"}')
    await stand.composed.handler.handle("acme", AddItems(thread_id="thread_to_read", items=(call,), actor="bot"))
    async with stand.entered("#thread/thread_to_read?at=1") as page:
        said = page.locator(".messages > li .read")
        await expect(said.first.locator("strong")).to_have_text("second")
        await expect(said.first).to_contain_text("<img src=x onerror=alert(1)> [x](javascript:alert(1))")
        await expect(said.nth(1).locator("td")).to_have_text(["1", "2"])
        await page.get_by_role("button", name="Newest first").click()
        await expect(said.first.locator("h1")).to_have_text("First")
        await page.get_by_role("button", name="Raw").click()
        await expect(said.first).to_contain_text("# First")
        await page.get_by_role("button", name="Raw", pressed=True).click()
        await expect(said.first.locator("h1")).to_have_text("First")

        # A tool call is folded. A key goes to the next commit, and another to the keys.
        await page.keyboard.press("j")
        await at(page, 2)
        await expect(said.first.locator("summary").first).to_have_text("function_call look_up")
        await expect(said.first.locator("details").first).not_to_have_attribute("open", "")
        await page.keyboard.press("k")
        await at(page, 1)
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)

        await page.get_by_role("button", name="Times: relative").click()
        await expect(page.locator(".told time")).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"))
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.get_by_role("button", name="Copy the thread's id").click()
        assert await page.evaluate("navigator.clipboard.readText()") == "thread_to_read"
        await page.keyboard.press("/")
        await expect(page.get_by_label("Words, values")).to_be_focused()


async def test_on_paper_there_is_the_thread_and_nothing_to_press(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_on_paper")
    async with stand.entered(f"#thread/{thread}?at=2", color_scheme="dark") as page:
        await at(page, 2)
        await page.emulate_media(media="print", color_scheme="dark")
        await expect(page.get_by_role("button")).to_have_count(0)
        await expect(page.locator(".messages > li").first).to_be_visible()
        # All of it, not what the window has room for.
        main = page.locator("main")
        assert await main.evaluate("main => main.scrollHeight === main.clientHeight")
        ink = await page.locator("body").evaluate("body => getComputedStyle(body).color")
        assert ink == "rgb(0, 0, 0)"


async def test_every_view_fits_wide_and_narrow_windows(stand: Stand) -> None:
    await write_parcels(stand.composed)
    await stand.fed.feed()
    views = {
        "list": "#threads?has=customer",
        "light": f"#thread/{PARCEL}?at=8",
        "dark": f"#thread/{PARCEL}?from=2&at=8&tab=compare",
    }
    async with stand.entered() as page:
        for width, height in ((1440, 900), (1024, 768), (390, 800)):
            await page.set_viewport_size({"width": width, "height": height})
            for place in views.values():
                await page.evaluate("place => location.hash = place", place)
                await expect(page.get_by_text("Parcel 4711 is late").first).to_be_visible()
                assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (place, width)
        await page.set_viewport_size({"width": 1280, "height": 800})
        for name, place in views.items() if PICTURES else ():
            await page.emulate_media(color_scheme="dark" if name == "dark" else "light")
            await page.goto(f"{stand.url}/explorer{place}")
            await page.reload()
            await expect(page.get_by_text("Parcel 4711 is late").first).to_be_visible()
            await expect(page.locator(".rendered, .facets a").first).to_be_visible()
            await expect(page.locator("[aria-busy]")).to_have_count(0)
            await page.screenshot(path=Path(PICTURES or "") / f"explorer-{name}.png")
