# SPDX-License-Identifier: Apache-2.0
"""The browser of the tests itself: it finds, it does, and it misses no fault of a page."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.chromium import BrowserError, Chromium
from tests.browser.frame import Frame
from tests.lab.machine import until

pytestmark = pytest.mark.integration

_PAGE = """<!DOCTYPE html><html lang="en"><head><title>A page</title>
<link rel="icon" href="/icon"><script src="/page.js"></script></head><body><h1>Ports</h1>
<table><caption>Published</caption><tr><th scope="col">Port</th></tr><tr><td>8080</td></tr></table>
<button disabled>Off</button><button id="go">Go</button><input aria-label="Filter">
<p role="status"></p><iframe name="inner:1" src="/inner"></iframe></body></html>
"""
_SCRIPT = """
window.addEventListener("load", () => document.getElementById("go").addEventListener("click",
  event => { document.querySelector("[role=status]").textContent = `went ${event.detail}` }));
"""
_CONTENT = {
    "/": ("text/html", _PAGE),
    "/icon": ("image/png", ""),
    "/page.js": ("text/javascript", _SCRIPT),
    "/inner": ("text/html", "<!DOCTYPE html><title>in</title><button>Within</button>"),
}


class _Served(BaseHTTPRequestHandler):
    """Answers with the pages above, and permits only scripts that are files."""

    def do_GET(self) -> None:
        """Answer one request."""
        kind, text = _CONTENT.get(self.path, ("", ""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Security-Policy", "default-src 'self'")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its base's name)
        """Say nothing."""


@contextmanager
def _serving() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Served) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """A browser for all of them."""
    with Chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Chromium) -> Iterator[Frame]:
    """The page, loaded."""
    with _serving() as url:
        browser.open(url)
        frame = Frame(browser)
        frame.until("document.readyState == 'complete'")
        yield frame
        browser.open("about:blank")
        browser.faults.clear()


def test_what_is_there_is_found_by_role_and_name(page: Frame) -> None:
    """A table has its caption as name; a button that is off is known to be off."""
    assert page.find("table", "Published").depth > 0
    assert page.rows("Published") == [("Port",), ("8080",)]
    assert page.find("button", "Off").states["disabled"]
    assert page.all("button", "Within") == []
    assert page.browser.faults == []


def test_what_is_not_there_fails_and_shows_what_is(page: Frame) -> None:
    """The failure has all that was there instead."""
    with pytest.raises(AssertionError, match="button 'Go'"):
        page.find("button", "Stop", limit_s=0.1)


def test_mouse_and_keyboard_do_what_a_person_does(page: Frame) -> None:
    """A click is trusted, Tab goes on, Enter presses, text goes where the keyboard is."""
    page.click("button", "Go")
    assert page.until_text("went 1")
    page.press("Enter")
    assert page.until_text("went 0")
    page.press("Tab")
    page.type("808")

    focused = page.focused()
    assert focused is not None
    assert (focused.role, focused.name) == ("textbox", "Filter")
    assert page.evaluate("document.querySelector('input').value") == "808"
    with pytest.raises(AssertionError, match="cannot be clicked"):
        page.click("button", "Off", limit_s=0.1)


def test_a_frame_is_a_page_of_its_own(page: Frame) -> None:
    """What is in a frame is found there, and its scripts run there."""
    inner = Frame(page.browser, "inner:")

    assert inner.find("button").name == "Within"
    assert inner.until("document.title") == "in"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("setTimeout(() => { throw new Error('odd') })", "exception .*odd"),
        ("void Promise.reject(new Error('left'))", "exception .*left"),
        ("console.error('bad', 7)", "console .*bad 7"),
        ("document.body.append(Object.assign(new Image(), {src: '/lost.png'}))", "network .*404"),
        (
            "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">red</p>')",
            "security .*Content Security Policy",
        ),
        (
            "document.body.append(Object.assign(document.createElement('script'), {text: '1'}))",
            "security .*Content Security Policy",
        ),
    ],
    ids=["exception", "promise", "console", "lost", "style", "script"],
)
def test_no_fault_of_a_page_is_missed(page: Frame, script: str, told: str) -> None:
    """Exceptions, errors on the console, requests that fail, and what the policy forbids."""
    page.evaluate(f"void ({script})")
    assert until(lambda: page.evaluate("1") and page.browser.faults, 10)

    assert len(page.browser.faults) == 1
    assert re.search(told, page.browser.faults[0]), page.browser.faults


def test_size_and_colours_are_as_asked_for(page: Frame) -> None:
    """What a page asks of the screen is what the test has chosen."""
    page.browser.resize(414, 800)
    page.browser.prefer("dark")

    assert page.until("innerWidth") == 414
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")

    page.browser.prefer("light")
    page.browser.resize(1280, 900)


def test_nothing_is_left_behind() -> None:
    """When it has ended, no process of it runs, and all that it wrote is gone."""
    with Chromium() as browser:
        browser.open("data:text/html,<title>x</title>")
        place = browser.directory
        assert _of(place)

    assert _of(place) == []
    assert not place.exists()
    with pytest.raises((BrowserError, OSError)):
        browser.command("Browser.getVersion")


def _of(place: Path) -> list[str]:
    """The processes that have a directory in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except (OSError, NotADirectoryError):
            continue
        if entry.name.isdigit() and str(place) in line:
            found.append(line)
    return found
