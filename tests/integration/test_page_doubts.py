# SPDX-License-Identifier: Apache-2.0
"""The page in a browser with what no podwatch should write: it never shows that as well."""

from collections.abc import Iterator

import pytest

from tests.browser.demo import WAYS, Demo, served

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def page() -> Iterator[Demo]:
    """The page, served as by `make page`."""
    with served() as demo:
        yield demo


def _change(page: Demo, script: str) -> None:
    """Change the document below the page, which is told of it."""
    page.evaluate(f"(() => {{ const status = demo.document.status; {script}; demo.publish(); }})()")


@pytest.mark.parametrize("state", ["7", "'exploded'", "undefined", "'constructor'"])
def test_a_state_that_is_none_is_unknown(page: Demo, state: str) -> None:
    """A way is green only where podwatch says that it is open."""
    page.show("ok")
    _change(page, f"for (const c of status.containers) for (const w of c.ways) w.state = {state}")

    page.until("document.querySelectorAll('#ways tbody.unknown').length")
    assert [row for row in page.rows(WAYS) if row[-1].startswith("open")] == []
    assert page.evaluate("document.querySelectorAll('#ways tbody.open').length") == 0


def test_a_lost_container_without_ways_is_told_as_lost(page: Demo) -> None:
    """Where nothing says what it lacks, the row says that, and not that nothing is missing."""
    page.show("ok")
    _change(page, "Object.assign(status.containers[0], {state: 'lost', ways: [], missing: 0})")

    page.until_text("podwatch does not say what is missing")
    assert "0 things" not in page.text()


@pytest.mark.parametrize("since", ["1e14", "-1e14", "9e12"])
def test_no_number_is_too_large_for_a_time(page: Demo, since: str) -> None:
    """A time that no clock shows takes nothing of the rest away."""
    page.show("one")
    page.evaluate("demo.change('ok')")
    page.until("document.body.dataset.state == 'ok'")
    _change(page, f"status.state = 'lost'; status.since = {since}")

    page.until("document.body.dataset.state == 'lost'")
    assert page.find("status").text.startswith("Lost")


def test_an_address_that_is_none_shows_all(page: Demo) -> None:
    """A percent sign with nothing behind it in the address leaves no half-drawn page."""
    page.show("one", "#/container/%E0%A4%A")

    page.until("document.querySelectorAll('#ways tbody').length > 3")
    page.evaluate("document.querySelector('#ways a').click()")
    page.until("!document.querySelector('nav').hidden")


def test_what_cannot_be_drawn_is_told_as_unknown(page: Demo) -> None:
    """Where drawing fails, nothing old stays; what can be drawn again is."""
    page.show("ok")
    page.evaluate("window.whole = Intl.DateTimeFormat; Intl.DateTimeFormat = null")
    _change(page, "status.since += 1; status.state = 'lost'")

    page.until_text("This page cannot show the status of podwatch")
    assert "Unknown" in page.text()
    assert page.rows(WAYS) == []
    assert "OK since" not in page.text()

    page.evaluate("Intl.DateTimeFormat = window.whole")
    _change(page, "status.since += 1")
    page.until("document.body.dataset.state == 'lost'")
    assert "cannot show" not in page.text()
    page.browser.faults.clear()


def test_what_is_removed_meanwhile_is_not_installed(page: Demo) -> None:
    """Where systemd no longer finds the unit, nothing offers to start it."""
    page.show("ok")
    page.evaluate("demo.document.unit = {active: 'inactive', load: 'not-found', pid: 0}")
    page.evaluate("demo.publish()")

    page.until_text("podwatch is not installed")
    assert page.all("button", "Start podwatch") == []


@pytest.mark.parametrize("status", ["[]", "null", '"text"'])
def test_what_is_no_status_is_not_another_version(page: Demo, status: str) -> None:
    """What is no object at all cannot be read; nobody is told to update."""
    page.show("ok")
    page.evaluate(f"demo.document.status = '{status}'; demo.publish()")

    page.until_text("cannot be read")


def test_what_is_too_large_is_not_read(page: Demo) -> None:
    """A status of more than 8 MiB is told as such, and not drawn."""
    page.show("ok")
    _change(page, "status.summary = 'x'.repeat(9 << 20)")

    page.until_text("larger than 8 MiB")


def test_rows_beyond_two_thousand_are_counted_and_found(page: Demo) -> None:
    """So many rows are drawn; the others are counted, and the filter finds each."""
    page.show("200")
    _change(
        page,
        "const all = status.containers; status.containers = Array.from({length: 2005}, (_, n) =>"
        "({...all[0], id: `id${n}`, name: `n${n}.`, networks: [], ways: [], state: 'ok'}))",
    )
    page.until("document.querySelectorAll('#ways tbody').length == 2000")
    page.until_text("and 5 more ways")

    page.click("searchbox", "Filter ways")
    page.type("n2004.")
    page.until("document.querySelectorAll('#ways tbody').length == 1")


def test_a_rule_that_hides_a_port_can_be_taken_away(page: Demo) -> None:
    """Where only a way's advice tells of a left-over rule, the button is there as well."""
    page.show("one")
    _change(
        page,
        "const way = status.containers.flatMap(c => c.ways).find(w => w.state == 'broken');"
        "way.advice = 'podwatch restore --stale'",
    )

    page.find("button", "Take away")


def test_nothing_is_said_twice(page: Demo) -> None:
    """What podwatch waits for and what it restores is one sentence where it is the same."""
    page.show("lost")
    _change(page, "status.blocked = []; status.restoring = status.next_try = 'a copy is at hand'")

    page.until_text("Restoring: a copy is at hand")
    assert page.text().count("a copy is at hand") == 1


def test_whoever_has_not_answered_yet_is_not_said_to_be_silent(page: Demo) -> None:
    """Until the bus has answered the page says nothing of it; where nobody does, it says so."""
    page.browser.open(f"{page.url}?bare=1&document=ok")
    page.until("document.readyState == 'complete'")
    page.evaluate(
        "window.heard = []; new MutationObserver(() => window.heard.push(document.body.innerText))"
        ".observe(document.body, {subtree: true, childList: true, attributes: true})"
    )
    page.until("document.querySelectorAll('#incidents li').length")
    page.until("!document.getElementById('pause').disabled")
    heard = "\n".join(page.evaluate("window.heard"))
    assert "does not answer" not in heard
    assert "Only the last incident" not in heard

    page.show("ok", "&bus=no")
    page.until_text("podwatch does not answer on the bus.")


def test_hops_name_the_command_that_knows_more(page: Demo) -> None:
    """Below the hops of a port is the command that also says who holds it."""
    page.show("one", "#/container/web-a")

    page.until_text("sudo podwatch explain web-a")
