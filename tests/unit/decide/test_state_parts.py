# SPDX-License-Identifier: Apache-2.0
"""netavark's state, one file at a time: what each fault of it means, and what is advised."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from podwatch.decide.judge import judge
from podwatch.decide.state_files import (
    about_nobodys,
    by_their_owners,
    nobodys,
    unheard,
    unreadable,
)
from podwatch.decide.stateless import stateless
from podwatch.drivers.iptables_save import LEGACY
from podwatch.words.network import (
    BadFile,
    Container,
    ContainerClass,
    ContainerState,
    FirewallDriver,
    Setup,
)
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Part, Snapshot, Unknown
from podwatch.words.verdict import State
from tests.unit.decide.one_network import HERE, NETWORK, endpoint
from tests.unit.decide.test_judge import QUIET, SETUP, WEB, snapshot

DIR = "/run/containers/networks/firewall"
PORTS = f"{DIR}/ports"
DEAD = Container("d" * 64, "till", ContainerState.ENDED)
OTHER = "e" * 64
BAD = BadFile("/run/x/ports/a b", "not JSON", NETWORK.id, OTHER)


def setup_of(*ids: str, driver: FirewallDriver = FirewallDriver.NFTABLES) -> Setup:
    """One network, and the containers on it."""
    return Setup(driver, {NETWORK.id: NETWORK}, tuple(map(endpoint, ids)), state_dir=DIR)


@pytest.mark.parametrize(
    ("container", "advice"),
    [
        (DEAD, f"podman start till, or: rm {PORTS}/{NETWORK.id}_{DEAD.id}"),
        (replace(DEAD, state=ContainerState.GONE), f"rm {PORTS}/{NETWORK.id}_{DEAD.id}"),
        (replace(DEAD, state=ContainerState.JUST_ENDED), None),
    ],
    ids=["podman lists it", "podman does not list it", "podman has not said so"],
)
def test_what_to_do_about_the_state_of_the_dead(container: Container, advice: str | None) -> None:
    """It is started again, or its file removed; of one that runs nothing is told."""
    found = list(by_their_owners(setup_of(DEAD.id, OTHER), {DEAD.id: container}))
    assert [notice.advice for notice in found] == ([] if advice is None else [advice])
    by_cni = replace(setup_of(DEAD.id, driver=FirewallDriver.CNI), state_dir="")
    assert not list(by_their_owners(by_cni, {DEAD.id: container}))


def test_who_may_not_be_running_is_unknown_by_name() -> None:
    """Only those whom podman does not list, and only before the kernel has told."""
    foreign = replace(DEAD, state=ContainerState.UNLISTED)
    look = Snapshot(setup_of(DEAD.id, OTHER), None, None, {DEAD.id: foreign})
    assert look.setup is not None

    (unknown,) = unheard(look.setup, look)
    assert (unknown.what, unknown.container_ids) == ("till", (DEAD.id,))
    assert not list(unheard(look.setup, replace(look, inside={})))
    assert not list(unheard(look.setup, replace(look, containers={})))
    listed = {DEAD.id: replace(foreign, state=ContainerState.UP)}
    assert not list(unheard(look.setup, replace(look, containers=listed)))


@pytest.mark.parametrize(
    ("bad", "changes", "is_nobodys"),
    [
        (BAD, {}, True),
        (BAD, {"inside": None}, False),
        (BAD, {"busy": "podman is at work"}, False),
        (BAD, {"inside": {ip_address("10.88.0.9"): 1}}, False),
        (BAD, {"containers": {OTHER: Container(OTHER, "web")}}, False),
        (BAD, {"containers": {OTHER: Container(OTHER, "web", ContainerState.ENDED)}}, True),
        (replace(BAD, container_id=""), {}, False),
        (replace(BAD, container_id="", network_id="77" * 32), {}, True),
    ],
    ids=[
        "nobody has it",
        "the kernel was not asked",
        "amid a change",
        "somebody is unknown",
        "podman lists it as running",
        "podman lists it as stopped",
        "of a network in use",
        "of a network out of use",
    ],
)
def test_a_file_without_sense_is_nobodys(
    bad: BadFile,
    changes: dict[str, object],
    is_nobodys: bool,  # noqa: FBT001
) -> None:
    """Where all who live are accounted for, and none of them can have it."""
    setup = replace(setup_of("a" * 64), bad_files=(bad,))
    look = replace(Snapshot(setup, None, None, inside={HERE: 1}), **changes)  # type: ignore[arg-type]

    assert nobodys(setup, look) == ({bad} if is_nobodys else set())


@pytest.mark.parametrize(
    ("number", "told", "last"),
    [
        (1, 1, "/run/x/00 makes no sense (not JSON), and nobody who lives can have it"),
        (20, 20, "/run/x/19 makes no sense (not JSON), and nobody who lives can have it"),
        (21, 21, "1 more file makes no sense, and nobody who lives can have one"),
        (23, 21, "3 more files make no sense, and nobody who lives can have one"),
    ],
)
def test_twenty_files_are_named_and_the_rest_is_counted(number: int, told: int, last: str) -> None:
    """In the order of their names."""
    files = {BadFile(f"/run/x/{n:02}", "not JSON") for n in range(number)}
    found = list(about_nobodys(files))

    assert (len(found), found[-1].what) == (told, last)
    assert found[0].advice == "rm /run/x/00"


@pytest.mark.parametrize(
    ("bad", "ids"),
    [
        (BAD, (OTHER,)),
        (replace(BAD, container_id=""), ("a" * 64, "b" * 64)),
        (replace(BAD, container_id="", network_id="77" * 32), ()),
        (replace(BAD, container_id="", network_id=""), ()),
    ],
    ids=["a container's", "a network's", "of a network out of use", "of nobody knows what"],
)
def test_whom_a_file_without_sense_leaves_unknown(bad: BadFile, ids: tuple[str, ...]) -> None:
    """The one container, or each on the network, once."""
    setup = setup_of("a" * 64, "b" * 64, "a" * 64)
    unknown = Unknown(
        Part.CONTAINER, bad.path, bad.reason, container_ids=ids, network_id=bad.network_id
    )
    assert unreadable(setup, bad) == unknown


def test_the_kernel_is_asked_only_where_it_can_tell_more() -> None:
    """Not again once it has said who is there, and not where every file makes sense."""
    here = Container("a" * 64, "web")
    bad = replace(setup_of("a" * 64), bad_files=(BAD,))
    look = Snapshot(bad, Ruleset(present=False), ABSENT_FIREWALLD, {here.id: here})

    assert judge(look).asks_inside
    stranger = {HERE: 1, ip_address("10.88.0.9"): 1}
    asked = judge(replace(look, inside=stranger))
    assert (asked.state, asked.asks_inside) == (State.LOST, False)
    assert [unknown.what for unknown in asked.unknown] == [BAD.path]
    assert not judge(replace(look, setup=setup_of("a" * 64))).asks_inside
    assert not judge(replace(look, setup=None)).asks_inside


def test_of_a_driver_that_has_no_rules_nothing_is_odd() -> None:
    """Neither the rules of another driver that are there, nor firewalld, are its business."""
    rules = Ruleset(
        present=True,
        chains={"FORWARD": Chain("", ("accept", "accept"))},
        traits=frozenset({LEGACY}),
    )
    bare = Firewalld(running=True, in_kernel=False)
    none = setup_of("a" * 64, driver=FirewallDriver.NONE)

    assert judge(Snapshot(none, rules, bare)).warnings == ()
    nft = replace(none, driver=FirewallDriver.NFTABLES)
    assert len(judge(Snapshot(nft, rules, bare)).warnings) == 2


def test_amid_a_change_nothing_is_in_the_way() -> None:
    """What stands before Podman's rules now may be gone when podman has done."""
    rules = snapshot().rules
    assert rules is not None
    forward = rules.chains["FORWARD"]
    chains = {**rules.chains, "FORWARD": replace(forward, rules=("drop", *forward.rules))}
    hidden = snapshot(rules=replace(rules, chains=chains))

    assert judge(hidden).state is State.LOST
    assert judge(replace(hidden, busy="podman is at work")).warnings == ()


LIVE = Container("c" * 64, "live", kind=ContainerClass.BRIDGE)


def unknown_of(setup: Setup, **changes: object) -> list[tuple[str, tuple[str, ...]]]:
    """What is told as gone from the state, with whom it concerns."""
    look = Snapshot(setup, None, None, {LIVE.id: LIVE}, listed=frozenset({LIVE.id}))
    found = stateless(setup, replace(look, **changes))  # type: ignore[arg-type]
    return [(unknown.what, unknown.container_ids) for unknown in found]


def test_whose_state_is_gone() -> None:
    """A container's that podman lists, unless its file is there and makes no sense."""
    assert unknown_of(setup_of()) == [("live", (LIVE.id,))]
    assert unknown_of(setup_of(LIVE.id)) == []
    bad = (replace(BAD, container_id=LIVE.id),)
    assert unknown_of(replace(setup_of(), bad_files=bad)) == []
    assert (
        unknown_of(setup_of(), containers={LIVE.id: replace(LIVE, kind=ContainerClass.HOST)}) == []
    )
    assert unknown_of(setup_of(), busy="podman is at work") == []
    assert unknown_of(setup_of(driver=FirewallDriver.UNKNOWN)) == []
    assert unknown_of(replace(setup_of(), state_dir="")) == []


def test_which_networks_state_is_gone() -> None:
    """One that is in use, with each of its containers once; unless its file makes no sense."""
    gone = replace(setup_of(LIVE.id, OTHER, LIVE.id), networks={})
    assert unknown_of(gone) == [("network podman", (LIVE.id, OTHER))]
    assert unknown_of(replace(gone, bad_files=(replace(BAD, container_id=""),))) == []
    elsewhere = replace(BAD, container_id="", network_id="77" * 32)
    assert len(unknown_of(replace(gone, bad_files=(elsewhere,)))) == 1


def test_the_containers_of_the_setup_stay_in_their_order() -> None:
    """Each once, however many networks it is on."""
    twice = replace(SETUP, endpoints=(QUIET, WEB, QUIET))
    assert judge(snapshot(setup=twice)).all_container_ids == (QUIET.container_id, WEB.container_id)
