# SPDX-License-Identifier: Apache-2.0
"""Debian's Cockpit on a lab host: its web server, and two people who may log in there.

`ADMIN` is in the group sudo and gets administrative access by their password; `JOE` never does.
"""

from tests.lab.fetched import install_unstarted, packages
from tests.lab.inside import Inside

_PACKAGES = ("cockpit-ws", "cockpit-bridge", "cockpit-system", "sudo")

ADMIN, JOE = "admin", "joe"
PASSWORD = "correct horse"  # noqa: S105 (of two users of a throw-away host)
PORT = 9090
PAGES = "/usr/local/share/cockpit"
"""Where a page lies that no package brought; each login reads it anew."""


def install_cockpit(host: Inside, suite: str) -> None:
    """Install Cockpit on a host of `suite`, create the two people, and open its port."""
    install_unstarted(host, packages(suite, "cockpit", _PACKAGES))
    host.shell(
        f"""
        useradd --create-home --shell /bin/bash --groups sudo {ADMIN}
        useradd --create-home --shell /bin/bash {JOE}
        printf '%s\\n' '{ADMIN}:{PASSWORD}' '{JOE}:{PASSWORD}' | chpasswd
        systemctl daemon-reload
        systemctl start cockpit.socket
        """
    )
