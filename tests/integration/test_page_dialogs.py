# SPDX-License-Identifier: Apache-2.0
"""What the page does on somebody's word, in a browser: it promises no more than podwatch will do.

An answer of podwatch can be held back, refused or of another kind than was hoped for.
"""

from collections.abc import Iterator

import pytest

from tests.browser.demo import Demo, served

pytestmark = pytest.mark.integration

_HOLD = "demo.held = new Promise(done => { demo.release = done; }); 0"
_OPAQUE = "getComputedStyle(document.querySelector('dialog')).opacity"


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """One browser for all of them."""
    with served() as demo:
        yield demo


@pytest.fixture
def page(demo: Demo) -> Iterator[Demo]:
    """The page, which is wide and light at first, and puts nothing on the console."""
    with demo.quiet() as page:
        yield page


def test_what_was_asked_for_is_not_cancelled(page: Demo) -> None:
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


def test_a_podwatch_that_never_answers_holds_nobody(page: Demo) -> None:
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


def test_restore_in_a_pause_resumes_first(page: Demo) -> None:
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


def test_only_what_podwatch_names_is_taken_away(page: Demo) -> None:
    """The dialog has the rules that podwatch would delete, not those that the status tells of."""
    page.show("leftover")
    page.click("button", "Take away")
    page.until_text("would take away 1 rule")
    page.until("!document.querySelector('dialog [type=submit]').disabled")
    page.press("Escape")
    page.until_gone("dialog")


def test_what_does_not_start_is_told(page: Demo) -> None:
    """A start that fails is no silence: the unit's result is there, and the way to its logs."""
    page.show("never", "&start=no")
    page.click("button", "Start podwatch")
    page.until_text("podwatch did not start. podwatch.service: exit-code")
    page.click("button", "View in the logs")
    assert page.evaluate("window.jumped") == "/system/logs/#/?prio=info&tag=podwatch"
    assert not page.is_disabled("Start podwatch")


def test_the_keyboard_goes_past_the_picture(page: Demo) -> None:
    """A link before the picture, which shows once it has the focus, leads to the filter."""
    page.show("one")
    page.until("!document.getElementById('pause').disabled")
    page.evaluate("document.getElementById('pause').focus()")
    page.press("Tab")
    page.until("document.activeElement.className == 'skip'")
    page.until("document.activeElement.getBoundingClientRect().width > 20")
    page.press("Enter")
    page.until("document.activeElement.id == 'filter'")


def test_the_hop_is_beside_its_port(page: Demo) -> None:
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


def test_the_focus_stays_where_a_button_goes(page: Demo) -> None:
    """Resume is gone once it was used: who goes by the keyboard is at the button beside it."""
    page.show("paused")
    page.until("!document.getElementById('resume').disabled")
    page.evaluate("document.getElementById('resume').focus()")
    page.press("Enter")
    page.until("document.getElementById('resume').hidden")

    page.until("document.activeElement.id == 'pause'")
