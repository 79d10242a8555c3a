# SPDX-License-Identifier: Apache-2.0
"""Command lines of relays, as they were seen on hosts."""

import pytest

from podwatch.formats.relay_commands import (
    end_descriptor,
    given_file,
    is_relay,
    parse_argv,
    parse_depth,
    parse_inode,
    to_start,
)
from podwatch.words.relays import RelayKind

R = "/run/user/1000"
NETNS = f"{R}/containers/networks/rootless-netns/rootless-netns"
UPLINK = (
    f"/usr/bin/pasta --config-net --pid {R}/containers/networks/rootless-netns/"
    "rootless-netns-conn.pid --dns-forward 169.254.1.1 -t none -u none -T none -U none "
    f"--no-map-gw --quiet --netns {NETNS} --map-guest-addr 169.254.1.2"
)
SLIRP = (
    "/usr/bin/slirp4netns --disable-host-loopback --mtu=65520 --enable-sandbox --enable-seccomp "
    f"--enable-ipv6 -c -r 3 -e 4 --netns-type=path {R}/netns/netns-d0e2 tap0"
)


def argv(line: str) -> tuple[str, ...]:
    """A command line as /proc has it, parsed."""
    return parse_argv(line.replace(" ", "\0").encode() + b"\0")


def test_a_command_line_is_kept_exactly() -> None:
    """An empty argument and blanks within one stay: it is started again as it is."""
    assert parse_argv(b"pasta\0\0a  b\0") == ("pasta", "", "a  b")


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\xff\0", b"a\x1b[m\0", b"a\nb\0", b"pasta\0--netns", b"a\0" * 300],
    ids=["none", "no text", "escape", "line", "cut off", "many"],
)
def test_what_cannot_be_shown_is_not_kept(data: bytes) -> None:
    """Nor what is longer than was read."""
    assert parse_argv(data) == ()


def test_pasta_is_given_its_namespace_by_an_option() -> None:
    """In one word or in two."""
    assert given_file(RelayKind.PASTA, argv(UPLINK)) == NETNS
    assert given_file(RelayKind.PASTA, ("pasta", "--netns=/run/x")) == "/run/x"
    assert given_file(RelayKind.PASTA, ("pasta", "--netns")) == ""
    assert given_file(RelayKind.PASTA, ("pasta", "--netns-only", "4711")) == ""


@pytest.mark.parametrize("kind", RelayKind)
def test_a_command_line_that_could_not_be_read_gives_nothing(kind: RelayKind) -> None:
    """As of a process that ends at that moment: it has given no file, and is no error."""
    assert given_file(kind, ()) == ""
    assert to_start(RelayKind.PASTA, ()) == ()


def test_slirp4netns_is_given_it_before_the_name_of_its_device() -> None:
    """Where it says that this is a path."""
    assert given_file(RelayKind.SLIRP, argv(SLIRP)) == f"{R}/netns/netns-d0e2"
    assert given_file(RelayKind.SLIRP, ("slirp4netns", "-c", "4711", "tap0")) == ""
    assert given_file(RelayKind.SLIRP, ("slirp4netns",)) == ""
    assert given_file(RelayKind.PORTS, ("rootlessport",)) == ""


def test_where_a_relay_hears_of_its_containers_end() -> None:
    """pasta looks at the file of the namespace, the others at a pipe."""
    assert end_descriptor(RelayKind.SLIRP, argv(SLIRP)) == 4
    assert end_descriptor(RelayKind.SLIRP, argv(SLIRP.replace("-e 4 ", ""))) == -1
    assert end_descriptor(RelayKind.SLIRP, ("slirp4netns", "-e", "/x")) == -1
    assert end_descriptor(RelayKind.SLIRP, ("slirp4netns", "-e")) == -1
    assert end_descriptor(RelayKind.PORTS, ("rootlessport",)) == 3
    assert end_descriptor(RelayKind.PASTA, argv(UPLINK)) == -1


def test_what_is_started_again_inherits_other_descriptors() -> None:
    """All else is as it was."""
    assert to_start(RelayKind.PASTA, argv(UPLINK)) == argv(UPLINK)[1:]
    assert to_start(RelayKind.SLIRP, argv(SLIRP)) == (
        *("-r", "4", "--disable-host-loopback", "--mtu=65520", "--enable-sandbox"),
        *("--enable-seccomp", "--enable-ipv6", "-c", "-e", "3", "--netns-type=path"),
        *(f"{R}/netns/netns-d0e2", "tap0"),
    )
    assert to_start(RelayKind.SLIRP, ("slirp4netns", "x", "-r")) == ("-r", "4", "x")
    assert to_start(RelayKind.PORTS, ("rootlessport",)) == ()


def test_the_inode_of_a_namespace() -> None:
    """As the link in /proc names it; so does that of a pipe."""
    assert parse_inode("net:[4026533088]") == 4026533088
    assert parse_inode("pipe:[37312281]") == 37312281
    assert parse_inode("/dev/null") == parse_inode("") == 0


def test_pasta_has_a_pid_namespace_of_its_own() -> None:
    """Whoever else has one is in a container."""
    assert parse_depth("Name:\tpasta\nNSpid:\t247\t1\n") == (247, 1)
    assert parse_depth("Name:\tpasta\n") == ()
    assert is_relay(RelayKind.PASTA, (247, 1))
    assert is_relay(RelayKind.PASTA, (247,))
    assert not is_relay(RelayKind.PASTA, (247, 2))
    assert not is_relay(RelayKind.PASTA, (247, 20, 1))
    assert is_relay(RelayKind.SLIRP, (471,))
    assert not is_relay(RelayKind.SLIRP, (471, 1))
    assert not is_relay(RelayKind.PORTS, ())
