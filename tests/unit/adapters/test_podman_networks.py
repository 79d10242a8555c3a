# SPDX-License-Identifier: Apache-2.0
"""Podman's files of networks and leases, as they lie in directories of the test's own."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters import podman_networks
from podwatch.adapters.paths import Paths
from podwatch.adapters.podman_networks import PodmanNetworks
from podwatch.words.dhcp import PROXIES, Backend, Lease
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import ContainerClass

MACVLAN: dict[str, Any] = {"type": "macvlan", "ipam": {"type": "dhcp"}, "master": "eth0"}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A podman that was never configured."""
    paths = Paths(
        containers_conf=(tmp_path / "usr.conf", tmp_path / "etc.conf", tmp_path / "conf.d"),
        chosen_backend=tmp_path / "chosen",
        netavark_networks=tmp_path / "networks",
        cni_networks=tmp_path / "net.d",
        cni_results=tmp_path / "results",
        leases=tmp_path / "leases",
    )
    for directory in (paths.netavark_networks, paths.cni_networks, paths.cni_results):
        directory.mkdir()
    (tmp_path / "conf.d").mkdir()
    return paths


def add(paths: Paths, name: str, **more: object) -> None:
    """A network of netavark's."""
    text = json.dumps({"name": name, "driver": "bridge", **more})
    (paths.netavark_networks / f"{name}.json").write_text(text)


def add_cni(paths: Paths, name: str, ending: str = "conflist", **plugin: object) -> None:
    """A network of CNI's."""
    text = json.dumps({"name": name, "plugins": [plugin]})
    (paths.cni_networks / f"{name}.{ending}").write_text(text)


def configure(path: Path, **settings: str | int) -> None:
    """A containers.conf with these settings of [network]."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    path.write_text("\n".join(["[network]", *lines]))


def test_the_last_word_on_the_backend_counts(paths: Paths) -> None:
    """containers.conf before what podman chose; a later file before an earlier, key by key."""
    usr, etc, directory = paths.containers_conf
    networks = PodmanNetworks(paths)
    paths.chosen_backend.write_text("cni\n")
    assert networks.read_backend() == (Backend.CNI, paths.cni_networks)
    configure(usr, network_backend="netavark", network_config_dir="/srv/networks")
    assert networks.read_backend() == (Backend.NETAVARK, Path("/srv/networks"))
    configure(etc, network_backend="cni")
    assert networks.read_backend() == (Backend.CNI, Path("/srv/networks"))
    configure(directory / "10-x.conf", network_backend="cni")
    configure(directory / "20-y.conf", network_backend="netavark", network_config_dir="/srv/y")
    configure(directory / "30-z", network_backend="cni")  # podman reads *.conf alone
    assert networks.read_backend() == (Backend.NETAVARK, Path("/srv/y"))
    (directory / "20-y.conf").write_text("no TOML [")
    assert networks.read_backend() == (Backend.CNI, Path("/srv/networks"))


def test_where_nobody_chose_the_networks_tell(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CNI is in use where it has a network and netavark is not installed."""
    netavark = paths.cni_results / "netavark"
    monkeypatch.setattr(podman_networks, "_NETAVARK_PROGRAMS", (netavark, paths.leases))
    networks = PodmanNetworks(paths)
    assert networks.read_backend() == (Backend.NETAVARK, paths.netavark_networks)
    (paths.cni_networks / "README").touch()
    assert networks.read_backend()[0] is Backend.NETAVARK
    add_cni(paths, "lan", ending="conf", **MACVLAN)
    assert networks.read_backend() == (Backend.CNI, paths.cni_networks)
    netavark.touch()
    assert networks.read_backend()[0] is Backend.NETAVARK


def test_the_name_servers_port_is_the_last_that_is_set(paths: Paths) -> None:
    """53 where none is, or where 0 is."""
    usr, etc, _ = paths.containers_conf
    networks = PodmanNetworks(paths)
    assert networks.read_dns_port() == 53
    configure(usr, dns_bind_port=1053)
    configure(etc, network_backend="netavark")
    assert networks.read_dns_port() == 1053
    configure(etc, dns_bind_port=0)
    assert networks.read_dns_port() == 53


def test_networks_that_want_dhcp_are_named_in_order(paths: Paths) -> None:
    """Files that are no network's, or make no sense, are passed over; no directory is empty."""
    paths.chosen_backend.write_text("netavark")
    wants = {"driver": "macvlan", "ipam_options": {"driver": "dhcp"}}
    add(paths, "wan", **wants)
    add(paths, "lan", **wants)
    add(paths, "pod")
    (paths.netavark_networks / "bad.json").write_text("{")
    (paths.netavark_networks / "lan2.json.swp").write_text(json.dumps({"name": "lan2", **wants}))
    networks = PodmanNetworks(paths)

    assert networks.read_networks(*networks.read_backend()) == ("lan", "wan")
    assert networks.read_proxy() == (("lan", "wan"), PROXIES[Backend.NETAVARK])
    assert networks.read_networks(Backend.NETAVARK, paths.leases) == ()


def test_networks_of_cnis_are_read_as_cnis(paths: Paths) -> None:
    """Of both endings that podman reads."""
    paths.chosen_backend.write_text("cni")
    add_cni(paths, "wan", **MACVLAN)
    add_cni(paths, "lan", ending="conf", **MACVLAN)
    add_cni(paths, "other", ending="json", **MACVLAN)
    networks = PodmanNetworks(paths)

    assert networks.read_proxy() == (("lan", "wan"), PROXIES[Backend.CNI])
    files = networks.read_files()
    assert set(files) == {"lan", "wan"}
    assert (files["lan"].kind, files["lan"].interface) == (ContainerClass.MACVLAN, "eth0")


def test_each_network_with_a_file_is_known_by_its_name(paths: Paths) -> None:
    """Whatever its file is called."""
    paths.chosen_backend.write_text("netavark")
    add(paths, "pod", network_interface="podman1")
    (paths.netavark_networks / "pod.json").rename(paths.netavark_networks / "x.json")
    (paths.netavark_networks / "bad.json").write_text("{")
    (network,) = PodmanNetworks(paths).read_files().values()

    assert (network.name, network.interface) == ("pod", "podman1")


def test_whether_all_files_could_be_read_is_known(paths: Paths) -> None:
    """A file that makes no sense, or a directory that is not there: some may be missing."""
    networks = PodmanNetworks(paths)

    def read() -> tuple[set[str], bool]:
        return set(networks.read_files()), networks.has_all

    add(paths, "app")
    assert read() == ({"app"}, True)
    spoilt = paths.netavark_networks / "half.json"
    spoilt.write_text("{")
    assert read() == ({"app"}, False)
    spoilt.unlink()
    assert read() == ({"app"}, True)
    paths.netavark_networks.rename(paths.netavark_networks.with_name("away"))
    assert read() == (set(), False)


def test_no_more_files_are_read_than_there_can_be(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ones by name; a directory that others fill keeps nobody up."""
    monkeypatch.setattr(podman_networks, "MAX_FILES", 2)
    for name in ("c", "a", "b"):
        add(paths, name)
    paths.chosen_backend.write_text("netavark")

    assert set(PodmanNetworks(paths).read_files()) == {"a", "b"}


def test_leases_are_read_with_their_time(paths: Paths) -> None:
    """No file is no lease; one that makes no sense is an error that names it."""
    networks = PodmanNetworks(paths)
    assert (networks.read_leases(), networks.leases_changed()) == ({}, 0.0)
    lease = {"t1": 60, "lease_time": 120, "yiaddr": "192.0.2.7"}
    paths.leases.write_text(json.dumps({"02:00:00:00:00:01": [lease]}))
    os.utime(paths.leases, (5, 7))
    assert networks.read_leases() == {"02:00:00:00:00:01": Lease("192.0.2.7", 120, 60)}
    assert networks.leases_changed() == 7.0
    paths.leases.write_text("[]")
    with pytest.raises(StateUnreadable, match=f"{paths.leases}: not a JSON object"):
        networks.read_leases()


def result(paths: Paths, file: str, network: str, container: str, **more: object) -> None:
    """What a plugin of CNI's answered, at second 7."""
    answer = {
        "interfaces": [{"sandbox": "/run/netns/x", "mac": "02:00:00:00:00:01"}],
        "ips": [{"address": "192.0.2.7/24"}],
    }
    cached = {
        "kind": "cniCacheV1",
        "containerId": container,
        "networkName": network,
        "result": answer,
        **more,
    }
    (paths.cni_results / file).write_text(json.dumps(cached))
    os.utime(paths.cni_results / file, (5, 7))


def test_who_is_on_a_network_of_cnis_is_in_its_results(paths: Paths) -> None:
    """By network and container; those of other networks, whatever their names, are not."""
    result(paths, "lan-one-eth0", "lan", "one")
    result(paths, "lan-2-two-eth0", "lan-2", "two")
    result(paths, "wan-three-eth0", "wan", "three")
    result(paths, "pod-four-eth0", "lan", "four")
    result(paths, "lan-five-eth0", "lan", "five", kind="other")
    place = ("02:00:00:00:00:01", "192.0.2.7", 7.0)

    assert PodmanNetworks(paths).read_cni_places(("lan", "empty")) == {
        "lan": {"one": place},
        "empty": {},
    }


def test_a_network_is_parsed_again_when_its_file_changes(tmp_path: Path) -> None:
    """The same files give the same answer; one that is written anew, or removed, another one."""
    paths = Paths(
        netavark_networks=tmp_path,
        cni_networks=tmp_path / "cni",
        containers_conf=(),
        chosen_backend=tmp_path / "none",
    )
    networks = PodmanNetworks(paths)
    file = tmp_path / "app.json"
    file.write_text('{"name": "app", "driver": "bridge", "network_interface": "podman1"}')
    first = networks.read_files()
    assert networks.read_files() is first
    file.write_text('{"name": "app", "driver": "bridge", "network_interface": "podman10"}')
    assert networks.read_files()["app"].interface == "podman10"
    file.unlink()
    assert networks.read_files() == {}
