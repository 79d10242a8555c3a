# SPDX-License-Identifier: Apache-2.0
"""The check that state, explain and what is really seen are the same finds each difference."""

from typing import Any

import pytest

from tests.e2e.agreement import compared
from tests.lab.reality import Way

PORT = Way("in", "web", "1", "192.0.2.1:80/tcp", key=(80, "tcp"))
OUT = Way("out", "web", "1", "IPv4")
NAME = Way("name", "web", "1", "db by 10.88.0.1")


def told(mark: str = "open", **more: Any) -> dict[str, Any]:
    """The way to the port as explain tells it."""
    way = {"kind": "in", "title": "80/tcp → web (10.88.0.2:80)", "container_id": "1"}
    return {**way, "port": [80, "tcp"], "count": 1, "mark": mark, "hops": [], **more}


def status(
    state: str = "ok", *, missing: int = 0, of_container: str = "", hop: str = ""
) -> dict[str, Any]:
    """A status document, as far as it is compared."""
    container = {"id": "1", "name": "web", "state": of_container, "hop": hop}
    return {"state": state, "missing": [{}] * missing, "containers": [container]}


ALL_OPEN = {PORT: True, OUT: True, NAME: True}


def test_a_healthy_host_agrees() -> None:
    """Where everything works and is called so, nothing differs."""
    for document in (None, status(), status("degraded"), status(of_container="ok")):
        assert list(compared([told()], "ok", document, ALL_OPEN)) == []


def test_a_broken_host_that_is_called_so_agrees() -> None:
    """A port that is closed, is called broken, and makes the host lost, is no difference."""
    real = {**ALL_OPEN, PORT: False}
    document = status("lost", missing=1, of_container="lost")

    assert list(compared([told("broken")], "lost", document, real)) == []


def test_a_loss_that_closes_no_way_agrees() -> None:
    """Something may be missing before anybody notices."""
    assert list(compared([told()], "lost", status("lost", missing=1), ALL_OPEN)) == []


@pytest.mark.parametrize(
    ("ways", "checked", "document", "real", "says"),
    [
        (
            [told()],
            "ok",
            None,
            {PORT: False},
            "80/tcp → web (10.88.0.2:80) is called open; closed of it: in: web",
        ),
        ([told("broken")], "lost", None, {PORT: True}, "is called broken"),
        ([], "ok", None, {NAME: False}, "podwatch check is ok, and closed is name: web"),
        ([told("broken")], "degraded", None, {}, "explain tells of a broken way"),
        ([], "unknown", None, {}, "podwatch check is unknown"),
        ([], "lost", status(), {NAME: False}, "the status is ok, and closed is name: web"),
        ([], "lost", status(), {}, "the status is ok, and podwatch check says lost"),
        ([], "ok", status("lost", missing=1), {}, "is lost, and podwatch check says ok"),
        ([], "lost", status("lost"), {}, "nothing is missing nor told to be broken"),
        ([], "ok", status(of_container="lost"), {OUT: True}, "web is lost; closed of it: nothing"),
        (
            [],
            "lost",
            status("lost", missing=1, of_container="ok"),
            {OUT: False, NAME: True},
            "web is ok; closed of it: out: web",
        ),
    ],
)
def test_each_difference_is_told(
    ways: list[dict[str, Any]],
    checked: str,
    document: dict[str, Any] | None,
    real: dict[Way, bool],
    says: str,
) -> None:
    """What is told otherwise than it is, or than it is told elsewhere, is named."""
    assert says in "; ".join(compared(ways, checked, document, real))


def test_a_port_of_a_range_is_compared_with_its_way() -> None:
    """A way that serves several ports is open only if each of them is; others do not count."""
    second = Way("in", "web", "1", "192.0.2.1:81/tcp", key=(81, "tcp"))
    v6 = Way("in", "web", "1", "[2001:db8::1]:81/tcp", is_v6=True, key=(81, "tcp"))
    ranged = told(count=2)

    assert list(compared([ranged], "lost", None, {PORT: True, second: False}))
    assert not list(compared([ranged], "lost", None, {PORT: True, second: True, v6: False}))
    assert not list(compared([told()], "lost", None, {PORT: True, second: False}))


def test_a_networks_way_is_compared_with_those_of_its_containers() -> None:
    """Names of a network are open only if each container resolves each; of other networks none."""
    names = told(kind="names", title="names of db, web on app", container_id="", network="app")
    db, other = (
        Way("name", "web", "1", "db", network="app"),
        Way("name", "x", "2", "y", network="b"),
    )

    assert list(compared([names], "lost", None, {db: False, other: True}))
    assert not list(compared([names], "lost", None, {db: True, other: False}))


def test_a_name_resolves_if_one_server_answers() -> None:
    """Names that one of two servers tells may be called open, and may be called broken."""
    first, second = (Way("name", "web", "1", f"db by {at}", network="app") for at in ("a", "b"))
    for mark in ("open", "broken"):
        names = told(mark, kind="names", container_id="", network="app")
        assert not list(compared([names], "lost", None, {first: True, second: False}))
        both = {first: mark == "broken", second: mark == "broken"}
        assert list(compared([names], "lost", None, both))


def test_names_of_who_is_alone_are_not_tried() -> None:
    """He may be lost for them; where somebody could be asked for, that was tried."""
    document = status("lost", of_container="lost", hop="DNS")
    alone = {PORT: True, OUT: True}
    sentence = "web is lost; closed of it: nothing"
    assert sentence not in list(compared([told()], "lost", document, alone))
    assert sentence in list(compared([told()], "lost", document, {**alone, NAME: True}))
    other = status("lost", of_container="lost", hop="link")
    assert sentence in list(compared([told()], "lost", other, alone))
