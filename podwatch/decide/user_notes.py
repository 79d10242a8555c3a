# SPDX-License-Identifier: Apache-2.0
"""What a user's containers go by on the host, and is no loss: sessions, ports, firewalls. Pure."""

from collections.abc import Iterator

from podwatch.words.network import Container
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few
from podwatch.words.verdict import Notice, WarningKind

_OF_ANOTHER = "container:"


def user_notices(snapshot: Snapshot) -> Iterator[Notice]:
    """What a look tells of it."""
    outside, running = snapshot.outside, _running(snapshot)
    if outside is None or not running:
        return
    if outside.ends_for:
        what = (
            "linger is off: all containers end with the last session of "
            f"{outside.ends_for}, and none starts at boot"
        )
        yield Notice(WarningKind.LINGER, what, f"loginctl enable-linger {outside.ends_for}")
    for container in running:
        low = [one for one in container.ports if one.host_port < outside.first_port]
        if low:
            first = min(one.host_port for one in low)
            what = (
                f"{container.title} publishes {few(low)}, and its next start will fail: users "
                f"listen from port {outside.first_port} on"
            )
            advice = f"as root: sysctl -w net.ipv4.ip_unprivileged_port_start={first}"
            yield Notice(WarningKind.LOW_PORT, what, advice)


def explained(snapshot: Snapshot) -> Iterator[Notice]:
    """What is worth a note for who asks why a port does not answer."""
    outside = snapshot.outside
    ports = sorted({str(one) for container in _running(snapshot) for one in container.ports})
    if outside is None or not outside.has_firewalld or not ports:
        return
    what = (
        f"firewalld runs on the host, and tells root alone whether it lets {few(ports)} in: what a "
        "user publishes is to it a program that listens"
    )
    first = next(one for container in _running(snapshot) for one in container.ports)
    port = f"{first.host_port}/{first.protocol}"
    advice = (
        f"as root: firewall-cmd --query-port={port}; to open it: firewall-cmd --add-port={port}"
    )
    yield Notice(WarningKind.HOST_FIREWALL, what, advice)


def _running(snapshot: Snapshot) -> list[Container]:
    """Those that are up and publish by themselves: podman lists a pod's ports with each member."""
    own = (one for one in snapshot.containers.values() if not one.mode.startswith(_OF_ANOTHER))
    return sorted((one for one in own if one.is_up), key=lambda one: one.title)
