# SPDX-License-Identifier: Apache-2.0
"""What can be done on the page, and by whom: with administrative access, without it, and by nobody.

And what it says when podwatch does not run, or its status is somebody else's.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.browser.frame import Frame
from tests.e2e.installed import STATUS, on_one_suite
from tests.e2e.page import PageHost, lines
from tests.lab.cockpit import JOE
from tests.lab.machine import until
from tests.page.documents import HOSTILE

pytestmark = pytest.mark.e2e

ACTS = ("Pause", "Restore")
NEEDED = "administrative access is needed"


def _disabled(page: Frame) -> dict[str, bool]:
    """Which buttons of the headline are off."""
    return {name: bool(page.find("button", name).states.get("disabled")) for name in ACTS}


@contextmanager
def _stopped(web: PageHost) -> Iterator[None]:
    """For the block podwatch does not run."""
    web.host.run(["systemctl", "stop", "podwatch"])
    try:
        yield
    finally:
        web.host.run(["systemctl", "start", "podwatch"])
        web.until_whole(30)


def test_without_rights_one_looks(web: PageHost) -> None:
    """An ordinary user sees all ways, may have podwatch look, and is told why the rest is off."""
    with web.looking(JOE) as session:
        page = session.page
        page.find("status", re.compile("OK"))
        page.until_text(NEEDED)

        assert _disabled(page) == dict.fromkeys(ACTS, True)
        assert len(lines(page)) > 8
        before = web.status()["counters"]["looks"]
        page.click("button", "Look now")
        web.until(lambda: web.status()["counters"]["looks"] > before, "looked")


def test_an_administrator_pauses_and_resumes(web: PageHost) -> None:
    """Administrative access, once it is turned on, makes the buttons work: without a new login."""
    with web.looking() as session:
        page = session.page
        page.until_text(NEEDED)
        assert _disabled(page) == dict.fromkeys(ACTS, True)

        session.become_administrator()
        page.click("button", "Pause")
        page.find("dialog", "Pause repairs")
        page.click("radio", "15 minutes")
        page.click("textbox", re.compile("^Reason"))
        page.type("new firewall <b>")
        page.press("Enter")
        page.until_gone("dialog")
        page.until_text(r"Paused until .*: new firewall <b>")
        web.until(lambda: web.is_paused, "paused")

        web.break_a_way()
        page.find("status", re.compile("Lost"))
        page.click("button", "Resume")
        page.find("status", re.compile("OK"))
        assert not web.is_paused
        web.until_whole(30)


@on_one_suite
def test_restore_says_what_it_would_do(web: PageHost) -> None:
    """The dialog has what is missing; in a pause it says so, and ends it first."""
    with web.looking() as session:
        page = session.page
        session.become_administrator()
        page.click("button", "Restore")
        page.until_text("nothing is missing that podwatch puts back")
        page.press("Escape")
        page.until_gone("dialog")
        with web.paused():
            web.break_a_way()
            page.find("status", re.compile("Lost"))
            page.click("button", "Restore")
            page.until_text("table inet netavark is gone")
            page.until("!document.querySelector('dialog [type=submit]').disabled")
            page.until_text("puts nothing back until it is resumed")
            page.click("button", "Resume and restore")
            page.find("button", "Close")
            page.press("Enter")
            page.until_gone("dialog")
            assert not web.is_paused
            web.until_whole(30)


@on_one_suite
def test_what_does_not_run_is_started(
    web: PageHost, record_property: Callable[[str, object], None]
) -> None:
    """podwatch stopped: soon nothing is green; an administrator starts it by the button."""
    with web.looking() as session:
        page = session.page
        session.become_administrator()
        page.find("status", re.compile("OK"))
        page.notice("document.body.innerText.includes('podwatch is not running')")
        beat = web.status()["heartbeat_every"]
        began = time.time()
        with _stopped(web):
            took = page.noticed(3 * beat) - began
            assert [line for line in lines(page) if line.state == "open"] == []
            page.click("button", "Start podwatch")
            page.find("status", re.compile("OK"))
            assert web.host.unit_state("podwatch") == "active"

    record_property("said that podwatch does not run after, s", round(took, 2))


@on_one_suite
def test_a_killed_podwatch_is_seen_again(web: PageHost, seen_by_joe: Frame) -> None:
    """It dies, systemd starts it, and the page goes on by itself."""
    pid = web.main_pid()
    web.host.run(["systemctl", "kill", "--signal=KILL", "podwatch"])
    web.until_another(pid)
    web.until(lambda: str(web.status()["pid"]) == web.main_pid(), "looked")

    page = seen_by_joe
    page.find("status", re.compile("OK"))
    web.lose_the_table()
    web.until_whole(30)
    page.until_text("restored after")


@on_one_suite
def test_a_hostile_status_is_text(web: PageHost, seen_by_joe: Frame) -> None:
    """Names that podman would refuse, put into the file itself: Cockpit shows them as text."""
    page = seen_by_joe
    document = web.status()
    text = json.dumps(document)
    for container, name in zip(document["containers"], HOSTILE, strict=False):
        text = text.replace(json.dumps(container["name"])[1:-1], json.dumps(name)[1:-1])
    with _stopped(web):
        page.until_text("podwatch is not running")
        assert page.find("button", "Start podwatch").states["disabled"]
        web.host.run(["mkdir", "-p", "/run/podwatch"])
        web.host.write(STATUS, text)
        assert until(lambda: HOSTILE[0] in page.text(), 30)
        shown = page.text()

        assert HOSTILE[1] in shown
        assert HOSTILE[4] in shown
        assert "\u202e" not in shown
        assert page.evaluate("document.querySelectorAll('img, [onerror]').length") == 0
        assert [line for line in lines(page) if line.state == "open"] == []
        web.host.write(STATUS, "{" * 100_000)
        page.until_text("cannot be read")
    page.find("status", re.compile("OK"))


@pytest.fixture(scope="module")
def _joe(web: PageHost) -> Iterator[Frame]:
    with web.looking(JOE) as session:
        session.page.find("status", re.compile("OK"))
        yield session.page


@pytest.fixture
def seen_by_joe(_joe: Frame) -> Frame:
    """The page as an ordinary user sees it, never loaded anew."""
    return _joe
