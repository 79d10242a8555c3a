# SPDX-License-Identifier: Apache-2.0
"""Rules all in place, and still no answer: another firewall's FORWARD chain drops."""

import json

import pytest

from tests.e2e.installed import Installed

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("there", ["forky"], indirect=True, scope="module"),
]


def advice(there: Installed) -> list[str]:
    """What a look advises about networks that are shut out."""
    said = json.loads(there.host.run(["podwatch", "check", "--json"], check=False).stdout)
    return [each["advice"] for each in said["warnings"] if each["kind"] == "shut_out"]


@pytest.mark.parametrize(
    ("fault", "undo"),
    [
        ("ufw --force enable", "ufw --force reset; iptables -P FORWARD ACCEPT"),
        ("iptables -P FORWARD DROP", "iptables -P FORWARD ACCEPT; iptables -F FORWARD"),
    ],
    ids=["ufw", "policy drop"],
)
def test_a_drop_by_others_is_reported_with_its_remedy(
    there: Installed, fault: str, undo: str
) -> None:
    """Nothing is missing, published ports do not answer: degraded, and the advice makes them."""
    incidents = there.incidents()
    there.host.shell(fault)
    try:
        assert any("8081/tcp" in each for each in there.containers.probe_ports())
        assert there.check().code == 1
        assert len(advice(there)) >= 3
        for command in advice(there):
            there.host.shell(command)
        assert advice(there) == []
        there.until(
            lambda: not [each for each in there.containers.probe_ports() if "host-web" not in each],
            "reachable",
        )
    finally:
        there.host.shell(f"{undo}; ip6tables -P FORWARD ACCEPT; ip6tables -F FORWARD")
    there.until_whole()
    assert there.incidents() == incidents
