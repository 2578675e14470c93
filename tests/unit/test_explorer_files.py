"""The explorer's files: under which policy they go out, and that they are what that policy is for."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from clew_services.http.explorer import POLICY, explorer_routes
from clew_services.http.explorer.page_files import File
from support.asgi import Parts, call

PAGE = files("clew_services.http.explorer").joinpath("page")
FILES = sorted(file.name for file in PAGE.iterdir())
MODULES = [name for name in FILES if name.endswith(".js")]
ANYBODY: dict[str, str] = {}


def text(name: str) -> str:
    return PAGE.joinpath(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["/explorer", *(f"/explorer/{name}" for name in FILES if name != "index.html")])
async def test_every_file_is_there_for_anybody_under_the_strictest_policy(path: str) -> None:
    answer = await call(Parts(), "GET", path, headers=ANYBODY)
    assert answer.status == 200
    assert answer.body
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    kind = {"js": "text/javascript", "ss": "text/css", "vg": "image/svg+xml"}.get(path[-2:], "text/html")
    assert answer.headers["content-type"].startswith(kind)


def test_the_policy_lets_in_nothing_from_elsewhere_and_nothing_inline() -> None:
    assert POLICY.startswith("default-src 'none'; ")
    assert "unsafe" not in POLICY
    assert set(re.findall(r"'[a-z]+'|https?:|data:|\*", POLICY)) == {"'none'", "'self'", "data:", "'script'"}


async def test_a_browser_that_has_a_file_is_told_so_until_it_changes() -> None:
    first = await call(Parts(), "GET", "/explorer/main.js", headers=ANYBODY)
    tag = first.headers["etag"]
    again = await call(Parts(), "GET", "/explorer/main.js", headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == tag
    assert again.headers["content-security-policy"] == POLICY
    other = await call(Parts(), "GET", "/explorer/main.js", headers={"If-None-Match": '"other"'})
    assert other.status == 200


def test_the_key_of_titles_stands_in_the_page_whatever_it_is() -> None:
    (page,) = (route.endpoint for route in explorer_routes('"><b>{title_key}') if route.path == "/explorer")
    assert isinstance(page, File)
    assert b'name="clew-title-key" content="&quot;&gt;&lt;b&gt;{title_key}"' in page._whole.body


async def test_nothing_else_is_there_and_nothing_can_be_sent() -> None:
    for path in ("/explorer/index.html", "/explorer/../app.py", "/explorer/%2e%2e/serving.py"):
        assert (await call(Parts(), "GET", path, headers=ANYBODY)).status == 404, path
    refused = await call(Parts(), "POST", "/explorer", b"{}", headers=ANYBODY)
    assert refused.status == 405
    assert refused.headers["allow"] == "GET, HEAD"
    assert refused.error["message"]


def test_the_page_has_no_code_or_style_within_it_and_names_no_other_place() -> None:
    page = text("index.html")
    assert not re.search(r"<style|\son\w+=|style=|<base", page)
    assert re.findall(r"<script\b[^>]*>(.*?)</script>", page, re.DOTALL) == [""]
    for name in FILES:
        named = set(re.findall(r"https?://[^\s\"')]+", text(name)))
        assert named <= {"http://www.w3.org/2000/svg"}, name


@pytest.mark.parametrize("module", MODULES)
def test_no_module_makes_markup_or_code_of_text(module: str) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|setHTML|DOMParser|srcdoc"
    assert not re.search(forbidden, text(module))


@pytest.mark.parametrize("module", MODULES)
def test_every_module_imports_what_is_there_and_says_what_it_is_for(module: str) -> None:
    code = text(module)
    assert code.startswith("// ")
    for named, source in re.findall(r"^import \{([^}]*)\} from \"\./([\w.]+)\";$", code, re.MULTILINE):
        assert source in FILES
        for name in (part.strip() for part in named.split(",")):
            assert re.search(rf"^export (async )?(function|class|const) {name}\b", text(source), re.MULTILINE), name
            assert len(re.findall(rf"\b{name}\b", code)) > 1, f"{module} does not use {name}"


def shades(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", css))


def luminance(shade: str) -> float:
    parts = [int(shade[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_read_in_light_and_in_dark(dark: bool) -> None:
    light, _, rest = text("explorer.css").partition("@media screen and (prefers-color-scheme: dark)")
    shade = shades(light) | (shades(rest) if dark else {})
    writing = [("ink", "paper"), ("ink", "raised"), ("soft", "paper"), ("soft", "raised"), ("clew", "paper")]
    writing += [("ink", "clew-tint"), ("soft", "clew-tint"), ("clew", "clew-tint"), ("paper", "clew")]
    writing += [("good", "good-tint"), ("bad", "bad-tint"), ("good", "raised"), ("bad", "raised"), ("ink", "mark")]
    for front, back in writing:
        assert contrast(shade[front], shade[back]) >= 4.5, f"{front} on {back}"
    # The edges of controls, and the thread.
    for front, back in [("edge", "paper"), ("edge", "raised"), ("clew", "paper")]:
        assert contrast(shade[front], shade[back]) >= 3, f"{front} on {back}"


async def test_a_browser_is_sent_to_the_page_from_where_people_look_for_it() -> None:
    html = {"Accept": "text/html,application/xhtml+xml;q=0.9"}
    for method in ("GET", "HEAD"):
        for path, headers, where in (
            ("/", html, "explorer"),
            ("/explorer/", {}, "../explorer"),
            ("/explorer/?x", html, "../explorer"),
        ):
            sent = await call(Parts(), method, path, headers=headers)
            assert (sent.status, sent.headers["location"], sent.body) == (307, where, b"")
            assert sent.headers["cache-control"] == "no-store"
    assert (await call(Parts(), "GET", "/", headers=html)).headers["vary"] == "accept"
    # For everybody else there is nothing at the address itself.
    for method, headers in (("GET", {"Accept": "*/*"}), ("GET", {}), ("POST", html)):
        missing = await call(Parts(), method, "/", headers=headers)
        assert (missing.status, missing.error["message"]) == (404, f"Invalid URL ({method} /)")
    assert (await call(Parts(), "POST", "/explorer/", headers=html)).status == 404
