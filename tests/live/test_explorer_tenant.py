"""The tenant's pages of the explorer: its feed, keys, rejected commands, retention, holds and status."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from clew_events.commands import PlaceHold, SetRetention
from clew_services.compose.roles import serve_inbox
from support import nats_services
from support.browser import needs_chromium
from support.explorer import READER, Stand, explorer, row

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

OFFERED = ("You", "Feed", "Keys", "Rejected", "Retention", "Holds", "Status")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with explorer(tmp_path_factory.mktemp("explorer")) as stand:
        yield stand


async def open_page(page: Page, name: str) -> None:
    await page.get_by_role("tab", name=name, exact=True).click()
    await expect(page.locator(".tenant .loading")).to_have_count(0)


async def test_each_page_of_a_tenant_that_has_nothing_yet_says_the_next_step(stand: Stand) -> None:
    async with stand.entered() as page:
        await page.get_by_role("link", name="acme").click()
        await expect(page.get_by_role("tab")).to_have_text(OFFERED)
        await expect(row(page, "Scopes")).to_contain_text("read, write, audit, erase, hold, retention, admin")
        await page.get_by_role("tab", name="You").press("ArrowRight")
        await expect(page.locator(".panel")).to_contain_text("Nothing has happened yet")
        for name, title in (
            ("Rejected", "Nothing was rejected"),
            ("Retention", "No policy of retention"),
            ("Retention", "Nothing is due"),
            ("Holds", "No legal holds"),
            ("Status", "No checkpoint yet"),
        ):
            await open_page(page, name)
            await expect(page.locator(".notice", has=page.get_by_role("heading", name=title))).to_be_visible()
        assert page.url.endswith("#tenant/status")
        await page.go_back()
        await expect(page.get_by_role("tab", name="Holds")).to_have_attribute("aria-selected", "true")


async def test_an_administrator_sees_what_happens_and_what_was_rejected_and_tries_it_again(stand: Stand) -> None:
    composed = stand.composed
    async with nats_services.served(composed, (serve_inbox,)), stand.entered("#tenant/feed") as page:
        await expect(page.locator(".live")).to_have_text("Live")
        body = b'{"thread_id": "thread_late", "metadata": {"plan": "<b>gold</b>"}}'
        await composed.nc.jetstream().publish("clew.inbox.acme.update_thread", body, headers={"Nats-Msg-Id": "shop-1"})
        await open_page(page, "Rejected")
        retry = page.get_by_role("button", name=re.compile("Retry the command"))
        while not await retry.count():
            await page.evaluate("location.hash = '#tenant/you'")
            await expect(row(page, "Tenant")).to_contain_text("acme")
            await open_page(page, "Rejected")
        await expect(page.locator(".columned")).to_contain_text("No thread found with id 'thread_late'.")
        await page.get_by_text("Its body").click()
        await expect(page.locator(".columned .code")).to_contain_text("<b>gold</b>")
        await open_page(page, "Feed")
        await expect(page.locator(".live")).to_have_text("Live")
        await stand.writer.create("thread_late")
        commits = page.locator(".feed > li")
        await expect(commits).to_have_count(1)
        await open_page(page, "Rejected")
        await retry.click()
        await expect(page.locator(".notice")).to_contain_text("Nothing was rejected")
        await open_page(page, "Feed")
        await expect(commits.first).to_contain_text("set plan: <b>gold</b>")
        await commits.first.get_by_role("link").click()
        await expect(page.get_by_role("heading", name="thread_late")).to_be_visible()
        await expect(row(page, "plan").locator("ins")).to_have_text("<b>gold</b>")


async def test_retention_and_holds_are_shown_with_what_they_are_about(stand: Stand) -> None:
    handle = stand.composed.handler.handle
    await stand.writer.create("thread_kept")
    await handle("acme", PlaceHold(thread_id="thread_kept", hold="case-7", actor="counsel"))
    await handle("acme", SetRetention(name="trials", after_days=90, since="changed", then="delete", confirm=True))
    await stand.fed.feed()
    async with stand.entered("#tenant/retention") as page:
        await expect(page.locator(".columned")).to_contain_text("deleted 90 days after it last changed")
        await open_page(page, "Holds")
        await expect(page.locator("tr", has_text="case-7").get_by_role("link")).to_have_text("thread_kept")
        await open_page(page, "Status")
        await expect(row(page, "Log")).to_contain_text("of all tenants")


async def test_a_key_is_created_shown_once_used_within_its_scopes_and_revoked(stand: Stand) -> None:
    async with stand.composed.follow_keys(stand.keys), stand.entered("#tenant/keys") as page:
        await page.get_by_label("Who uses the new key").fill("billing")
        await page.get_by_label("audit").check()
        await page.get_by_role("button", name="Create the key").click()
        key = await page.locator(".new-key").inner_text()
        assert key.startswith("clew_")
        made = page.locator("tbody tr", has_text="billing")
        await expect(made).to_contain_text("read, audit")
        async with stand.entered("#tenant/keys", key=key) as other:
            await expect(other.locator(".panel")).to_contain_text("This takes the scope “admin”")
            await open_page(other, "Status")
            await expect(row(other, "Log")).to_be_visible()
            await page.reload()
            await expect(made).to_be_visible()
            await expect(page.get_by_text(key)).to_have_count(0)
            await page.get_by_role("button", name="Revoke the key billing").click()
            await expect(page.get_by_role("button", name="Keep it")).to_be_focused()
            await page.keyboard.press("Enter")
            await page.get_by_role("button", name="Revoke the key billing").press("Enter")
            await page.get_by_role("button", name="Revoke for ever").press("Enter")
            await expect(made).to_contain_text("revoked")
            while await other.get_by_label("API key").count() == 0:
                await other.reload()
                await expect(other.get_by_label("API key").or_(other.locator(".tenant"))).to_be_visible()


async def test_what_the_scopes_do_not_permit_is_not_offered(stand: Stand) -> None:
    async with stand.entered("#tenant", key=READER) as page:
        await expect(page.get_by_role("tab")).to_have_text(["You"])
        await expect(row(page, "Recorded as")).to_contain_text("key:reader")
