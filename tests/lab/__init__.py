# SPDX-License-Identifier: Apache-2.0
"""A laboratory of real Debian hosts, for tests that must see what a user sees.

A :class:`~tests.lab.host.Host` is a whole Debian system (its own systemd, D-Bus, firewalld, podman,
netavark and kernel nftables) booted by systemd-nspawn from a cached root file system, over a
throw-away overlay, in a network namespace of its own. Its only neighbour is a
:class:`~tests.lab.client.Client`, a second network namespace that asks the host's published ports
for answers as a user on another machine would. Nothing here touches the network, the firewall or
the services of the machine that runs the tests.

The rooms, each using only the ones before it: ``errors``; ``mirror``, ``needs`` and ``rootfs``
(what is booted); ``machine`` (booting and halting it); ``client`` and ``watch`` (the view from
outside); ``host`` (commands inside); ``containers`` (what runs on it); ``losses`` (which
connections are lost meanwhile); ``fixtures`` (the pytest plugin).
"""
