# SPDX-License-Identifier: Apache-2.0
"""Where things are on the host: one value, made once and handed to whoever reads or writes there.

Those of root's Podman are the defaults. Another host, or a user's Podman, is another value. What
the kernel shows (/proc, /sys) is not here: it is in the same place for everybody.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from podwatch.words.errors import StateUnreadable

RUN = Path("/run/podwatch")
"""The run directory of podwatch.service, which need not be root's."""

LISTS = Path("/run/podwatch-podman")
"""Where podwatch's units of root write what podman lists; podwatch.service only reads there."""

STORAGE_CONF = (Path("/etc/containers/storage.conf"), Path("/usr/share/containers/storage.conf"))
"""Those of the system, of which podman reads the first that is there."""


@dataclass(frozen=True, slots=True)
class Rootless:
    """Where a user's Podman keeps what root's has no use for.

    All of a user's bridges are in one network namespace, which has a file; podman 4.3 has other
    places than 5.
    """

    directory: Path
    """The user's runtime directory, $XDG_RUNTIME_DIR."""

    run_root: Path | None = None
    """Where podman keeps what lasts until the host is booted, if that is not below `directory`."""

    @property
    def networks(self) -> Path:
        """What it keeps there of networks."""
        return (self.run_root or self.directory / "containers") / "networks"

    @property
    def netns(self) -> tuple[str, ...]:
        """The patterns of the file of the namespace: of Podman 5, and of those before."""
        five = self.networks / "rootless-netns/rootless-netns"
        return str(five), str(self.directory / "netns/rootless-netns-*")

    @property
    def name_server(self) -> Path:
        """The pid file of aardvark-dns, which is in that namespace."""
        return self.networks / "aardvark-dns/aardvark.pid"

    @property
    def pause(self) -> Path:
        """The pid file of the process that keeps the user's namespaces open."""
        return self.directory / "libpod/tmp/pause.pid"

    @property
    def uplinks(self) -> tuple[Path, ...]:
        """The pid files of pasta or slirp4netns, which connects that namespace."""
        return (
            self.networks / "rootless-netns/rootless-netns-conn.pid",
            self.directory / "libpod/tmp/rootless-netns/rootless-netns-slirp4netns.pid",
        )


@dataclass(frozen=True, slots=True)
class Paths:
    """Every path that differs between hosts or users; `run` and `state` are podwatch's own."""

    run: Path = RUN
    state: Path = Path("/var/lib/podwatch")
    configuration: tuple[Path, ...] = (
        Path("/usr/share/podwatch/podwatch.conf"),
        Path("/etc/podwatch/podwatch.conf"),
        Path("/etc/podwatch/podwatch.conf.d"),
    )
    """Files, and directories of *.conf files, in the order they are read; the last one wins."""

    netavark_state: Path = Path("/run/containers/networks/firewall")
    """netavark src/firewall/state.rs, constants.rs DEFAULT_CONFIG_DIR."""

    aardvark: Path = Path("/run/containers/networks/aardvark-dns")
    """netavark src/dns/aardvark.rs, beside its own state."""

    aardvark_lock: Path = Path("/run/containers/networks/aardvark.lock")
    """What netavark holds while it writes there (AARDVARK_COMMIT_LOCK)."""

    addresses: Path = Path("/run/containers/networks/ipam.db")
    """Podman's database of addresses, with netavark (libnetwork/netavark/const.go)."""

    locks: tuple[Path, ...] = (
        Path("/run/lock/netavark.lock"),  # Podman 4.4 and later (libnetwork/netavark/const.go)
        Path("/etc/containers/networks/netavark.lock"),  # Podman 4.0 to 4.3
        Path("/run/lock/podman-cni.lock"),  # CNI, Podman 4.4 and later
        Path("/etc/cni/net.d/cni.lock"),  # CNI before
    )
    runtimes: tuple[Path, ...] = (Path("/run/crun"), Path("/run/runc"))
    """Where the OCI runtimes keep what runs: an entry comes at each start, and goes at each end."""

    containers_conf: tuple[Path, ...] = (
        Path("/usr/share/containers/containers.conf"),
        Path("/etc/containers/containers.conf"),
        Path("/etc/containers/containers.conf.d"),
    )
    """containers.conf(5), in the order podman reads it; the last one wins."""

    chosen_backend: Path = Path("/var/lib/containers/storage/defaultNetworkBackend")
    """What podman chose when it first ran (common libnetwork/network/interface.go, Podman 4, 5)."""

    firewalld_conf: Path = Path("/etc/firewalld/firewalld.conf")

    netavark_networks: Path = Path("/etc/containers/networks")
    cni_networks: Path = Path("/etc/cni/net.d")
    cni_results: Path = Path("/var/lib/cni/results")
    leases: Path = Path("/run/podman/nv-proxy.lease")

    rootless: Rootless | None = None
    """What a user's Podman has beside; None for root's."""

    @classmethod
    def of_user(
        cls,
        environment: Mapping[str, str] = os.environ,
        storage: Path | None = None,
        run_root: Path | None = None,
    ) -> "Paths":
        """A user's host, as the XDG base directory specification and podman place it.

        `storage` and `run_root` are podman's where those are not in their default places.
        PODWATCH_RUN_DIR and PODWATCH_STATE_DIR move what is podwatch's own. Raises StateUnreadable
        without XDG_RUNTIME_DIR.
        """
        if not environment.get("XDG_RUNTIME_DIR"):
            raise StateUnreadable(
                "XDG_RUNTIME_DIR is not set: where a user's Podman keeps its state is not known",
                hint="log in as that user, as with: machinectl shell USER@",
            )
        runtime, home = Path(environment["XDG_RUNTIME_DIR"]), Path(environment.get("HOME", "/"))

        def base(name: str, default: str) -> Path:
            return Path(environment.get(name) or home / default)

        configured, kept = base("XDG_CONFIG_HOME", ".config"), base("XDG_DATA_HOME", ".local/share")
        own, storage = cls.of(environment), storage or kept / "containers/storage"
        rootless = Rootless(runtime, run_root)
        networks = rootless.networks
        return replace(
            own,
            run=Path(environment.get("PODWATCH_RUN_DIR", runtime / "podwatch")),
            state=Path(
                environment.get("PODWATCH_STATE_DIR")
                or base("XDG_STATE_HOME", ".local/state") / "podwatch"
            ),
            configuration=(
                *own.configuration,
                configured / "podwatch/podwatch.conf",
                configured / "podwatch/podwatch.conf.d",
            ),
            netavark_state=networks / "firewall",
            aardvark=networks / "aardvark-dns",
            aardvark_lock=networks / "aardvark.lock",
            addresses=networks / "ipam.db",
            locks=(
                storage / "networks/netavark.lock",
                runtime / "libpod/tmp/rootless-netns.lock",  # Podman before 5
            ),
            runtimes=(runtime / "crun", runtime / "runc"),
            containers_conf=(
                *own.containers_conf,
                configured / "containers/containers.conf",
                configured / "containers/containers.conf.d",
            ),
            chosen_backend=storage / "defaultNetworkBackend",
            netavark_networks=storage / "networks",
            cni_networks=configured / "cni/net.d",
            cni_results=networks / "cni/results",
            leases=networks / "nv-proxy.lease",
            rootless=rootless,
        )

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Paths":
        """Root's host; PODWATCH_RUN_DIR and PODWATCH_STATE_DIR move what is podwatch's own."""
        own = cls()
        return cls(
            run=Path(environment.get("PODWATCH_RUN_DIR", own.run)),
            state=Path(environment.get("PODWATCH_STATE_DIR", own.state)),
        )

    @property
    def status(self) -> Path:
        """The status document."""
        return self.run / "status.json"

    @property
    def rules(self) -> Path:
        """The saved copy of the rules."""
        return self.run / "rules.json"

    @property
    def run_lock(self) -> Path:
        """What the one daemon holds."""
        return self.run / "run.lock"

    @property
    def restore_lock(self) -> Path:
        """What holds whoever repairs, the daemon or a command."""
        return self.run / "restore.lock"

    @property
    def pause(self) -> Path:
        """The pause, in a directory of its own."""
        return self.run / "pause" / "pause.json"

    @property
    def _lists(self) -> Path:
        return LISTS if self.run == RUN else self.run

    @property
    def listing(self) -> Path:
        """podman's containers, as podwatch-inspect.service listed them."""
        return self._lists / "podman.json"

    @property
    def networks(self) -> Path:
        """podman's networks, as podwatch-networks.service listed them."""
        return self._lists / "networks.json"

    @property
    def relays(self) -> Path:
        """How relays were started while they did their work."""
        return self.run / "relays.json"

    @property
    def name_server(self) -> Path:
        """What podwatch-dns.service is to start."""
        return self.run / "name-server.env"

    def network(self, name: str) -> Path:
        """One network, as podwatch-network@NAME.service asked for it."""
        return self._lists / f"network-{name}.json"

    @property
    def history(self) -> Path:
        """The incidents."""
        return self.state / "history.jsonl"

    @property
    def kept_sources(self) -> Path:
        """The permanent sources of firewalld's that podwatch added itself."""
        return self.state / "firewalld.json"
