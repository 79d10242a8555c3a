# SPDX-License-Identifier: Apache-2.0
"""Rules that nobody needs: told as they are, and taken away when somebody asks for it.

And what somebody needs of whom podman does not tell: no advice, followed, may hurt him.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.e2e.installed import Installed, installed, on_one_suite
from tests.lab.containers import IMAGE, web, web_command
from tests.lab.host import Host
from tests.lab.rootfs import BUSYBOX_IMAGE, containers_conf

pytestmark = pytest.mark.e2e

NO_TEARDOWN = """#!/bin/sh
case "$*" in *" teardown "*) echo "no teardown" >&2; exit 1 ;; esac
exec /usr/lib/podman/netavark.real "$@"
"""
STALE = ["podwatch", "restore", "--stale"]
ELSEWHERE = ["--root", "/var/lib/containers/other", "--runroot", "/run/other"]
"""podman's options for a storage of its own, as a CI has one."""


@pytest.fixture(scope="module", params=["trixie", "forky"])
def there(request: pytest.FixtureRequest) -> Iterator[Installed]:
    """Debian 13 and the next one, with netavark's nftables driver."""
    with installed(request.param) as host:
        yield host


@contextmanager
def elsewhere(host: Host, name: str, port: int) -> Iterator[str]:
    """A web container of another storage, which `podman ps` does not list: its id."""
    host.podman(*ELSEWHERE, "import", "--quiet", BUSYBOX_IMAGE, IMAGE)
    start = ["run", "--detach", "--name", name, "--stop-signal", "SIGKILL", "--publish"]
    yield host.podman(*ELSEWHERE, *start, f"{port}:80", IMAGE, *web_command(name))
    host.podman(*ELSEWHERE, "rm", "--force", "--time=0", name)


@contextmanager
def build(host: Host, network: str) -> Iterator[str]:
    """A `podman build` in the middle of a RUN, which ends when the block does: podman's pid."""
    script = f"""
        mkdir -p /root/build; rm -f /run/gate; mkfifo /run/gate
        printf 'FROM {IMAGE}\nRUN ["/busybox", "cat", "/gate"]\n' > /root/build/Containerfile
        podman build --no-cache --isolation oci --network {network} --volume /run/gate:/gate \
            --ulimit nofile=20000:20000 --ulimit nproc=9000:9000 \
            /root/build > /root/build.log 2>&1 < /dev/null &
        echo $!
    """
    pid = host.shell(script).stdout.strip()
    try:
        yield pid
    finally:
        host.shell(": <> /run/gate")


def warned(there: Installed, kind: str) -> str:
    """What the warnings of a kind say, all in one."""
    return "\n".join(w["what"] for w in there.status()["warnings"] if w["kind"] == kind)


def follow(there: Installed, parts: Sequence[str] = ("warnings", "unknown", "blocked")) -> None:
    """Do all that podwatch advises to remove, and have it take away what is left over."""
    told = [remark for part in parts for remark in there.status()[part]]
    for remark in told:
        advice = remark.get("advice") or remark.get("hint") or ""
        if "rm " in advice:
            there.host.shell(advice.rpartition("or: ")[2])
    there.host.run(STALE, check=False)


def told(there: Installed) -> list[str]:
    """What is left over, as the status has it."""
    warnings = there.status()["warnings"]
    return [warning["what"] for warning in warnings if warning["kind"] == "leftover"]


def answers(there: Installed, name: str) -> bool:
    """Whether every published port of a container answers with its name."""
    return all(probe.ask(there.host.client) is None for probe in there.containers[name].probes)


def test_a_removed_container_does_not_come_back(there: Installed) -> None:
    """Removed without teardown, its state stays; its rules, once lost, do not, and blame nobody."""
    netavark = "/usr/lib/podman/netavark"
    there.host.podman("network", "create", "lone")
    web(there.host, "old", networks=["lone"], publish=["7520:80"])
    there.until(lambda: there.host.client.http(7520) == "old", "answering")
    there.until(lambda: "'old'" in str(there.status()["containers"]), "listed")
    there.host.run(["mv", netavark, f"{netavark}.real"])
    there.host.write(netavark, NO_TEARDOWN, mode=0o755)
    try:
        there.host.shell("podman rm --force --time=0 old; nft flush ruleset", check=False)
    finally:
        there.host.run(["mv", f"{netavark}.real", netavark])
    there.until(lambda: "netavark still has its state" in str(there.status()["warnings"]), "told")
    there.until(lambda: not there.containers.probe_all(), "answering")
    assert "7520" not in there.host.nft("list", "table", "inet", "netavark")

    # The network's last container takes the network's state with it.
    web(there.host, "last", networks=["lone"])
    there.host.podman("rm", "--force", "--time=0", "last")
    there.until(lambda: "last" not in str(there.status()["containers"]), "gone")
    assert there.status()["unknown"] == []
    assert there.check().code < 2

    incidents = len(there.history())
    web(there.host, "new", publish=["7520:80"])
    there.until(lambda: there.host.client.http(7520) == "new", "answering")
    there.host.run(["systemctl", "restart", "podwatch"])
    there.until(lambda: "netavark still has its state" in str(there.status()["warnings"]), "told")
    there.host.podman("rm", "--force", "--time=0", "new")
    there.until(lambda: "new" not in str(there.status()["containers"]), "gone")
    assert len(there.history()) == incidents

    advice = next(
        warning["advice"] for warning in there.status()["warnings"] if "rm " in warning["advice"]
    )
    assert advice.startswith("rm ")
    there.host.shell(advice)
    there.host.podman("network", "reload", "web-a")  # and podwatch looks
    there.host.run(STALE, check=False)
    there.until_whole()


def test_a_container_of_another_storage_is_one_like_others(there: Installed) -> None:
    """podman does not list it: it is told by itself, kept, healed, and nobody reloads it."""
    host, table = there.host, ("list", "table", "inet", "netavark")
    before, reloads = host.nft(*table), there.reloads()
    with elsewhere(host, "ci", 7530) as key:
        there.until(lambda: key[:12] in warned(there, "unlisted"), "told")
        there.until(lambda: there.check().code == 0, "whole")
        rules = host.nft(*table)

        done = host.run(STALE, check=False)

        assert (done.code, host.nft(*table)) == (0, rules), done.stdout
        host.shell("nft flush ruleset")
        there.until(lambda: host.client.http(7530) == "ci", "answering")
        there.until_whole()
        host.run(["systemctl", "restart", "podwatch"])
        there.until(lambda: key[:12] in warned(there, "unlisted"), "told")
        host.shell("nft delete table inet netavark")
        there.until(lambda: host.client.http(7530) == "ci", "answering")
    there.until(lambda: warned(there, "unlisted") == "", "gone")
    there.until_whole()
    assert (host.nft(*table), there.reloads()) == (before, reloads)


@on_one_suite
def test_a_build_leaves_nothing_unknown(there: Installed) -> None:
    """Neither while it runs nor when it was killed; what a killed one leaves is told, and goes."""
    host, table = there.host, ("list", "table", "inet", "netavark")
    before, ports = host.nft(*table), "/run/containers/networks/firewall/ports"
    with build(host, "dual") as pid:
        there.until(lambda: "buildah" in host.shell(f"ls {ports}").stdout, "building")
        there.until(lambda: "buildah" in warned(there, "unlisted"), "told")
        assert (there.status()["state"], there.status()["unknown"]) == ("ok", [])
        incidents = len(there.history())
        host.shell("nft flush ruleset")
        there.until_whole()
        assert len(there.history()) == incidents + 1
        host.run(["kill", "-KILL", pid])
    there.until(lambda: "buildah" in warned(there, "stale_state"), "told")
    there.until_whole()
    assert there.status()["unknown"] == []
    host.shell("nft flush ruleset")
    there.until_whole()
    assert there.reloads() == 0 or "reload" not in str(there.history()[-1]["methods"])

    follow(there)

    assert "buildah" not in host.shell(f"ls {ports}").stdout
    there.until_whole()
    assert host.nft(*table) == before


def test_no_advice_hurts_who_runs(there: Installed) -> None:
    """Paused, on two networks, in a pod, without its netns' file, a build's, another storage's."""
    host, table = there.host, ("list", "table", "inet", "netavark")
    before = host.nft(*table)
    web(host, "two", networks=["dual", "isolated"], publish=["7541:80"])
    web(host, "paused", publish=["7542:80"])
    host.podman("pause", "paused")
    web(host, "nofile", publish=["7543:80"])
    place = host.podman("inspect", "nofile", "--format", "{{.NetworkSettings.SandboxKey}}")
    host.shell(f"umount {place}; rm {place}")
    with elsewhere(host, "ci", 7544) as key, build(host, "dual"):
        there.until(lambda: "buildah" in warned(there, "unlisted"), "told")
        there.until(lambda: key[:12] in warned(there, "unlisted"), "told")
        host.run(["systemctl", "restart", "podwatch"])  # it knows of nobody but by what is there
        there.until(lambda: "paused" in str(there.status()["containers"]), "listed")
        rules = host.nft(*table)

        follow(there)

        host.podman("unpause", "paused")
        assert host.nft(*table) == rules
        for port, name in ((7541, "two"), (7542, "paused"), (7543, "nofile"), (7544, "ci")):
            assert host.client.http(port) == name
        assert not there.containers.probe_all()
    host.podman("rm", "--force", "--time=0", "two", "paused")
    host.shell("podman rm --force --time=0 nofile", check=False)
    there.until(lambda: "nofile" not in str(there.status()["containers"]), "gone")
    follow(there)
    there.until_whole()
    assert host.nft(*table) == before


def port_answers(there: Installed, port: int, name: str) -> bool:
    """Whether a published port is answered by this container."""
    return there.host.client.http(port, timeout=0.5) == name


def test_a_rule_that_hides_a_port(there: Installed) -> None:
    """A DNAT to an address nobody has is a loss: it is taken away, and the port answers again."""
    before = there.host.nft("list", "table", "inet", "netavark")
    chain = next(
        line.split()[1]
        for line in before.splitlines()
        if line.strip().startswith("chain nv_") and "10_88_0_0_nm16_dnat" in line
    )
    rule = "tcp dport 8081 dnat ip to 10.88.0.99:80"
    with there.configured('[restore]\nmethods = ["reload"]\n'):
        there.host.shell(f"nft 'insert rule inet netavark {chain} {rule}'")
        there.until(lambda: rule in str(there.status()["missing"]), "told", 5)
        assert not answers(there, "web-a")
        assert there.host.run(["podwatch", "status"], check=False).code == 2
    there.until(lambda: answers(there, "web-a"), "answering", 5)
    there.until_whole()
    assert there.host.nft("list", "table", "inet", "netavark") == before
    assert there.reloads() == 0
    last = there.history()[-1]
    assert (last["verified"], last["methods"]) == (True, ["replay"])
    assert "8081/tcp is taken by a rule left over" in last["missing"][0]
    assert "no running container has 10.88.0.99" in last["missing"][0]


def test_who_lost_its_namespace_closes_nobodys_way(there: Installed) -> None:
    """Where teardown fails, the next container with the same port is reached all the same."""
    host = there.host
    web(host, "first", publish=["8098:80"])
    there.until(lambda: port_answers(there, 8098, "first"), "answering")
    place = host.podman("inspect", "first", "--format", "{{.NetworkSettings.SandboxKey}}")
    host.shell(f"umount {place}; rm -f {place}; podman rm -f -t0 first", check=False)
    web(host, "second", publish=["8098:80"])
    there.until(lambda: port_answers(there, 8098, "second"), "answering", 20)
    host.podman("rm", "--force", "--time=0", "second")
    host.run(STALE, check=False)
    host.shell("podman rm -f -t0 first", check=False)
    there.until_whole()


def test_an_old_copy_of_the_table_closes_no_way(there: Installed) -> None:
    """Loaded from a file, the rules of who had a port before do not keep it from who has it now."""
    host, table = there.host, ("list", "table", "inet", "netavark")
    web(host, "before", publish=["8096:80"])
    old = host.nft(*table)
    host.podman("rm", "--force", "--time=0", "before")
    web(host, "after", publish=["8096:80"])
    there.until(lambda: port_answers(there, 8096, "after"), "answering")
    host.run(["nft", "-f", "-"], input=f"flush table inet netavark\n{old}")
    there.until(lambda: port_answers(there, 8096, "after"), "answering again", 5)
    host.podman("rm", "--force", "--time=0", "after")
    host.run(STALE, check=False)
    there.until_whole()


def test_the_rules_of_a_container_that_has_gone(there: Installed) -> None:
    """All that it left is named, and goes when asked for; everybody else's rules stay."""
    table = ("list", "table", "inet", "netavark")
    before = there.host.nft(*table)
    web(there.host, "gone", publish=["8097:80"])
    dead = there.host.nft(*table)
    there.host.podman("rm", "--force", "gone")
    there.host.run(["nft", "-f", "-"], input=f"flush table inet netavark\n{dead}")
    there.until(
        lambda: any("tcp dport 8097 dnat" in sentence for sentence in told(there)), "told", 5
    )
    assert any("3 rules that no running container needs" in sentence for sentence in told(there))
    there.host.run(["nft", "insert rule inet netavark FORWARD ip saddr 203.0.113.1 drop"])

    done = there.host.run(STALE, check=False)

    assert (done.code, done.stdout.count("left over:")) == (0, 4)
    there.host.shell(
        "nft delete rule inet netavark FORWARD handle "
        "$(nft -a list chain inet netavark FORWARD | sed -n 's/.*203.0.113.1 drop # handle //p')"
    )
    there.until(lambda: not told(there), "gone", 5)
    assert there.host.nft(*table) == before


def test_a_rule_of_a_running_container_is_kept(there: Installed) -> None:
    """With netavark's state of a running container lost it is unknown whose rules are whose."""
    before = there.host.nft("list", "table", "inet", "netavark")
    key = web(there.host, "kept", publish=["8096:80"])
    state = f"/run/containers/networks/firewall/ports/*_{key}"
    there.host.shell(f"mkdir /root/state; mv {state} /root/state/")
    there.until(lambda: "kept" in str(there.status()["unknown"]), "told", 70)

    done = there.host.run(STALE, check=False)

    assert (done.code, "take" in done.stdout, told(there)) == (3, False, [])
    assert there.host.client.http(8096) == "kept"
    there.host.shell("mv /root/state/* /run/containers/networks/firewall/ports/")
    there.host.podman("rm", "--force", "kept")
    there.until_whole()
    assert there.host.nft("list", "table", "inet", "netavark") == before


def test_a_change_of_the_network_backend() -> None:
    """What CNI left behind hides the ports of netavark's containers, is named, and can go."""
    conf = {
        backend: containers_conf("bookworm", network_backend=backend)
        for backend in ("cni", "netavark")
    }
    with installed("bookworm", containers_conf=conf["cni"]) as there:
        host = there.host
        assert not told(there)
        with elsewhere(host, "ci", 7550):
            there.until(lambda: warned(there, "unlisted") != "", "told", 90)
            follow(there)
            assert host.client.http(7550) == "ci"
            there.until_whole()
        host.shell("iptables-save > /root/cni.rules")
        host.podman("rm", "--force", "--all")
        host.podman("network", "rm", "dual", "isolated", "lan")
        host.write("/etc/containers/containers.conf", conf["netavark"])
        host.shell(
            "rm -rf /var/lib/cni; ip link delete cni-podman0; iptables-restore /root/cni.rules"
        )
        for name, port in (("other", 8099), ("web-a", 8081)):  # so that addresses differ
            web(host, name, publish=[f"{port}:80"])
        left = "10.88.0.2:80"
        there.until(lambda: any(left in sentence for sentence in told(there)), "told", 90)
        assert host.client.http(8081) != "web-a"

        done = host.run(STALE, check=False)

        assert (done.code, left in done.stdout) == (0, True)
        there.until(lambda: host.client.http(8081) == "web-a", "answers", 5)
        there.until(lambda: there.status()["state"] == "ok", "ok", 5)
