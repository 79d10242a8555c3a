# SPDX-License-Identifier: Apache-2.0
"""The page in a browser with each document of `make page`: all it may be shown, without a host.

What does not depend on a host is tested here, as it is quick: 200 containers, names that would be
markup, everything that is empty or broken, each of them narrow and from right to left.
"""

import re
from collections.abc import Iterator

import pytest

from tests.browser.demo import NARROW, WAYS, WIDE, Demo, served
from tests.browser.looks import nameless, sticking_out
from tests.lab.machine import until
from tests.page.documents import DOCUMENTS, HOSTILE

pytestmark = pytest.mark.integration

NO_BODY = ("never", "no-podwatch", "old", "newer", "broken")
"""Documents that tell of no container."""
DOUBTED = ("silent", "stopped", "starting")
"""Documents that may be of another time."""


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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_document_fits_and_is_told(page: Demo, document: str) -> None:
    """In each width and direction nothing sticks out; what can be used has a name, tables too."""
    page.show(document)
    page.find("heading", "Container networks")
    assert page.find("status").text
    assert nameless(page) == []
    if document not in (*NO_BODY, "no-container"):
        assert page.rows(WAYS)[0] == ("Port", "Container", "Network", "Way")
        assert len(page.all("columnheader")) >= 4
    for direction in ("ltr", "rtl"):
        page.evaluate(f"document.documentElement.dir = '{direction}'")
        for size in (WIDE, NARROW):
            page.browser.resize(*size)
            page.until(f"innerWidth == {size[0]}")
            assert sticking_out(page) == [], (direction, size)


@pytest.mark.parametrize("document", DOUBTED)
def test_what_may_be_of_another_time_is_not_shown_as_well(page: Demo, document: str) -> None:
    """No line is green, and no way is open, where podwatch gives no sign of life."""
    page.show(document)

    assert page.find("status").text.startswith("Unknown")
    assert [row for row in page.rows(WAYS) if row[-1].startswith("open")] == []
    assert page.evaluate("document.querySelectorAll('#picture .open').length") == 0


@pytest.mark.parametrize("document", [*NO_BODY, "no-container"])
def test_what_is_empty_says_why(page: Demo, document: str) -> None:
    """Without a status, or without containers, there is a sentence and no table."""
    page.show(document)
    told = {
        "never": "podwatch is not running",
        "no-podwatch": "podwatch is not installed",
        "old": "too old",
        "newer": "of different versions",
        "broken": "cannot be read",
        "no-container": "No container is up",
    }

    assert told[document] in page.text()
    assert page.rows(WAYS) == []


def test_start_is_offered_to_whoever_may(page: Demo) -> None:
    """Who has administrative access starts podwatch by the button; others are told what lacks."""
    page.show("never", "&access=no")
    assert page.find("button", "Start podwatch").states["disabled"]
    assert "Needs administrative access" in page.text()

    page.show("never")
    page.click("button", "Start podwatch")
    page.find("status", re.compile("OK"))


def test_names_are_text(page: Demo) -> None:
    """Markup, quotes and escapes in a name are shown; nothing is done, nothing turns round."""
    page.show("hostile")
    shown = page.text()

    assert HOSTILE[0] in shown
    assert HOSTILE[1] in shown
    assert HOSTILE[4] in shown
    assert "abc\ufffdgnp.exe" in shown
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", shown)
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert page.evaluate("[...document.querySelectorAll('[onerror]')].length") == 0


def test_a_hostile_name_has_a_link_of_its_own(page: Demo) -> None:
    """A container is opened by its name, whatever is in it."""
    page.show("hostile")
    page.click("link", HOSTILE[0])
    page.find("navigation", "Breadcrumb")

    def named() -> set[str]:
        # The first line is open: what is below it has one cell.
        return {row[1] for row in page.rows(WAYS)[1:] if len(row) > 1}

    assert until(lambda: named() == {HOSTILE[0]}, 10)


def test_two_hundred_containers_are_filtered(page: Demo) -> None:
    """No picture is drawn; each letter of the filter leaves fewer lines, and is quick."""
    page.show("200")
    page.until("document.querySelectorAll('#ways tbody').length == 200")
    assert "up to 40 containers" in page.text()
    page.click("searchbox", "Filter ways")
    page.type("service-19")
    page.until("document.querySelectorAll('#ways tbody').length == 10")
    assert "10 of 200" in page.text()

    page.evaluate("document.querySelector('#filter').select()")
    page.type("broken")
    assert until(lambda: {row[-1].split()[0] for row in page.rows(WAYS)[1:]} == {"broken"}, 10)

    page.evaluate("document.querySelector('#filter').select()")
    page.type("no such thing")
    page.click("button", "Clear filter")
    page.until("document.querySelectorAll('#ways tbody').length == 200")


def test_a_network_of_two_hundred_has_its_picture(page: Demo) -> None:
    """The link of a network leaves its containers, and these are drawn."""
    page.show("200")
    page.click("link", "net-3")
    page.until("document.querySelectorAll('#ways tbody').length == 20")

    assert len(page.all("listitem", re.compile("by net-3 to service-"))) == 20


def test_keyboard_alone(page: Demo) -> None:
    """Tab leads to a line, Enter opens it, Escape closes a dialog, and the focus goes back."""
    page.show("lost")
    page.until("document.querySelectorAll('#ways tbody').length")

    def tab_to(role: str, name: str, *, shift: bool = False) -> None:
        here = "(document.activeElement.ariaLabel || document.activeElement.textContent)"
        for _ in range(60):
            page.press("Tab", shift=shift)
            node = page.focused() if name in page.evaluate(here) else None
            if node is not None and node.role == role and name in node.name:
                return
        raise AssertionError(f"no Tab leads to {role} {name}:\n{page.outline()}")

    tab_to("button", "Hops of 8081")
    page.press("Enter")
    page.find("listitem", re.compile("port forward"))
    node = page.focused()
    assert node is not None
    assert node.states["expanded"]

    tab_to("button", "Pause", shift=True)
    page.press("Enter")
    assert page.find("dialog", "Pause repairs").states["modal"]
    page.press("Escape")
    page.until_gone("dialog")
    node = page.focused()
    assert node is not None
    assert (node.role, node.name) == ("button", "Pause")


def test_the_focus_stays_while_things_change(page: Demo) -> None:
    """What breaks and heals meanwhile takes neither the keyboard away nor an opened line."""
    page.show("one")
    page.click("button", re.compile("Hops of 8082"))
    for document in ("ok", "lost", "ok"):
        page.evaluate(f"demo.change('{document}')")
        page.find("status", re.compile("OK" if document == "ok" else "Lost"))
        node = page.focused()
        assert node is not None
        assert "8082" in node.name
        assert node.states["expanded"]


def test_leftovers_are_taken_away_after_a_question(page: Demo) -> None:
    """The button opens a dialog that names them; only its own button takes them away."""
    page.show("leftover")
    page.click("button", "Take away")
    dialog = page.find("dialog", "Take leftovers away")
    assert dialog.states["modal"]
    page.until("document.querySelector('dialog pre').textContent.includes('10.88.0.99')")
    page.click("button", "Cancel")
    page.until_gone("dialog")
    assert "10.88.0.99" in page.text()

    page.click("button", "Take away")
    page.find("dialog")
    page.until("!document.querySelector('dialog [type=submit]').disabled")
    page.press("Enter")
    page.find("button", "Close")
    page.press("Enter")
    page.until_gone("button", "Take away")


def test_a_link_to_a_container_has_its_hops(page: Demo) -> None:
    """The line that a link opens before podwatch answers on the bus has its hops once it does."""
    page.show("one", "#/container/web-a")

    page.until("document.querySelectorAll('tbody.broken ol.hops li').length > 3")


def test_incidents_are_told_and_drawn(page: Demo) -> None:
    """The last day is a picture with a name; an entry says when, what, who, how and how long."""
    page.show("ok")
    drawn = page.find("image", re.compile("incidents? in the last 24 hours")).name
    told = [node.text for node in page.all("listitem", re.compile("restored after"))]

    assert page.evaluate("document.querySelectorAll('#incidents svg.bar rect').length") == int(
        drawn.split()[0]
    )
    assert told
    assert all("Who:" in entry and "How:" in entry for entry in told)


def test_leases_are_a_table(page: Demo) -> None:
    """The lease that the proxy does not know is told beside the one that it renews."""
    page.show("dhcp")
    head, *leases = page.rows("DHCP leases")

    assert head[:3] == ("Container", "Network", "Address")
    assert [lease[:3] for lease in leases] == [
        ("scanner", "lan", "192.0.2.60"),
        ("printer", "lan", "192.0.2.61"),
    ]
    assert "not known to the DHCP proxy" in leases[1][3]


def test_ones_own_containers_are_looked_at_apart(page: Demo) -> None:
    """Who has podwatch for themselves turns to it; an administrator sees how all users stand."""
    page.show("users")
    page.find("status", re.compile("OK"))
    page.find("listitem", re.compile("eve.*Unknown"))
    page.click("button", "My containers")
    page.find("status", re.compile("Lost"))

    assert page.all("button", "Pause") == []
    assert [row for row in page.rows(WAYS)[1:] if row[-1].startswith("broken")]
