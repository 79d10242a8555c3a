# SPDX-License-Identifier: Apache-2.0
"""ReloadPolicy is read as firewalld reads it."""

import pytest

from podwatch.formats.firewalld_conf import has_policy, reload_policy, told_settings

DROP = {"INPUT": "DROP", "FORWARD": "DROP", "OUTPUT": "DROP"}
ACCEPT = dict.fromkeys(DROP, "ACCEPT")


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", DROP),
        ("ReloadPolicy=INPUT:DROP,FORWARD:ACCEPT,OUTPUT:DROP", {**DROP, "FORWARD": "ACCEPT"}),
        (
            "  ReloadPolicy = forward:accept ; output:reject,\n",
            {"INPUT": "DROP", "FORWARD": "ACCEPT", "OUTPUT": "REJECT"},
        ),
        ("ReloadPolicy=accept", ACCEPT),
        ("ReloadPolicy=REJECT", dict.fromkeys(DROP, "REJECT")),
        ("#ReloadPolicy=ACCEPT\n;ReloadPolicy=ACCEPT\nReloadPolicies=ACCEPT\n", DROP),
        ("ReloadPolicy=\nReloadPolicy=ACCEPT\nReloadPolicy=DROP\n", ACCEPT),
        ("ReloadPolicy=FORWARD:ACCEPT,INPUT:MAYBE", DROP),
        ("ReloadPolicy=FORWARD:ACCEPT,PREROUTING:ACCEPT", DROP),
        ("ReloadPolicy=FORWARD:ACCEPT:DROP", DROP),
        ("ReloadPolicy=FORWARD=ACCEPT", DROP),
        ("ReloadPolicy=FORWARD", DROP),
    ],
    ids=[
        "not set",
        "one hook",
        "spaces, small letters",
        "one word",
        "reject",
        "comments, another setting",
        "no value, twice",
        "not a verdict",
        "not a hook",
        "too many parts",
        "an equals sign",
        "no verdict",
    ],
)
def test_a_policy_is_read_as_firewalld_reads_it(text: str, policy: dict[str, str]) -> None:
    """The first line with a value counts; what is not understood is DROP for all."""
    assert reload_policy(text) == policy


@pytest.mark.parametrize(
    ("version", "has"),
    [
        ("1.3.3", False),
        ("2.0.5", False),
        ("2.1.0", True),
        ("2.3.1", True),
        ("10.0", True),
        ("2.10-dev", True),
        ("", False),
        ("two", False),
        ("9" * 5000, False),
    ],
)
def test_the_setting_is_of_firewalld_2_1(version: str, *, has: bool) -> None:
    """An older one drops all, whatever its file says; so does one whose version is none."""
    assert has_policy(version) is has


def test_what_it_tells_over_dbus_is_read_alike() -> None:
    """The first line that sets it counts; else its defaults."""
    text = "#FirewallBackend=x\nFirewallBackend = iptables\nFirewallBackend=nftables\n"

    assert told_settings(text + "StrictForwardPorts=yes") == {
        "FirewallBackend": "iptables",
        "StrictForwardPorts": "yes",
    }
    assert told_settings("") == {"FirewallBackend": "nftables", "StrictForwardPorts": "no"}
