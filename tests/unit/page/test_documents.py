# SPDX-License-Identifier: Apache-2.0
"""What `make page` shows is such as podwatch writes, and its server gives out that and no more."""

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from podwatch.report.status import SHAPE, fit
from podwatch.words import api
from podwatch.words.verdict import State
from podwatch.words.way import Mark
from tests.page.__main__ import PAGE, Handler
from tests.page.documents import DOCUMENTS, recorded

AS_TOLD = ("old", "newer", "broken", "never", "no-podwatch")
"""Documents that are meant to be none that the page understands."""

UNDERSTOOD = [name for name in DOCUMENTS if name not in AS_TOLD]


def _lacking(value: Any, shape: Any, place: str = "") -> Iterator[str]:
    """Where a document lacks a field that it would have, were it written today.

    An object without any field, or of no state, is a part of which there is nothing to tell.
    """
    if value == {} or value == {"state": ""}:
        return
    if isinstance(shape, dict) and isinstance(value, dict):
        for key, inner in shape.items():
            if key in value:
                yield from _lacking(value[key], inner, f"{place}.{key}")
            else:
                yield f"{place}.{key}"
    elif isinstance(shape, list) and isinstance(value, list):
        for entry in value:
            yield from _lacking(entry, shape[0], f"{place}[]")


WRITTEN_SOMETIMES = {
    ".restoring",
    ".watchers.netns",
    ".watchers.relays",
    ".containers[].hop",
    ".containers[].why",
    ".containers[].advice",
    ".containers[].since",
}
"""What a daemon of a host leaves out where it has nothing to say there."""


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_each_document_is_of_todays_shape(name: str) -> None:
    """Every field of SHAPE is in each document, with a value of its type: they do not rot."""
    status = DOCUMENTS[name]()["status"]

    assert set(_lacking(status, SHAPE)) <= WRITTEN_SOMETIMES
    whole = {**fit(status, SHAPE), **{key: status[key] for key in status.keys() - SHAPE.keys()}}
    for key in SHAPE.keys() & status.keys():
        if status[key] is not None:  # there was no incident, or no next look is due
            assert fit(whole[key], SHAPE[key]) == whole[key]
    assert status["state"] in list(State)
    ways = [way for each in status["containers"] for way in each["ways"]]
    assert {way["state"] for way in ways} <= set(Mark)


@pytest.mark.parametrize("name", ["ok", "lost", "one"])
def test_explanations_are_as_the_bus_gives_them(name: str) -> None:
    """What was recorded of podwatch explain has the form of what Explain answers."""
    explain = api.method("Explain")
    assert explain is not None
    assert explain.out_signature == "a(sssa(ssss))"

    for kind, title, container, hops in recorded(name)["explain"]:
        assert all(isinstance(text, str) for text in (kind, title, container))
        assert all(len(hop) == 4 and hop[2] in list(Mark) for hop in hops)


def test_each_state_of_the_host_has_a_document() -> None:
    """Whoever changes the page sees it in every state that a host can be in."""
    states = {DOCUMENTS[name]()["status"]["state"] for name in UNDERSTOOD}

    assert states >= {State.OK, State.LOST, State.DEGRADED}


@pytest.fixture
def served() -> Iterator[int]:
    """The port of a server of the page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def _get(port: int, path: str) -> tuple[int, bytes, str]:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    asked.request("GET", path)
    answer = asked.getresponse()
    found = answer.status, answer.read(), answer.getheader("Content-Security-Policy", "")
    asked.close()
    return found


def test_the_page_is_served_below_cockpits_policy(served: int) -> None:
    """The page's files and what it asks of Cockpit come with the policy that Cockpit sends."""
    _, index, policy = _get(served, "/podwatch/")

    assert index == (PAGE / "index.html").read_bytes()
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    for path in ("/base1/cockpit.js", "/podwatch/podwatch.js", "/manifests.js", "/podwatch/po.js"):
        assert _get(served, path)[::2] == (200, policy)
    assert json.loads(_get(served, "/documents/lost")[1])["status"]["state"] == "lost"


@pytest.mark.parametrize("path", ["/podwatch/../Makefile", "/documents/none", "/etc/passwd"])
def test_nothing_else_is_served(served: int, path: str) -> None:
    """No other file of the machine is given out."""
    assert _get(served, path)[0] == 404
