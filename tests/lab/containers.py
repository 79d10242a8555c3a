# SPDX-License-Identifier: Apache-2.0
"""What runs on a lab host: small containers, and how to tell from outside that each is reachable.

Everything is made of one image of a static busybox, imported from an archive that every root file
system holds, so no registry is needed. A web container answers HTTP with its own name; a UDP
container answers each datagram with its name and the datagram.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.lab.client import HOST_LINK, HOST_V4, HOST_V6, Client
from tests.lab.host import Host
from tests.lab.inside import Inside
from tests.lab.rootfs import BUSYBOX_IMAGE

IMAGE = "local/busybox"
MACVLAN_ADDRESS = "192.0.2.50"
HOST_NETWORK_PORT = 8070
"""Where the container on the host's own network listens."""

# busybox's nc has no UDP, so the host's own python3 answers, from a read-only mount of /usr.
_UDP_ECHO = """
import socket, sys
datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
datagrams.bind(("::", int(sys.argv[2])))
while True:
    data, sender = datagrams.recvfrom(65536)
    datagrams.sendto(sys.argv[1].encode() + b" " + data, sender)
"""


@dataclass(frozen=True)
class Probe:
    """One way to reach a container from the client, and the name it has to answer with."""

    container: str
    address: str
    port: int
    protocol: str = "tcp"

    def ask(self, client: Client, timeout: float = 2.0) -> str | None:
        """Ask once; return None if the container answered, else say what was heard."""
        if self.protocol == "tcp":
            answer = client.http(self.port, self.address, timeout)
            good = answer == self.container
        else:
            said = client.udp(self.port, self.address, b"podwatch", timeout)
            answer = None if said is None else said.decode(errors="replace")
            good = answer == f"{self.container} podwatch"
        if good:
            return None
        heard = "no answer" if answer is None else f"the answer {answer!r}"
        return f"{heard} from {self.container} at {self.address} port {self.port}/{self.protocol}"


@dataclass(frozen=True)
class Container:
    """A container of the lab: its kind, how to reach it, and where its connections come from."""

    name: str
    kind: str
    """default, dual-stack, isolated, pod, macvlan, none or host."""
    probes: tuple[Probe, ...] = ()
    seen_as: str | None = HOST_V4
    """The address the client sees it under: the host's if masqueraded; None without a network."""
    seen_as_v6: str | None = None


@dataclass(frozen=True)
class ContainerSet:
    """Containers on one host, and the questions that show whether all of them work."""

    host: Host
    containers: tuple[Container, ...] = field(default=())

    @property
    def http_ports(self) -> list[int]:
        """The TCP ports published on the host's IPv4 address, for a Watch."""
        return [
            probe.port
            for container in self.containers
            for probe in container.probes
            if probe.protocol == "tcp" and probe.address == HOST_V4
        ]

    def __getitem__(self, name: str) -> Container:
        """Return the container of that name."""
        return next(container for container in self.containers if container.name == name)

    def probe_ports(self) -> list[str]:
        """Ask every published port once; return a sentence for each that does not answer."""
        asked = [
            probe.ask(self.host.client)
            for container in self.containers
            for probe in container.probes
        ]
        return [failure for failure in asked if failure is not None]

    def probe_egress(self) -> list[str]:
        """Let every container call the client; return a sentence for each that is seen wrongly."""
        failures = []
        for container in self.containers:
            for ipv6, expected in ((False, container.seen_as), (True, container.seen_as_v6)):
                if ipv6 and expected is None:
                    continue
                seen = self.host.seen_as(container.name, ipv6=ipv6)
                if seen != expected:
                    how = "IPv6" if ipv6 else "IPv4"
                    failures.append(
                        f"{container.name} is seen as {seen} over {how}, not {expected}"
                    )
        return failures

    def probe_all(self) -> list[str]:
        """Try every published port and every container's way out; an empty list means all work."""
        return self.probe_ports() + self.probe_egress()


def import_image(host: Inside) -> str:
    """Import the image of all lab containers if podman on ``host`` lacks it; return its name."""
    script = 'podman image exists "$1" || podman import --quiet "$2" "$1" >/dev/null'
    host.run(["sh", "-ec", script, "sh", IMAGE, BUSYBOX_IMAGE])
    return IMAGE


def web_command(name: str, ports: Sequence[int] = (80,)) -> list[str]:
    """Return the command of a container that answers HTTP with its name on each of ``ports``."""
    servers = [f"/busybox httpd -p {port} -h /" for port in ports[:-1]]
    servers.append(f"exec /busybox httpd -f -p {ports[-1]} -h /")
    return ["/busybox", "sh", "-c", "; ".join([f"echo {name} >/index.html", *servers])]


def run_container(host: Inside, name: str, command: Sequence[str], options: Sequence[str]) -> str:
    """Start a container in the background and return its id.

    It is stopped by SIGKILL: as PID 1 busybox would sit out the ten seconds SIGTERM has.
    """
    start = ["run", "--detach", "--name", name, "--stop-signal", "SIGKILL", *options]
    return host.podman(*start, import_image(host), *command)


def web(
    host: Inside,
    name: str,
    *,
    networks: Sequence[str] = (),
    publish: Sequence[str] = (),
    ports: Sequence[int] = (80,),
    extra: Sequence[str] = (),
) -> str:
    """Start a container that answers HTTP with its name, and return its id.

    Args:
        host: where to run it, as root or as a user.
        name: its name, and its answer.
        networks: values of podman's ``--network``; podman's default if empty.
        publish: values of podman's ``--publish``, as ``8080:80/tcp``.
        ports: ports it listens on inside.
        extra: further options of ``podman run``.
    """
    options = [f"--network={network}" for network in networks]
    options += [f"--publish={mapping}" for mapping in publish]
    return run_container(host, name, web_command(name, ports), [*options, *extra])


def udp_echo(
    host: Inside,
    name: str,
    *,
    networks: Sequence[str] = (),
    publish: Sequence[str] = (),
    port: int = 53,
    extra: Sequence[str] = (),
) -> str:
    """Start a container that answers datagrams with its name and the datagram; return its id.

    Args:
        host: where to run it, as root or as a user.
        name: its name.
        networks: values of podman's ``--network``; podman's default if empty.
        publish: values of podman's ``--publish``, as ``5300:53/udp``.
        port: port it listens on inside.
        extra: further options of ``podman run``.
    """
    options = ["--volume=/usr:/usr:ro", *(f"--network={network}" for network in networks)]
    options += [f"--publish={mapping}" for mapping in publish]
    command = ["/usr/bin/python3", "-I", "-S", "-c", _UDP_ECHO, name, str(port)]
    return run_container(host, name, command, [*options, *extra])


def standard_set(host: Host) -> ContainerSet:
    """Start one container of every kind podwatch has to tell apart, and return their description.

    Two on podman's default network; on a dual-stack network one with a TCP port, a range and a port
    bound to one host address, and one with a UDP port; one on an isolated network; a pod; one on a
    macvlan network of the host's own link; one without a network; one on the host's network.
    """
    web(host, "web-a", publish=["8081:80"])
    web(host, "web-b", publish=["8082:80/tcp"])
    dual = "--subnet=10.89.10.0/24 --ipv6 --subnet=fd10:89:10::/64"
    host.podman("network", "create", *dual.split(), "dual")
    ranged = ["8083:80", "9000-9002:9000-9002", f"{HOST_V4}:8084:81"]
    inside = (80, 81, 9000, 9001, 9002)
    web(host, "dual-web", networks=["dual"], publish=ranged, ports=inside)
    udp_echo(host, "dual-udp", networks=["dual"], publish=["5300:53/udp"])
    host.podman("network", "create", "--subnet=10.89.20.0/24", "--opt=isolate=true", "isolated")
    web(host, "isolated-web", networks=["isolated"], publish=["8085:80"])
    host.podman("pod", "create", "--name=pod", "--publish=8086:80")
    web(host, "pod-web", extra=["--pod=pod"])
    lan = f"--driver=macvlan --opt=parent={HOST_LINK} --subnet=192.0.2.0/24 --gateway=192.0.2.2"
    host.podman("network", "create", *lan.split(), "lan")
    web(host, "macvlan-web", networks=["lan"], extra=[f"--ip={MACVLAN_ADDRESS}"])
    web(host, "none-web", networks=["none"])
    web(host, "host-web", networks=["host"], ports=[HOST_NETWORK_PORT])

    def tcp(name: str, *ports: int, address: str = HOST_V4) -> tuple[Probe, ...]:
        return tuple(Probe(name, address, port) for port in ports)

    dual_v6 = tcp("dual-web", 8083, 9000, 9001, 9002, address=HOST_V6)
    udp = tuple(Probe("dual-udp", address, 5300, "udp") for address in (HOST_V4, HOST_V6))
    return ContainerSet(
        host,
        (
            Container("web-a", "default", tcp("web-a", 8081)),
            Container("web-b", "default", tcp("web-b", 8082)),
            Container(
                "dual-web",
                "dual-stack",
                tcp("dual-web", 8083, 8084, 9000, 9001, 9002) + dual_v6,
                seen_as_v6=HOST_V6,
            ),
            Container("dual-udp", "dual-stack", udp, seen_as_v6=HOST_V6),
            Container("isolated-web", "isolated", tcp("isolated-web", 8085)),
            Container("pod-web", "pod", tcp("pod-web", 8086)),
            Container(
                "macvlan-web",
                "macvlan",
                tcp("macvlan-web", 80, address=MACVLAN_ADDRESS),
                seen_as=MACVLAN_ADDRESS,
            ),
            Container("none-web", "none", seen_as=None),
            # Its port is the host's own, which firewalld's public zone does not let through.
            Container("host-web", "host"),
        ),
    )


def many(
    host: Host, count: int, *, first: int = 1, first_port: int = 20001, network: str = ""
) -> ContainerSet:
    """Start many web containers with one published port each, two at a time.

    Args:
        host: where to run them.
        count: how many; they are named many-1, many-2 and so on.
        first: the number of the first, where there are some already.
        first_port: the host port of many-1; each next one has the next.
        network: a network they share; podman's default network if empty.
    """
    import_image(host)
    options = f"--network={network}" if network else ""
    script = f"""
        seq {first} {first + count - 1} | xargs -P 2 -I @ sh -ec '
            podman run --quiet --detach --name many-@ --stop-signal SIGKILL {options} \\
                --publish $(({first_port - 1} + @)):80 {IMAGE} \\
                /busybox sh -c "echo many-@ >/index.html; exec /busybox httpd -f -p 80 -h /"
        ' >/dev/null
    """
    host.run(["sh", "-ec", script], timeout=30 + 3 * count)
    return ContainerSet(
        host,
        tuple(
            Container(f"many-{n}", "default", (Probe(f"many-{n}", HOST_V4, first_port + n - 1),))
            for n in range(first, first + count)
        ),
    )
