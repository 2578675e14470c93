"""The explorer as people use it: a service, a browser, and who writes to the threads that they look at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Locator, Page, expect

from clew_events.requests import FilesForCode, MetadataPatch, NewMessage, ToolResourcesIn
from clew_services.api_keys import Holder, Keys
from clew_services.api_keys.holders import digest
from clew_services.compose import Clew, connect
from support.api import ACME, served
from support.browser import PATIENCE, chromium, page_at
from support.deployments import deployed
from support.feeding import Fed, fed_by_hand
from support.writers import Writer, message_id

READER = "a-key-that-may-read"
expect.set_options(timeout=PATIENCE)


class Stand:
    """A service with a page, and who writes to it."""

    def __init__(self, url: str, nats: str, browser: Browser, *, composed: Clew, fed: Fed, keys: Keys) -> None:
        self.url = url
        self.nats = nats
        self.composed = composed
        self.writer = Writer(composed.handler, "acme")
        self.fed = fed
        self.keys = keys
        self.browser = browser

    def page(self, place: str = "", **options: object) -> AbstractAsyncContextManager[Page]:
        """The page, as it is opened by somebody who has entered no key."""
        return page_at(self.browser, f"{self.url}/explorer{place}", **options)

    @asynccontextmanager
    async def entered(self, place: str = "", key: str = ACME, **options: object) -> AsyncIterator[Page]:
        """The page, with a key entered."""
        async with self.page(place, **options) as page:
            await page.get_by_label("API key").fill(key)
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
            yield page


@asynccontextmanager
async def explorer(folder: Path) -> AsyncIterator[Stand]:
    """The explorer, on a server of its own."""
    keys = Keys.parse(f"{ACME}:acme")
    keys.admit(digest(READER), Holder("acme", "key:reader", frozenset({"read"}), digest(READER).hex()[:16]))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(deployed(folder / "data"))
        composed = await stack.enter_async_context(connect(server.url, name="explorer"))
        fed = stack.enter_context(fed_by_hand(composed, folder))
        url = await stack.enter_async_context(served(composed, keys=keys))
        browser = await stack.enter_async_context(chromium())
        yield Stand(url, server.url, browser, composed=composed, fed=fed, keys=keys)


async def story(writer: Writer, thread: str) -> str:
    """A thread to which everything happened that can, by several people."""
    message = NewMessage(role="user", content="Where is my parcel? I want a refund.")
    await writer.create(thread, metadata={"plan": "free", "trial": "yes"}, messages=(message,), actor="shop")  # 1
    one = message_id(await writer.add(thread, "It left Oslo.", actor="bot"))  # 2
    two = message_id(await writer.add(thread, "My card is 4111", actor="shop"))  # 3
    await writer.update(thread, patch=MetadataPatch(set={"plan": "paid"}, unset=("trial",)), actor="sales")  # 4
    await writer.change(thread, one, patch=MetadataPatch(set={"mood": "sad"}), actor="bot")  # 5
    await writer.remove(thread, two, actor="privacy")  # 6
    files = ToolResourcesIn(code_interpreter=FilesForCode(file_ids=("file-1",)))
    await writer.update(thread, tool_resources=files, actor="sales")  # 7
    return thread


def row(page: Page, key: str) -> Locator:
    return page.locator("tr", has=page.get_by_role("rowheader", name=key, exact=True))


async def at(page: Page, n: int) -> None:
    """Wait until the page shows the state after a commit."""
    await expect(page.locator(".told b")).to_have_text(f"{n:,}")
    await expect(page.locator(".panel")).not_to_have_attribute("aria-busy", "true")
