"""A thread's history in the explorer, in a real browser: moments compared, commits chosen, and what stands out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from clew_events.commands import EraseMessage, ForkThread, PlaceHold, ReleaseHold
from clew_events.events import MetadataUpdated
from clew_events.subjects import Address
from support.browser import needs_chromium
from support.commits import CREATED, NOON, added, commit, encoded, store_many
from support.explorer import Stand, at, explorer, row, story
from support.writers import message_id

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with explorer(tmp_path_factory.mktemp("explorer")) as stand:
        yield stand


async def compared(page: Page, first: int, last: int) -> None:
    """Wait until the page compares two moments."""
    await expect(page.locator(".heads input")).to_have_value(str(first))
    await expect(page.locator(".heads a")).to_have_text(str(last))
    await expect(page.locator(".panel")).not_to_have_attribute("aria-busy", "true")


async def test_any_two_moments_are_compared_side_by_side_at_an_address_of_their_own(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_compared")
    async with stand.entered(f"#thread/{thread}?at=5&from=1&tab=compare") as page:
        await compared(page, 1, 5)
        await expect(row(page, "plan").locator("td")).to_have_text(["free", "paid"])
        await expect(row(page, "trial").locator("td")).to_have_text(["yes", "none"])
        differing = page.locator("li.sides")
        await expect(differing).to_have_count(2)  # the newest first
        await expect(differing.first.locator("> ol").first).to_have_text("It was not there.")
        await expect(differing.first).to_contain_text("My card is 4111")
        await expect(differing.last).to_contain_text("moodsad")
        await expect(page.locator(".between li")).to_have_count(4)
        await expect(page.locator("#commit-1")).to_contain_text("compared")
        await page.get_by_text("Items that are the same").click()
        await expect(page.locator("details .message")).to_contain_text("Where is my parcel?")

        # Another moment on either side, and the way back.
        await page.get_by_label("Compare with the state after commit").fill("3")
        await page.keyboard.press("Enter")
        await compared(page, 3, 5)
        await expect(page.locator("li.sides")).to_have_count(1)
        await expect(page.locator("li.sides .is-changed")).to_have_count(2)
        await page.locator("#commit-7").click()
        await compared(page, 3, 7)
        await expect(row(page, "code_interpreter.file_ids").locator("td")).to_have_text(["none", "file-1"])
        await expect(page.locator("li.sides .is-deleted")).to_contain_text("My card is 4111")
        assert page.url.endswith(f"#thread/{thread}?at=7&from=3&tab=compare")
        await page.locator("#commit-1").click()
        await compared(page, 1, 3)
        await page.go_back()
        await compared(page, 3, 7)

        # From the moment that is looked at, with a key.
        await page.get_by_role("tab", name="State").click()
        await at(page, 7)  # before that, what is clicked moves
        await page.locator("#commit-2").click()
        await at(page, 2)
        await page.keyboard.press("c")
        await page.keyboard.press("j")
        await page.keyboard.press("j")
        await compared(page, 2, 4)

        # The report is of the two moments that are compared, in whatever form.
        for label, name in (("a page to print", "html"), ("a table (CSV)", "csv"), ("JSON", "json")):
            await page.get_by_label("The report is").select_option(label)
            async with page.expect_download() as downloading:
                await page.get_by_role("button", name="Download report").click()
            download = await downloading.value
            assert download.suggested_filename == f"{thread}.{name}"
            report = Path(await download.path()).read_text(encoding="utf-8-sig")
            match name:
                case "html":
                    assert "Then: after commit 2" in report
                    assert "Then: after commit 4" in report
                case "csv":
                    assert {line["commit"] for line in csv.DictReader(io.StringIO(report))} >= set("1234567")
                case _:
                    assert [state["n"] for state in json.loads(report)["threads"][0]["states"]] == [2, 4]


async def test_the_timeline_tells_values_and_what_stands_out_and_is_chosen_by_whom_and_what(stand: Stand) -> None:
    thread = await story(stand.writer, "thread_marked")
    handle = stand.composed.handler.handle
    await handle("acme", PlaceHold(thread_id=thread, hold="case-7", actor="counsel"))  # 8
    two = message_id(await stand.writer.add(thread, "Anybody?", actor="shop"))  # 9
    await handle("acme", ReleaseHold(thread_id=thread, hold="case-7", actor="counsel"))  # 10
    await handle("acme", ForkThread(thread_id="thread_marked_fork", parent=thread, at=4, actor="bot"))
    await handle("acme", EraseMessage(thread_id=thread, message_id=two, actor="dpo"))  # 11
    await stand.fed.feed()
    async with stand.entered(f"#thread/{thread}") as page:
        await at(page, 11)
        await expect(page.locator("#commit-4 .did")).to_have_text("plan: free → paid, removed trial: yes")
        await expect(page.locator("#commit-1 .did")).to_contain_text("created with plan: free, trial: yes")
        marks = page.get_by_label("What stands out").get_by_role("listitem")
        await expect(marks).to_have_text([
            "forked as thread_marked_fork commit 4", "held by case-7 commit 8 to commit 10", "items erased commit 11",
        ])  # fmt: skip
        await expect(page.locator("#commit-4 .tag")).to_have_text("forked as thread_marked_fork")
        await expect(page.locator(".is-held")).to_have_count(2)
        await marks.nth(1).get_by_role("link", name="commit 8").click()
        await at(page, 8)

        # By whom, and of which kind; the address has both, and the keys go from one to the next.
        listed = page.locator(".commit .by > .mono")
        await page.get_by_label("By", exact=True).fill("s*")
        await page.keyboard.press("Enter")
        await expect(listed).to_have_text(["9", "7", "4", "3", "1"])
        await page.get_by_label("What changed").select_option("Metadata")
        await expect(listed).to_have_text(["4", "1"])
        assert page.url.endswith("?at=8&actor=s*&kind=metadata")
        await page.get_by_label("By", exact=True).fill("")
        await page.get_by_label("What changed").select_option("Metadata")
        await page.keyboard.press("Tab")
        await page.locator("#commit-4").click()
        await at(page, 4)
        await expect(page.locator("#commit-4 .did")).to_have_text("plan: free → paid, removed trial: yes")
        await page.keyboard.press("k")
        await at(page, 1)
        await stand.writer.set(thread, "plan", "gold", actor="sales")  # 12
        await stand.writer.add(thread, "Not listed", actor="shop")  # 13
        await expect(listed).to_have_text(["12", "4", "1"])
        await expect(page.locator("#commit-12 .did")).to_have_text("plan: paid → gold")
        await page.reload()
        await expect(listed).to_have_text(["12", "4", "1"])
        await page.get_by_label("What changed").select_option("Erasures")
        await expect(listed).to_have_text(["11"])
        await page.get_by_label("By", exact=True).fill("nobody")
        await page.keyboard.press("Enter")
        await expect(page.locator(".ending")).to_have_text("No commit is like that.")

        # What each item says stands beside who said it, that of erased ones excepted.
        await page.get_by_role("button", name="Latest commit").click()
        await page.get_by_role("tab", name="Who changed what").click()
        await expect(page.locator(".quote").first).to_have_text("user: “Not listed”")
        await expect(page.locator(".quote").nth(1)).to_have_text("What it said was erased.")
        await expect(page.locator(".quote").last).to_contain_text("Where is my parcel?")


@pytest.mark.parametrize("total", [1_000, pytest.param(20_000, marks=pytest.mark.soak)])
async def test_a_long_thread_is_looked_at_a_window_at_a_time(stand: Stand, total: int) -> None:
    thread, prev = Address("acme", f"thread_of_{total}"), None
    commits, quarter = [], total // 4
    for n in range(1, total + 1):
        plan = MetadataUpdated(set={"plan": f"plan {n}"}, unset=())
        events = (CREATED,) if n == 1 else (added(n - 1 - n // quarter, f"message {n}"),) if n % quarter else (plan,)
        made = encoded(commit(n, *events, prev=prev, thread=thread.thread, tenant="acme", actor=f"actor {n % 3}"))
        commits.append((thread, made.body))
        prev = made.hash
    await store_many(stand.composed, commits)

    answered: list[int] = []
    async with stand.entered(f"#thread/{thread.thread}?at={3 * quarter + 1}") as page:
        page.on("response", lambda answer: answered.append(int(answer.headers.get("content-length", "0"))))
        await at(page, 3 * quarter + 1)
        told = page.locator(f"#commit-{3 * quarter} .did")
        await expect(told).to_have_text(f"plan: plan {2 * quarter} → plan {3 * quarter}")
        slider = page.get_by_role("slider")
        await slider.focus()
        for key, n in (("Home", 1), ("PageUp", 11), ("End", total)):
            await slider.press(key)
            await at(page, n)
            await expect(page.locator(f"#commit-{n}")).to_be_in_viewport()
            await expect(page.locator(f"#commit-{n} .by time")).to_be_visible()
            assert await page.locator(".commit").count() < 40
            assert await page.locator(".message").count() <= 40
        await page.get_by_role("button", name="Show earlier ones").click()
        await expect(page.locator(".message")).to_have_count(80)
        # Dragged back and forth as fast as can be, it comes to rest where it was left.
        for n in (700, 20, 333, 800, 5, 249):
            await slider.fill(str(n))
        await at(page, 249)
        await expect(page.locator(".message.is-added")).to_contain_text("message 249")

        then = 2 * quarter + 234
        await page.get_by_label("Time, in UTC").fill((NOON + timedelta(seconds=then)).strftime("%Y-%m-%dT%H:%M:%S"))
        await page.get_by_role("button", name="Go").click()
        await at(page, then)
        await page.get_by_role("tab", name="Who changed what").click()
        await expect(page.locator(".quote").first).to_have_text(f"user: “message {then}”")
        await expect(page.locator(".quote")).to_have_count(50)
        await page.get_by_role("tab", name="Compare").click()
        await compared(page, 1, then)
        await expect(page.locator("#differing")).to_contain_text(f"{then - 3:,}, the newest first")
        await expect(page.locator("li.sides")).to_have_count(40)
        await page.get_by_role("button", name=f"Show more ({then - 43:,} are left)").click()
        await expect(page.locator("li.sides")).to_have_count(160)
    assert max(answered) < 500_000


async def test_what_a_fork_begins_with_is_told_to_be_of_the_other_thread(stand: Stand) -> None:
    await stand.writer.create("thread_root")
    inherited = message_id(await stand.writer.add("thread_root", "A name?"))
    await stand.composed.handler.handle("acme", ForkThread(thread_id="thread_branch", parent="thread_root"))
    await stand.writer.remove("thread_branch", inherited)
    async with stand.entered("#thread/thread_branch?tab=blame") as page:
        await expect(page.locator("#commit-1 .did")).to_have_text("forked from thread_root at commit 2")
        await expect(page.locator(".quote")).to_have_text("It is of the thread that this was forked from.")
