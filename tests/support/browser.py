"""A headless Chromium, and pages that remember whatever went wrong on them or left the place they came from."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, async_playwright

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium here: on Debian, apt-get install chromium"
)
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 60_000
"""Milliseconds that the browser may take for anything: the machine may be busy."""
_VIOLATIONS = (
    "globalThis.violations = []; addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective))"
)


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser, running."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS), timeout=PATIENCE)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def page_at(browser: Browser, url: str, **options: object) -> AsyncIterator[Page]:
    """A page of its own, at an address.

    At its end it holds that nothing was asked of anybody else, nothing was against the page's policy, nothing was
    thrown, and nothing was opened.
    """
    context = await browser.new_context(**options)  # type: ignore[arg-type]
    page = await context.new_page()
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    home = urlsplit(url).netloc

    def asked(address: str) -> None:
        if not address.startswith(("blob:", "data:")) and urlsplit(address).netloc != home:
            wrong.append(f"asked {address}")

    await page.add_init_script(_VIOLATIONS)
    page.on("request", lambda request: asked(request.url))
    page.on("pageerror", lambda fault: wrong.append(f"thrown: {fault}"))
    page.on("dialog", lambda dialog: wrong.append(f"opened: {dialog.message}"))
    page.on("popup", lambda popup: wrong.append(f"opened: {popup.url}"))
    # That a request was refused is no fault of the page.
    page.on(
        "console",
        lambda said: (
            said.type in {"error", "warning"}
            and not said.text.startswith("Failed to load resource")
            and wrong.append(said.text)
        ),
    )
    try:
        await page.goto(url)
        yield page
        wrong += await page.evaluate("violations")
        assert wrong == []
    finally:
        await context.close()
