# SPDX-License-Identifier: Apache-2.0
"""Podman's first network, a container's place on it, and where netavark keeps their state."""

from ipaddress import ip_address, ip_network

from podwatch.words.network import Endpoint, Network

SUBNET = ip_network("10.88.0.0/16")
NETWORK = Network("0" * 64, "podman0", (SUBNET,))
STATE_DIR = "/run/netavark's/firewall"
HERE = ip_address("10.88.0.2")


def endpoint(container_id: str) -> Endpoint:
    """The container's place: it has the one address, and publishes nothing."""
    return Endpoint(container_id, NETWORK.id, "podman", ((HERE, SUBNET),))
