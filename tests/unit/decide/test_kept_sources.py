# SPDX-License-Identifier: Apache-2.0
"""Which permanent sources are added, and which taken away: podwatch's own, once they are gone."""

from collections.abc import Mapping
from ipaddress import ip_network

import pytest

from podwatch.decide.kept_sources import Plan, plan, release
from podwatch.formats.kept_sources import Kept
from podwatch.words.gates import NetworkFile
from podwatch.words.network import ContainerClass
from tests.unit.decide.one_network import SUBNET as FIRST

APP, DEFAULT = "10.89.0.0/24", str(FIRST)
NEW = NetworkFile("new", ContainerClass.BRIDGE, "podman2", (ip_network(APP),))
OF_APP = Kept("app", configured=True)
OF_DEFAULT = Kept("podman", configured=False)
FILE = NetworkFile("app", ContainerClass.BRIDGE, "podman1", (ip_network(APP),))
FILES = {"app": FILE}
IN = {APP: "trusted"}


def planned(
    own: Mapping[str, Kept],
    wanted: Mapping[str, str],
    sources: Mapping[str, str],
    files: Mapping[str, NetworkFile] = FILES,
    *,
    has_all: bool = True,
    left: tuple[str, ...] = (),
) -> Plan:
    """The plan, of all of Podman's files if nothing else is said."""
    return plan(own, wanted, sources, files, has_all=has_all, left=left)


@pytest.mark.parametrize(
    ("sources", "add"),
    [
        ({}, {APP: OF_APP, DEFAULT: OF_DEFAULT}),
        (IN, {DEFAULT: OF_DEFAULT}),
        ({APP: "work"}, {DEFAULT: OF_DEFAULT}),
        ({"10.0.0.0/8": "trusted"}, {}),
    ],
    ids=["none", "there", "somebody's in another zone", "somebody's, with more around it"],
)
def test_what_is_wanted_and_nowhere_is_added(sources: dict[str, str], add: dict[str, Kept]) -> None:
    """What is a source of whatever zone already, somebody else has put there."""
    assert planned({}, {APP: "app", DEFAULT: "podman"}, sources) == Plan(add)


def test_what_somebody_has_just_taken_away_is_left() -> None:
    """It is podwatch's no more, and not added again; later it is."""
    own, wanted = {APP: OF_APP}, {APP: "app"}
    assert planned(own, wanted, {}, left=(APP,)) == Plan(forget=(APP,))
    assert planned(own, wanted, {}) == Plan({APP: OF_APP}, forget=(APP,))


def test_what_was_moved_to_another_zone_is_somebodys() -> None:
    """It is left there, and taken away by nobody."""
    own = {APP: OF_APP}
    for found in (planned(own, {APP: "app"}, {APP: "work"}), release(own, {APP: "work"})):
        assert found == Plan(forget=(APP,))


@pytest.mark.parametrize(
    ("kept", "files", "is_gone"),
    [
        (OF_APP, FILES, False),
        (OF_APP, {}, True),
        (OF_APP, {"other": NetworkFile("other", ContainerClass.BRIDGE, "podman2")}, True),
        (
            OF_APP,
            {"new": NEW},
            False,
        ),
        (OF_APP, {"app": NetworkFile("app", ContainerClass.BRIDGE, "cni-podman1")}, False),
        (OF_APP, {"app": NetworkFile("app", ContainerClass.MACVLAN, "eth0")}, True),
        (
            OF_APP,
            {"app": NetworkFile("app", ContainerClass.INTERNAL, "b", (ip_network(APP),))},
            True,
        ),
        (
            OF_APP,
            {"app": NetworkFile("app", ContainerClass.BRIDGE, "b", (ip_network("10.1.0.0/24"),))},
            True,
        ),
        (Kept("app", configured=False), {}, False),
    ],
    ids=[
        "its file is there",
        "no file",
        "another network",
        "the subnet is another network's",
        "CNI's",
        "a macvlan now",
        "internal now",
        "with another subnet",
        "Podman's default",
    ],
)
def test_what_goes_goes_with_the_network(
    kept: Kept, files: dict[str, NetworkFile], *, is_gone: bool
) -> None:
    """Gone from Podman's files; with a container that runs nothing is gone."""
    own = {APP: kept}
    assert planned(own, {}, IN, files) == Plan(remove=(APP,) if is_gone else ())
    assert planned(own, {}, IN, files, has_all=False) == Plan()
    assert planned(own, {APP: "app"}, IN, files) == Plan()


def test_somebody_elses_source_stays() -> None:
    """Whatever becomes of its network, or of podwatch."""
    sources = {**IN, DEFAULT: "trusted"}
    own = {APP: OF_APP}
    assert planned({}, {}, sources, {}) == Plan()
    assert planned(own, {}, sources, {}) == Plan(remove=(APP,))
    assert release(own, sources) == Plan(remove=(APP,))


def test_all_of_its_own_is_released() -> None:
    """What is there is taken away; what is not is forgotten."""
    own = {APP: OF_APP, DEFAULT: OF_DEFAULT}
    assert release(own, IN) == Plan(remove=(APP,), forget=(DEFAULT,))
    assert release({}, IN) == Plan()
