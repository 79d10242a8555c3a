# SPDX-License-Identifier: Apache-2.0
"""The page in a real Cockpit while things happen on its host: what is broken turns red by itself.

Times are those of the browser, from the moment before the host is told to break something. The page
is never loaded anew meanwhile.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.browser.cockpit import Session
from tests.browser.frame import Frame
from tests.e2e.installed import PATIENCE
from tests.e2e.page import PageHost, lines
from tests.e2e.ways import explained, first_broken
from tests.lab.cockpit import JOE
from tests.lab.machine import until

pytestmark = pytest.mark.e2e

on_each_cockpit = pytest.mark.parametrize(
    "there", ["bookworm", "trixie", "forky"], indirect=True, scope="module"
)

RED_WITHIN_S = 2.0
TRIES = 3
"""Other tests' hosts boot beside: the quickest of so many counts."""


def _is(container: str, state: str) -> str:
    """Whether a line of this container is in this state, for the browser to find out."""
    all_of_state = f"[...document.querySelectorAll('#ways tbody.{state}')]"
    return f"{all_of_state}.some(line => line.innerText.includes({json.dumps(container)}))"


def _of(page: Frame, container: str) -> list[str]:
    """What the table says of the ways of a container."""
    return [line.way for line in lines(page) if line.container == container]


@contextmanager
def _never_loaded_anew(page: Frame) -> Iterator[None]:
    page.evaluate("void (window.same = true)")
    yield
    assert page.evaluate("window.same")


@on_each_cockpit
def test_all_is_well(web: PageHost, seen: Session) -> None:
    """Who logs in is told OK, and sees each published port open."""
    seen.page.find("status", re.compile("OK"))
    shown = lines(seen.page)

    assert {line.state for line in shown if line.port} <= {"open", "on", "no"}
    for port in (8081, 8082, 8083, 8085, 8086):
        assert any(line.port.startswith(str(port)) and line.state == "open" for line in shown)


@on_each_cockpit
def test_what_breaks_turns_red_and_green_again(
    web: PageHost, seen: Session, record_property: Callable[[str, object], None]
) -> None:
    """Its line is red within two seconds, names the hop that explain names; then it is green."""
    page = seen.page
    red, green = [], []
    page.until(_is("web-a", "open"))
    with _never_loaded_anew(page):
        for _ in range(TRIES):
            with web.paused():
                page.notice(_is("web-a", "broken"))
                began = time.time()
                web.break_a_way()
                red.append(page.noticed() - began)
                hop = first_broken(explained(web), "in")[0]["place"]
                told = [way.split(" · ") for way in _of(page, "web-a")]
                assert any(way[0] == "broken" and way[1].startswith(hop) for way in told), told
                page.find("listitem", re.compile(f"8081.*web-a: broken at {hop}"))
                page.notice(_is("web-a", "open"))
                began = time.time()
            green.append(page.noticed() - began)
            page.find("status", re.compile("OK"))
            web.start_anew()

    for what, took in (("red", red), ("green", green)):
        record_property(f"{what} after, s", [round(each, 2) for each in sorted(took)])
    assert min(red) <= RED_WITHIN_S
    assert max(red) <= RED_WITHIN_S * PATIENCE


def test_an_incident_is_told(web: PageHost, seen: Session) -> None:
    """What podwatch put back by itself is the newest incident: what it was, and who did it."""
    page = seen.page
    before = web.incidents()
    with _never_loaded_anew(page):
        web.host.nft("flush", "chain", "inet", "netavark", "NETAVARK-HOSTPORT-DNAT")
        web.until(lambda: web.incidents() > before, "noticed")
        web.until_whole(30)
        page.until_text(r"restored after")
        page.until_text(r"Who: nft")
    web.start_anew()


def test_a_link_leads_to_a_container(web: PageHost) -> None:
    """The address of a container shows its ways alone, the first of them opened to its hops."""
    with web.looking(JOE, "#/container/web-b") as session:
        page = session.page
        page.find("button", re.compile("Hops of 8082"))

        assert {line.container for line in lines(page)} == {"web-b"}
        opened = page.find("button", re.compile("Hops of"))
        assert opened.states["expanded"]
        page.find("listitem", re.compile("open|port forward"))

        session.turn_to("container", "web-a")
        assert until(lambda: {line.container for line in lines(page)} == {"web-a"}, 10)


def test_a_container_comes_and_goes(web: PageHost, seen: Session) -> None:
    """A container that starts has its line, and has none when it is removed."""
    page = seen.page
    with _never_loaded_anew(page):
        web.start_another("newcomer", 8099)
        page.until(_is("newcomer", "open"))
        web.host.podman("rm", "--force", "--time=0", "newcomer")
        assert until(lambda: _of(page, "newcomer") == [], 15)
