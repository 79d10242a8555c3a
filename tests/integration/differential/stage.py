# SPDX-License-Identifier: Apache-2.0
"""A stage for the real netavark: a network, mounts and processes of their own over a lab rootfs.

Nothing of the stage outlives it: its processes live in one pid namespace whose first process dies
with the test run, and the root file system's writable layer is a tmpfs of its mount namespace.
There is no system bus on it, so netavark talks to no firewalld.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from podwatch.drivers.nftables import FAMILY, TABLE, parse_listing
from podwatch.formats.state import parse_driver, parse_endpoint, parse_network
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Ruleset

NETAVARK = "/usr/lib/podman/netavark"
AARDVARK = "/usr/lib/podman/aardvark-dns"
RUN_DIRECTORY = "/run/containers/networks"
LIMIT_S = 30
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

_HOLDER = (
    "setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --propagation private"
)
_SCRIPT = """
mount -t tmpfs stage /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" stage /mnt/root
mount -t proc proc /mnt/root/proc
mount -t sysfs sysfs /mnt/root/sys
mount -t tmpfs run /mnt/root/run
mount -t tmpfs tmp /mnt/root/tmp
mount --rbind /dev /mnt/root/dev
ip link set lo up
exec chroot /mnt/root /bin/sh -c 'mkdir -p "$0"; echo ready; exec sleep infinity' "$2"
"""


class Stage:
    """One network namespace with netavark and nft of a suite; leave it to end all that is in it."""

    def __init__(self, rootfs: Path) -> None:
        """Set the stage up over `rootfs`, which is never written to."""
        self._holder = subprocess.Popen(
            [*_HOLDER.split(), "sh", "-euc", _SCRIPT, "sh", str(rootfs), RUN_DIRECTORY],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        said = self._holder.stdout.readline()
        if said != b"ready\n":
            self.close()
            raise RuntimeError(f"the stage over {rootfs} did not come up (its messages are above)")
        holder = self._holder.pid
        children = Path(f"/proc/{holder}/task/{holder}/children").read_text(encoding="ascii")
        self._leader = int(children.split()[0])

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process on the stage; its mounts and its network go with them."""
        self._holder.kill()
        self._holder.wait(LIMIT_S)
        if self._holder.stdout is not None:
            self._holder.stdout.close()

    def run(
        self, *command: str, text: str = "", environment: Mapping[str, str] | None = None
    ) -> str:
        """Run a program of the rootfs on the stage and return what it printed.

        Raises AssertionError, with what it said, when it fails.
        """
        return _run([*self.enter, *command], text, environment)

    def nft(self, *arguments: str, text: str = "") -> str:
        """Run the suite's own nft."""
        return self.run("nft", *arguments, text=text)

    def netavark(
        self, verb: str, container: Mapping[str, Any], dns_port: int, driver: str = "nftables"
    ) -> None:
        """`setup` or `teardown` a container, given as podman gives it to netavark."""
        name = str(container["container_name"])
        if verb == "setup":
            self.run("ip", "netns", "add", name)
        options = ["--config", RUN_DIRECTORY, "--aardvark-binary", AARDVARK]
        environment = {"NETAVARK_FW": driver, "NETAVARK_DNS_PORT": str(dns_port)}
        self.run(
            NETAVARK,
            *options,
            verb,
            f"/run/netns/{name}",
            text=json.dumps(container),
            environment=environment,
        )
        if verb == "teardown":
            self.run("ip", "netns", "delete", name)

    def listing(self) -> str:
        """The table, as the suite's nft lists it; empty when there is none."""
        return _unless_absent(lambda: self.nft("list", "table", FAMILY, TABLE))

    def listing_of_this_machine(self) -> str:
        """The same table, as the nft of the machine that runs the tests lists it."""
        command = [*self.enter_network, "nft", "list", "table", FAMILY, TABLE]
        return _unless_absent(lambda: _run(command, "", None))

    def numbered_listing(self) -> str:
        """The table as `listing` has it, with the handle of everything in it."""
        return _unless_absent(lambda: self.nft("--handle", "list", "table", FAMILY, TABLE))

    def observed(self) -> Ruleset:
        """The table as podwatch reads it."""
        return parse_listing(self.numbered_listing())

    @property
    def enter(self) -> list[str]:
        """What runs a command of the rootfs on the stage."""
        return ["nsenter", "-t", str(self._leader), "--net", "--mount", "--pid", "--root", "--wd"]

    @property
    def enter_network(self) -> list[str]:
        """What runs a command of the machine outside in the stage's network."""
        return ["nsenter", "-t", str(self._leader), "--net"]

    def network(self, name: str = "") -> Path:
        """The network namespace of a container, or of the stage itself."""
        process = Path(f"/proc/{self._leader}")
        return process / "root/run/netns" / name if name else process / "ns/net"

    @property
    def state_directory(self) -> Path:
        """Where netavark's state is, as seen from outside."""
        return Path(f"/proc/{self._leader}/root{RUN_DIRECTORY}/firewall")

    def replace_table(self, listing: str) -> None:
        """Make the table what `listing` says, in one transaction."""
        table = f"{FAMILY} {TABLE}"
        self.nft("-f", "-", text=f"table {table}\ndelete table {table}\n{listing}")

    def expected_setup(self) -> Setup:
        """What netavark's state files say it set up."""
        state = self.state_directory
        driver = FirewallDriver.UNKNOWN
        if (state / "firewall-driver").exists():
            driver = parse_driver((state / "firewall-driver").read_text(encoding="utf-8"))
        networks = [parse_network(text) for text in _texts(state / "networks")]
        endpoints = [parse_endpoint(text) for text in _texts(state / "ports")]
        return Setup(driver, {network.id: network for network in networks}, tuple(endpoints))


def _unless_absent(listing: Callable[[], str]) -> str:
    try:
        return listing()
    except AssertionError as exc:
        if "No such file or directory" not in str(exc):
            raise
        return ""


def _texts(directory: Path) -> list[str]:
    if not directory.is_dir():
        return []
    return [path.read_text(encoding="utf-8") for path in sorted(directory.iterdir())]


def _run(command: Sequence[str], text: str, environment: Mapping[str, str] | None) -> str:
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env=os.environ | _ENVIRONMENT | dict(environment or {}),
    )
    assert done.returncode == 0, (
        f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}"
    )
    return done.stdout
