# SPDX-License-Identifier: Apache-2.0
"""`podwatch explain firewalld`: a script that ends what a reload costs, and what it says."""

import shlex
from dataclasses import replace

import pytest

from podwatch.commands.firewalld import as_script, document
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Permanent, Snapshot
from tests.unit.decide.test_reload_costs import AFTER, BEFORE, DROPS, SETUP

POLICY = (
    "sed -i -e '$a ReloadPolicy=INPUT:DROP,FORWARD:ACCEPT,OUTPUT:DROP' "
    "-e '/^ *ReloadPolicy *=/d' /etc/firewalld/firewalld.conf"
)
SOURCE = "firewall-cmd --permanent --zone=trusted --add-source=10.88.0.0/16"
RELOAD = "firewall-cmd --reload"


def seen(permanent: Permanent | None) -> Snapshot:
    """A look at a host with a container, and such a firewalld."""
    return Snapshot(SETUP, None, Firewalld(running=True, permanent=permanent))


def orders(script: str) -> list[str]:
    """What a shell does with it."""
    return [line for line in script.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(
    ("permanent", "wanted"),
    [
        (BEFORE, [POLICY, SOURCE, RELOAD]),
        (AFTER, []),
        (replace(AFTER, policy=DROPS), [POLICY, RELOAD]),
        (replace(AFTER, sources={}), [SOURCE, RELOAD]),
        (Permanent("1.3.3", by_nftables=True), [SOURCE, RELOAD]),
        (replace(BEFORE, by_nftables=False), []),
        (replace(AFTER, sources={"10.88.0.0/16": "work"}), []),
        (None, []),
    ],
    ids=["nothing is set", "all", "sources", "policy", "1.3.3", "iptables", "moved", "not known"],
)
def test_what_is_not_set_can_be_pasted(permanent: Permanent | None, wanted: list[str]) -> None:
    """All else is a comment; programs are told the same lines."""
    script = as_script(seen(permanent))
    assert orders(script) == wanted
    assert document(seen(permanent))["script"] == wanted
    assert all(shlex.split(line) for line in wanted)
    assert max(len(line) for line in script.splitlines() if line.startswith("#")) <= 80


def test_other_hooks_stay_as_they_are() -> None:
    """What the administrator has set for what comes in and goes out is his."""
    mine = {"INPUT": "REJECT", "FORWARD": "DROP", "OUTPUT": "ACCEPT"}
    script = as_script(seen(replace(AFTER, policy=mine)))
    assert "ReloadPolicy=INPUT:REJECT,FORWARD:ACCEPT,OUTPUT:ACCEPT" in orders(script)[0]


@pytest.mark.parametrize(
    ("permanent", "said"),
    [
        (BEFORE, ["Not set: it is INPUT:DROP", "set for 0 of the 1", "gain: ", "price: "]),
        (AFTER, ["This is set.", "set for 1 of the 1", "gain: ", "price: "]),
        (Permanent("1.3.3", by_nftables=True), ["firewalld has it since 2.1"]),
        (replace(BEFORE, by_nftables=False), ["Its backend is iptables"]),
        (
            replace(AFTER, sources={"10.88.0.0/16": "work"}),
            ["of zone work", "change-source"],
        ),
        (None, ["does not say what its permanent configuration is"]),
    ],
    ids=["nothing is set", "all", "1.3.3", "iptables", "moved", "not known"],
)
def test_it_says_what_is_set_and_what_that_costs(
    permanent: Permanent | None, said: list[str]
) -> None:
    """In sentences, whatever is set."""
    text = " ".join(line.removeprefix("# ") for line in as_script(seen(permanent)).splitlines())
    for each in said:
        assert each in text


def test_programs_are_told_what_is_known() -> None:
    """Nothing of a firewalld that does not run, nor of a host whose containers are not known."""
    told = document(seen(BEFORE))["permanent"]
    assert told["lacking"] == ["10.88.0.0/16"]
    assert (told["version"], told["drops"], told["reload_policy"]) == ("2.3.1", True, DROPS)
    assert "does not run" in as_script(Snapshot(SETUP, None, ABSENT_FIREWALLD))
    assert document(Snapshot(SETUP, None, None))["permanent"] is None
    nobody = Snapshot(None, None, Firewalld(running=True, permanent=BEFORE))
    assert orders(as_script(nobody)) == [POLICY, RELOAD]
