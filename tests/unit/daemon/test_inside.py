# SPDX-License-Identifier: Apache-2.0
"""Who has a network namespace: how addresses are counted, and when the kernel is asked anew."""

from dataclasses import dataclass, field
from ipaddress import ip_address

from podwatch.daemon.inside import Inside
from podwatch.words.network import Address

WEB, DB = ip_address("10.88.0.2"), ip_address("fd10::3")


@dataclass
class FakeKernel:
    """The namespaces as a test says, and how often they were asked for; its clock, too."""

    found: dict[int, frozenset[Address]] | None = field(default_factory=dict)
    asked: int = 0
    now: float = 1000.0

    def ask(self) -> dict[int, frozenset[Address]] | None:
        """The addresses in each namespace."""
        self.asked += 1
        return self.found

    def inside(self) -> Inside:
        """The real thing on this kernel."""
        return Inside(self.ask, lambda: self.now)


def test_an_address_counts_once_for_each_namespace_that_has_it() -> None:
    """Two containers with one address live in two namespaces; who is nowhere counts nothing."""
    kernel = FakeKernel({1: frozenset({WEB, DB}), 2: frozenset({WEB})})
    found = kernel.inside().at("a key")
    assert found == {WEB: 2, DB: 1}


def test_the_kernel_is_asked_anew_for_another_key_alone() -> None:
    """The same rules and state have the same answer, also where nobody is in a namespace."""
    kernel = FakeKernel()
    inside = kernel.inside()
    assert inside.at(None) == {}  # the first question is asked, whatever its key
    assert inside.at(None) == {}
    assert kernel.asked == 1
    kernel.found = {1: frozenset({WEB})}
    assert inside.at("another") == {WEB: 1}
    assert kernel.asked == 2
    inside.at(None)
    assert kernel.asked == 3


def test_an_answer_is_good_for_ten_seconds() -> None:
    """A later one may be another, though nothing tells of it."""
    kernel = FakeKernel()
    inside = kernel.inside()
    inside.at("a key")
    kernel.now += 10.0
    inside.at("a key")
    assert kernel.asked == 1
    kernel.now += 0.25
    inside.at("a key")
    assert kernel.asked == 2
    kernel.now += 10.0
    inside.at("a key")
    assert kernel.asked == 2


def test_a_kernel_that_does_not_tell_is_asked_again_at_once() -> None:
    """No answer is none to keep."""
    kernel = FakeKernel(None)
    inside = kernel.inside()
    assert inside.at("a key") is None
    kernel.found = {1: frozenset({WEB})}
    assert inside.at("a key") == {WEB: 1}
    assert kernel.asked == 2
