# SPDX-License-Identifier: Apache-2.0
"""podwatch keeps Podman's network rules in place.

The rooms, and the one way imports go (a room may import those before it, never those after):

``words``     what is talked about: networks, rules, snapshots, verdicts, errors
``drivers``   what netavark's firewall drivers install, and how their listings read; pure
``decide``    judge (expected - observed = missing) and policy (what to do, and when); pure
``adapters``  one outside thing each: netlink, libnftables, firewalld, systemd, podman, files
``daemon``    configuration, the loop, restoring, publishing
``commands``  the command line
"""

__version__ = "0.1.0"
