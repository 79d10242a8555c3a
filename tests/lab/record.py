# SPDX-License-Identifier: Apache-2.0
"""Recording what a real host shows for the standard set, as data for the unit tests.

``python3 -m tests.lab record SUITE DIRECTORY [cni]`` boots a host, starts the standard set, makes
sure that every port and every container's way out works, and only then writes down what podwatch
would read there. A new netavark is added to the unit tests by running this once more.
"""

import json
from pathlib import Path

from tests.lab.containers import standard_set
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.rootfs import containers_conf

_LISTINGS = {
    "table.nft": "nft list table inet netavark",
    "table.json": "nft -j list table inet netavark",
    "iptables.save": "iptables-save",
    "ip6tables.save": "ip6tables-save",
    "ps.json": "podman ps -a --ns --format json",
    "inspect.json": "podman inspect $(podman ps -aq)",
    "networks.json": "podman network inspect $(podman network ls -q)",
    "info.json": "podman info --format json",
    "trusted-sources": "firewall-cmd --zone=trusted --list-sources",
    "tables.nft": "nft list tables",
}
_STATE = {
    "state": "/run/containers/networks/firewall",
    "cni": "/var/lib/cni/results",
}
_INFO = {
    "host": ("distribution", "networkBackend", "networkBackendInfo", "ociRuntime", "cgroupManager"),
    "version": ("Version", "APIVersion"),
}


def record(suite: str, directory: Path, *, network_backend: str | None = None) -> list[str]:
    """Write the listings and state files of the standard set on ``suite`` into ``directory``.

    Args:
        suite: one of ``rootfs.SUITES``.
        directory: where to; made if need be.
        network_backend: podman's, if not its own choice.

    Returns:
        The names of the files written.

    Raises:
        LabError: a container of the set is not reachable, so that nothing worth keeping is shown.
    """
    directory.mkdir(parents=True, exist_ok=True)
    conf = containers_conf(suite, network_backend=network_backend)
    with Host(suite, containers_conf=conf) as host:
        failures = standard_set(host).probe_all()
        if failures:
            raise LabError(f"{suite} is not worth recording: {'; '.join(failures)}")
        texts = {}
        for name, command in _LISTINGS.items():
            said = host.run(command, check=False)
            if said.code == 0 and said.stdout.strip():
                texts[name] = said.stdout
        for name, path in _STATE.items():
            found = host.run(["find", path, "-type", "f"], check=False).stdout.split()
            for file in found:
                texts[f"{name}/{file.removeprefix(path).lstrip('/')}"] = host.read(file)
    for name, text in texts.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".json"):
            document = json.loads(text)
            if name == "info.json":  # the rest tells of the computer the lab ran on
                document = {part: _only(document[part], keys) for part, keys in _INFO.items()}
            text = json.dumps(document, indent=1) + "\n"
        target.write_text(text, encoding="utf-8")
    return sorted(texts)


def _only(document: dict[str, object], keys: tuple[str, ...]) -> dict[str, object]:
    return {key: document[key] for key in keys if key in document}
