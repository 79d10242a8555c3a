# SPDX-License-Identifier: Apache-2.0
"""What runs although netavark's state says nothing of it. Pure.

Somebody removed a part of the state: what is expected is then not known, and neither is whether it
is there. A container on a bridge that podman manages has state for as long as it is up (netavark
src/firewall/state.rs, 1.9 to 2.1), and so has its network.
"""

from collections.abc import Iterator

from podwatch.drivers.driver import DRIVERS
from podwatch.words.network import ContainerClass, Setup
from podwatch.words.snapshot import Part, Snapshot, Unknown


def stateless(setup: Setup, snapshot: Snapshot) -> Iterator[Unknown]:
    """Containers and networks whose state is gone, where `setup` has those who live.

    Nobody may be in the middle of a change.
    """
    if snapshot.busy or not setup.state_dir or setup.driver not in DRIVERS:
        return
    known = {endpoint.container_id for endpoint in setup.endpoints}
    known |= {bad.container_id for bad in setup.bad_files}
    for key in sorted(snapshot.listed - known):
        container = snapshot.containers[key]
        if container.kind is ContainerClass.BRIDGE:
            yield Unknown(
                Part.CONTAINER,
                container.title,
                f"it runs, and netavark has no state of it in {setup.state_dir}/ports",
                hint=f"podman network reload {container.name}",
                container_ids=(key,),
            )
    bad = {bad.network_id for bad in setup.bad_files}
    names = {endpoint.network_id: endpoint.network_name for endpoint in setup.endpoints}
    for key in sorted(names.keys() - setup.networks.keys() - bad):
        yield Unknown(
            Part.CONTAINER,
            f"network {names[key]}",
            f"it is in use, and there is no {setup.state_dir}/networks/{key}",
            hint="restart its containers: netavark writes it anew",
            container_ids=tuple(
                dict.fromkeys(e.container_id for e in setup.endpoints if e.network_id == key)
            ),
            network_id=key,
        )
