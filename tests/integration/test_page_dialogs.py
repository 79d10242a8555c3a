# SPDX-License-Identifier: Apache-2.0
"""What the page does on somebody's word, in a browser: it promises no more than podwatch will do.

An answer of podwatch can be held back, refused or of another kind than was hoped for.
"""

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from tests.browser.chromium import Chromium
from tests.browser.frame import Frame
from tests.page.__main__ import Handler

pytestmark = pytest.mark.integration

_HOLD = "demo.held = new Promise(done => { demo.release = done; }); 0"
_OPAQUE = "getComputedStyle(document.querySelector('dialog')).opacity"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """A browser for all of them."""
    with Chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where the page is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/podwatch/"
        server.shutdown()
        thread.join()


class Asked(Frame):
    """The page in a browser, with one of the documents."""

    def __init__(self, browser: Chromium, url: str) -> None:
        super().__init__(browser)
        self.url = url

    def show(self, document: str, more: str = "") -> None:
        """Open the page with a document, and wait until it is drawn and podwatch answers."""
        self.browser.open(f"{self.url}?bare=1&document={document}{more}")
        self.until("document.readyState == 'complete' && document.body.dataset.state")

    def is_disabled(self, button: str) -> bool:
        """Whether a button of this name is off."""
        return bool(self.find("button", button).states.get("disabled"))


@pytest.fixture
def page(browser: Chromium, url: str) -> Iterator[Asked]:
    """The page, which puts nothing on the console."""
    browser.resize(1280, 900)
    browser.faults.clear()
    shown = Asked(browser, url)
    yield shown
    shown.evaluate("1")  # what the browser has told by now is heard
    assert [fault for fault in browser.faults if "/favicon.ico" not in fault] == []
    browser.open("about:blank")


def test_what_was_asked_for_is_not_cancelled(page: Asked) -> None:
    """Until podwatch answers neither Cancel nor Escape makes believe that nothing will be done."""
    page.show("ok")
    page.evaluate(_HOLD)
    page.click("button", "Pause")
    page.find("dialog", "Pause repairs")
    page.press("Enter")
    page.until_text("cannot be taken back")
    assert page.is_disabled("Cancel")
    assert page.evaluate(_OPAQUE) == "1"
    for _ in range(3):
        page.press("Escape")
    assert page.evaluate("document.querySelectorAll('dialog[open]').length") == 1

    page.until_text("has not answered yet, and may still do it")
    page.press("Escape")
    assert page.evaluate("document.querySelectorAll('dialog[open]').length") == 1
    page.evaluate("demo.release()")
    page.until_gone("dialog")
    page.until_text("Paused until")


def test_a_podwatch_that_never_answers_holds_nobody(page: Asked) -> None:
    """Once the page has said that it may still be done, the dialog can be closed."""
    page.show("ok")
    page.evaluate(_HOLD)
    page.click("button", "Pause")
    page.find("dialog", "Pause repairs")
    page.press("Enter")
    page.until_text("may still do it")
    page.click("button", "Close")
    page.until_gone("dialog")

    page.evaluate("demo.release()")
    page.until_text("Paused until")
    page.click("button", "Pause")
    page.press("Escape")
    page.until_gone("dialog")


def test_restore_in_a_pause_resumes_first(page: Asked) -> None:
    """Nothing is put back in a pause: the dialog says so, and its button ends the pause."""
    page.show("paused")
    page.until("!document.getElementById('restore').disabled")
    page.click("button", "Restore")
    page.until_text("podwatch is paused, and puts nothing back until it is resumed")
    page.until("!document.querySelector('dialog [type=submit]').disabled")
    page.click("button", "Resume and restore")
    page.find("button", "Close")
    page.press("Enter")
    page.until_gone("dialog")
    page.until("document.getElementById('paused').hidden")


def test_only_what_podwatch_names_is_taken_away(page: Asked) -> None:
    """The dialog has the rules that podwatch would delete, not those that the status tells of."""
    page.show("leftover")
    page.click("button", "Take away")
    page.until_text("would take away 1 rule")
    page.until("!document.querySelector('dialog [type=submit]').disabled")
    page.press("Escape")
    page.until_gone("dialog")


def test_what_does_not_start_is_told(page: Asked) -> None:
    """A start that fails is no silence: the unit's result is there, and the way to its logs."""
    page.show("never", "&start=no")
    page.click("button", "Start podwatch")
    page.until_text("podwatch did not start. podwatch.service: exit-code")
    page.click("button", "View in the logs")
    assert page.evaluate("window.jumped") == "/system/logs/#/?prio=info&tag=podwatch"
    assert not page.is_disabled("Start podwatch")


def test_the_keyboard_goes_past_the_picture(page: Asked) -> None:
    """A link before the picture, which shows once it has the focus, leads to the filter."""
    page.show("one")
    page.until("!document.getElementById('pause').disabled")
    page.evaluate("document.getElementById('pause').focus()")
    page.press("Tab")
    page.until("document.activeElement.className == 'skip'")
    page.until("document.activeElement.getBoundingClientRect().width > 20")
    page.press("Enter")
    page.until("document.activeElement.id == 'filter'")


def test_the_hop_is_beside_its_port(page: Asked) -> None:
    """At no width the name of what is broken lies under the port or the network."""
    page.show("one")
    for width in (1280, 1100, 1040, 1000, 800):
        page.browser.resize(width, 900)
        page.until(f"innerWidth == {width}")
        under = """[...document.querySelectorAll('.stop .hop')].filter(text => {
            const a = text.getBoundingClientRect();
            return [...document.querySelectorAll('.frame .box')].some(box => {
                const b = box.getBoundingClientRect();
                return a.left < b.right && b.left < a.right
                    && a.top < b.bottom + 20 && b.top < a.bottom + 20;
            });
        }).length"""
        page.until(f"{under} == 0")


def test_the_focus_stays_where_a_button_goes(page: Asked) -> None:
    """Resume is gone once it was used: who goes by the keyboard is at the button beside it."""
    page.show("paused")
    page.until("!document.getElementById('resume').disabled")
    page.evaluate("document.getElementById('resume').focus()")
    page.press("Enter")
    page.until("document.getElementById('resume').hidden")

    page.until("document.activeElement.id == 'pause'")
