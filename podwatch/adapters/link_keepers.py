# SPDX-License-Identifier: Apache-2.0
"""Which of the host's links NetworkManager or systemd-networkd takes for its own to configure.

Both keep a file for each link, by its index, in /run: no bus has to be asked. They stay when the
program is stopped: whether it runs is for others to say.
"""

import re
from pathlib import Path

from podwatch.adapters.files import read_whole
from podwatch.words.errors import StateUnreadable
from podwatch.words.links import NETWORK_MANAGER, NETWORKD

_STATES = {
    # src/libnm-std-aux, NMConfigDeviceStateData; since 1.6.
    NETWORK_MANAGER: (Path("/run/NetworkManager/devices"), re.compile(r"^managed=true$", re.M)),
    # systemd src/network/networkd-state-file.c: pending and initialized say nothing yet.
    NETWORKD: (
        Path("/run/systemd/netif/links"),
        re.compile(r"^ADMIN_STATE=(configuring|configured|failed)$", re.M),
    ),
}
MAX_BYTES = 65536


def keeps(unit: str, index: int, root: Path = Path("/")) -> bool:
    """Whether the program of a unit configures the link with that index."""
    directory, managed = _STATES[unit]
    try:
        text = read_whole(root / directory.relative_to("/") / str(index), limit_bytes=MAX_BYTES)
    except StateUnreadable:
        return False
    return managed.search(text or "") is not None
