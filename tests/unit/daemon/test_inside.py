# SPDX-License-Identifier: Apache-2.0
"""Who is in network namespaces: how addresses are counted, and when the kernel is asked anew."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_interface

from podwatch.daemon.inside import AT_A_BEAT, KEPT_S, YOUNG_S, Inside
from podwatch.words.errors import LinksUnreadable
from podwatch.words.links import Inner, Link, Links

WEB, DB = ip_address("10.88.0.2"), ip_address("fd10::3")
WEB_INSIDE = Inner("eth0", 2, peer=11, addresses=(ip_interface("10.88.0.2/16"),))
DB_INSIDE = Inner("eth0", 2, peer=12, addresses=(ip_interface("fd10::3/64"),))


@dataclass
class FakeKernel:
    """The namespaces as a test says, each behind one veth; for whom it was asked; its clock."""

    found: dict[int, tuple[Inner, ...]] = field(default_factory=dict)
    silent: frozenset[int] = frozenset()
    refuses: bool = False
    asked: list[list[int]] = field(default_factory=list)
    now: float = 1000.0

    def links(self) -> Links:
        """The host's ends of the veths."""
        return Links(
            {
                f"veth{number}": Link(f"veth{number}", 10 + number, kind="veth", netns_id=number)
                for number in (*self.found, *self.silent)
            }
        )

    def ask(self, numbers: Iterable[int]) -> dict[int, tuple[Inner, ...]]:
        """What is in each of these namespaces."""
        if self.refuses:
            raise LinksUnreadable("cannot list links: no")
        self.asked.append(list(numbers))
        return {number: self.found[number] for number in self.asked[-1] if number in self.found}

    def inside(self) -> Inside:
        """The real thing on this kernel."""
        return Inside(self.links, self.ask, lambda: self.now)


def test_an_address_counts_once_for_each_namespace_that_has_it() -> None:
    """Two containers with one address live in two namespaces; who is nowhere counts nothing."""
    kernel = FakeKernel({1: (WEB_INSIDE, DB_INSIDE, WEB_INSIDE), 2: (WEB_INSIDE,)})
    assert kernel.inside().at("a key") == {WEB: 2, DB: 1}


def test_the_kernel_is_asked_anew_for_another_key_alone() -> None:
    """The same rules and state have the same answer, also where nobody is in a namespace."""
    kernel = FakeKernel({1: ()})
    inside = kernel.inside()
    assert inside.at(None) == {}  # the first question is asked, whatever its key
    assert inside.at(None) == {}
    assert kernel.asked == [[1]]
    kernel.found = {1: (WEB_INSIDE,)}
    assert inside.at("another") == {WEB: 1}
    assert kernel.asked == [[1], [1]]


def test_an_answer_is_good_for_ten_seconds() -> None:
    """A later one may be another, though nothing tells of it."""
    kernel = FakeKernel({1: ()})
    inside = kernel.inside()
    for wait_s, asked in ((0.0, 1), (10.0, 1), (0.25, 2), (10.0, 2)):
        kernel.now += wait_s
        inside.at("a key")
        assert len(kernel.asked) == asked


def test_a_kernel_that_does_not_tell_is_asked_again_at_once() -> None:
    """No answer is none to keep."""
    kernel = FakeKernel({1: (WEB_INSIDE,)}, refuses=True)
    inside = kernel.inside()
    assert inside.at("a key") is None
    kernel.refuses = False
    assert inside.at("a key") == {WEB: 1}


def test_a_namespace_of_which_nothing_is_told_could_have_any_address() -> None:
    """While its veth is there nobody can be called dead; the others are told all the same."""
    kernel = FakeKernel({1: (WEB_INSIDE,)}, silent=frozenset({2}))
    inside = kernel.inside()
    assert inside.at("a key") is None
    assert inside.namespaces(kernel.links()) == {1: (WEB_INSIDE,)}


def test_only_what_is_new_is_asked_for() -> None:
    """What was seen stays known when another namespace comes, or one goes."""
    kernel = FakeKernel({1: (WEB_INSIDE,), 2: (DB_INSIDE,)})
    inside = kernel.inside()
    inside.namespaces(kernel.links())
    kernel.now += YOUNG_S + 1
    inside.namespaces(kernel.links())
    kernel.found[3] = ()
    kernel.now += YOUNG_S + 1
    found = inside.namespaces(kernel.links())
    del kernel.found[1]

    assert found == {1: (WEB_INSIDE,), 2: (DB_INSIDE,), 3: ()}
    assert inside.namespaces(kernel.links()) == {2: (DB_INSIDE,), 3: ()}
    # Each was young once when it was asked for again.
    assert kernel.asked == [[1, 2], [1, 2], [3], [3]]


def test_a_young_namespace_is_asked_at_each_look() -> None:
    """Its interface comes before its address: what was seen first is not kept."""
    kernel = FakeKernel({1: ()})
    inside = kernel.inside()
    inside.namespaces(kernel.links())
    kernel.now += YOUNG_S
    kernel.found[1] = (WEB_INSIDE,)
    assert inside.namespaces(kernel.links()) == {1: (WEB_INSIDE,)}


def test_a_veth_that_was_changed_is_asked_for() -> None:
    """Another index, carrier or bridge: what is behind it may be another thing."""
    kernel = FakeKernel({1: (WEB_INSIDE,)})
    inside, links = kernel.inside(), kernel.links()
    for _ in range(2):
        inside.namespaces(links)
        kernel.now += YOUNG_S + 1
    veth = links.by_name["veth1"]
    for other in (
        replace(veth, index=99),
        replace(veth, has_carrier=False),
        replace(veth, master="podman1"),
        replace(veth, is_up=False),
    ):
        kernel.asked.clear()
        for _ in range(2):  # it is as one that has just come
            inside.namespaces(Links({"veth1": other}))
        assert kernel.asked == [[1], [1]]


def test_what_is_old_is_asked_for() -> None:
    """Nothing tells of an address that goes: now and then all are asked for, but in no hurry."""
    kernel = FakeKernel({1: (WEB_INSIDE,)})
    inside = kernel.inside()
    for _ in range(2):
        inside.namespaces(kernel.links())
        kernel.now += YOUNG_S + 1
    kernel.asked.clear()
    kernel.now += KEPT_S
    kernel.found[1] = ()

    assert inside.namespaces(kernel.links(), float("inf")) == {1: (WEB_INSIDE,)}
    assert inside.namespaces(kernel.links()) == {1: ()}
    assert kernel.asked == [[1]]


def test_at_each_heartbeat_some_are_asked_again() -> None:
    """Those of longest ago, a few at a time: after some heartbeats each had its turn."""
    kernel = FakeKernel(dict.fromkeys(range(AT_A_BEAT + 3), (WEB_INSIDE,)))
    inside = kernel.inside()
    inside.namespaces(kernel.links())
    kernel.asked.clear()
    for _ in range(2):
        kernel.now += 20
        assert not inside.are_others()
    assert kernel.asked[0] == list(range(AT_A_BEAT))
    assert kernel.asked[1][:3] == [AT_A_BEAT, AT_A_BEAT + 1, AT_A_BEAT + 2]


def test_an_address_that_went_is_noticed_at_a_heartbeat() -> None:
    """Once: the next look goes by what was seen then."""
    kernel = FakeKernel({1: (WEB_INSIDE,), 2: (DB_INSIDE,)})
    inside = kernel.inside()
    for _ in range(2):
        inside.namespaces(kernel.links())
        kernel.now += YOUNG_S + 1
    kernel.found[1] = ()
    assert inside.are_others()
    assert not inside.are_others()
    kernel.asked.clear()
    assert inside.namespaces(kernel.links())[1] == ()
    assert kernel.asked == []


def test_no_heartbeat_tells_of_what_cannot_be_asked() -> None:
    """Neither of a kernel that refuses, nor of a namespace that has gone: looks tell of those."""
    kernel = FakeKernel({1: (WEB_INSIDE,)})
    inside = kernel.inside()
    assert not inside.are_others()
    assert kernel.asked == []
    inside.namespaces(kernel.links())
    kernel.refuses = True
    assert not inside.are_others()
    kernel.refuses = False
    kernel.found.clear()
    assert not inside.are_others()


def test_a_namespace_that_goes_while_it_is_asked_for_has_no_address() -> None:
    """Its veth is gone with it: the others say who is there."""
    kernel = FakeKernel({1: (WEB_INSIDE,)}, silent=frozenset({2}))

    def ask(numbers: Iterable[int]) -> dict[int, tuple[Inner, ...]]:
        kernel.silent = frozenset()
        return kernel.ask(numbers)

    assert Inside(kernel.links, ask, lambda: kernel.now).at("a key") == {WEB: 1}


def test_who_hurries_takes_what_was_seen_of_a_young_namespace() -> None:
    """To ask for a hundred takes as long as all else: lost rules do not wait for that."""
    kernel = FakeKernel({1: ()})
    inside = kernel.inside()
    inside.namespaces(kernel.links())
    kernel.found[1] = (WEB_INSIDE,)
    assert inside.namespaces(kernel.links(), math.inf) == {1: ()}
    assert inside.namespaces(kernel.links()) == {1: (WEB_INSIDE,)}
