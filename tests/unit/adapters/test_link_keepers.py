# SPDX-License-Identifier: Apache-2.0
"""Whether NetworkManager or systemd-networkd configures a link, as their files say."""

from pathlib import Path

import pytest

from podwatch.adapters.link_keepers import keeps
from podwatch.words.links import NETWORK_MANAGER, NETWORKD

MANAGED = "[device]\nmanaged=true\nconnection-uuid=a5c42152\nnm-owned=false\n"


@pytest.mark.parametrize(
    ("unit", "text", "kept"),
    [
        (NETWORK_MANAGER, MANAGED, True),
        (NETWORK_MANAGER, MANAGED.replace("true", "false"), False),
        (NETWORK_MANAGER, "", False),
        (NETWORKD, "# private\nADMIN_STATE=unmanaged\nOPER_STATE=routable\n", False),
        (NETWORKD, "ADMIN_STATE=configured\n", True),
        (NETWORKD, "ADMIN_STATE=configuring\n", True),
        (NETWORKD, "ADMIN_STATE=failed\n", True),
        (NETWORKD, "ADMIN_STATE=pending\n", False),
        (NETWORKD, "IPV4_ADMIN_STATE=configured\n", False),
    ],
)
def test_what_a_file_says(tmp_path: Path, unit: str, text: str, *, kept: bool) -> None:
    """One that is pending, unmanaged or not a word about it is nobody's."""
    names = {NETWORK_MANAGER: "run/NetworkManager/devices", NETWORKD: "run/systemd/netif/links"}
    directory = tmp_path / names[unit]
    directory.mkdir(parents=True)
    (directory / "6").write_text(text)
    assert keeps(unit, 6, tmp_path) is kept
    assert not keeps(unit, 7, tmp_path)
