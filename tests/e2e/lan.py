# SPDX-License-Identifier: Apache-2.0
"""A host on a LAN with a DHCP server: its proxy's units, its leases, what podwatch says of them."""

from dataclasses import dataclass
from typing import Any

from tests.e2e.installed import Installed
from tests.lab.containers import web
from tests.lab.dhcp_server import DhcpServer

NETAVARK = ("netavark-dhcp-proxy.socket", "netavark-dhcp-proxy.service")
CNI = ("cni-dhcp.socket", "cni-dhcp.service")
PATHS = {NETAVARK[0]: "/run/podman/nv-proxy.sock", CNI[0]: "/run/cni/dhcp.sock"}


@dataclass
class Lan(Installed):
    """A host with podwatch, a DHCP server on its LAN, and the units of its backend's proxy."""

    server: DhcpServer
    socket: str
    service: str

    @property
    def path(self) -> str:
        """Where containers that start connect to."""
        return PATHS[self.socket]

    def dhcp(self) -> dict[str, Any]:
        """What podwatch says of DHCP now."""
        section: dict[str, Any] = self.status()["dhcp"]
        return section

    def serves(self) -> bool:
        """Whether the socket's unit is active, enabled, and its path there; asked of the host."""
        shown = self.host.unit_show(self.socket, "ActiveState", "UnitFileState")
        listens = f"grep -q ' {self.path}$' /proc/net/unix && test -S {self.path}"
        good = {"ActiveState": "active", "UnitFileState": "enabled"}
        return shown == good and self.host.run(listens, check=False).code == 0

    def well(self, holders: int, *, before: int = -1) -> bool:
        """Whether podwatch finds everything in order, with so many containers' leases.

        `before` is the pid of a proxy that must be another one by now.
        """
        found = self.dhcp()
        if before >= 0 and found["proxy"]["pid"] == before:
            return False
        known = [container for container in found.get("containers", ()) if container["known"]]
        return found["state"] == "ok" and len(known) == holders

    def until_well(self, holders: int, limit_s: float = 20.0) -> float:
        """Wait for `well`."""
        return self.until(lambda: self.well(holders), f"{holders} leases known", limit_s)

    def address(self, name: str) -> str:
        """The container's address, as seen from inside."""
        return next(iter(self.host.addresses_of(name).get("eth0", ())), "")

    def legs(self, name: str) -> list[str]:
        """Every IPv4 address the container has but its loopback's, as seen from inside."""
        found = self.host.addresses_of(name)
        return sorted(
            address for link, several in found.items() if link != "lo" for address in several
        )

    def kill_proxy(self) -> None:
        """Kill the proxy's process, and wait until systemd knows."""
        pid = self.host.unit_show(self.service, "MainPID")["MainPID"]
        assert pid != "0"
        self.host.run(f"kill -KILL {pid}")
        self.until(
            lambda: self.host.unit_show(self.service, "MainPID")["MainPID"] != pid, "dead", 5
        )

    def reload_times(self, cursor: str) -> list[tuple[float, float, str]]:
        """Begin, end and unit of each reload after this place in the journal."""
        begun: dict[str, float] = {}
        found = []
        for entry in self.host.journal_json(since_cursor=cursor):
            unit = str(entry.get("UNIT", ""))
            if entry.get("_PID") != "1" or not unit.startswith("podwatch-reload@"):
                continue
            at, told = int(entry["__REALTIME_TIMESTAMP"]) / 1e6, str(entry["MESSAGE"])
            if told.startswith("Starting"):
                begun[unit] = at
            elif unit in begun and told.startswith(("Finished", "Failed to start")):
                found.append((begun.pop(unit), at, unit))
        return found

    def run_four(self) -> dict[str, str]:
        """Start four containers on the LAN; their addresses by name."""
        names = ["one", "two", "three", "four"]
        for name in names:
            web(self.host, name, networks=["lan"])
        return {name: self.address(name) for name in names}

    def remove_all(self) -> None:
        """Remove every container."""
        self.host.podman("rm", "--force", "--all", "--time=0", timeout=90)
