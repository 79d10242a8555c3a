# SPDX-License-Identifier: Apache-2.0
"""Reading what libcni cached of a network that wants DHCP (test_cni has the bridges)."""

import json

import pytest

from podwatch.formats.cni_results import parse_lease
from podwatch.words.errors import StateUnreadable


def test_cni_result() -> None:
    """Container, network, MAC inside the sandbox and address of a result that CNI cached."""
    cached = {
        "kind": "cniCacheV1",
        "containerId": "abc",
        "networkName": "lan",
        "result": {
            "interfaces": [{"name": "eth0", "mac": "AA:00:00:00:00:01", "sandbox": "/run/netns/x"}],
            "ips": [{"address": "192.0.2.70/24"}],
        },
    }

    assert parse_lease(json.dumps(cached)) == ("abc", "lan", "aa:00:00:00:00:01", "192.0.2.70")
    for wrong in ("", "[]", "{}", json.dumps({**cached, "kind": "cniCacheV2"})):
        with pytest.raises(StateUnreadable):
            parse_lease(wrong)
