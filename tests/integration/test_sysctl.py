# SPDX-License-Identifier: Apache-2.0
"""The sysctl adapter against the real kernel, in a network namespace of the test's own."""

import asyncio
import subprocess

import pytest

from podwatch.adapters import sysctl
from podwatch.adapters.sysctl import SysctlWatch
from podwatch.words.errors import RestoreFailed
from tests.integration.namespace import in_private_network

pytestmark = pytest.mark.integration

FORWARD = "net/ipv4/ip_forward"
FILTER = "net/ipv4/conf/lo/rp_filter"


async def _hears(script: str) -> bool:
    """Whether the watch calls while a script runs, or within two seconds after it."""
    heard = asyncio.Event()
    watch = SysctlWatch(heard.set)
    watch.attach(asyncio.get_running_loop())
    try:
        subprocess.run(["sh", "-c", script], check=True)
        async with asyncio.timeout(2):
            await heard.wait()
    except TimeoutError:
        return False
    finally:
        watch.close()
    return True


@in_private_network
def test_what_is_written_is_read() -> None:
    """A setting is written, read again, and left out where there is no such link."""
    sysctl.write(FILTER, "2")
    assert sysctl.read([FILTER, "net/ipv4/conf/nolink/rp_filter"]) == {FILTER: "2"}


@in_private_network
def test_what_cannot_be_written_is_told() -> None:
    """A setting that is not there is an error that names it."""
    with pytest.raises(RestoreFailed, match="net/ipv4/conf/nolink/rp_filter: No such file"):
        sysctl.write("net/ipv4/conf/nolink/rp_filter", "2")


@in_private_network
def test_forwarding_and_the_filter_are_heard_of() -> None:
    """The kernel tells when forwarding, of either family, or rp_filter is set."""
    for path in (FORWARD, "net/ipv6/conf/all/forwarding", FILTER):
        (value,) = sysctl.read([path]).values()
        other = "0" if value == "1" else "1"
        assert asyncio.run(_hears(f"echo {other} > /proc/sys/{path}")), path


@in_private_network
def test_a_new_link_is_no_news() -> None:
    """A link that comes and goes, as at each container's start, is not taken for a setting."""
    assert not asyncio.run(
        _hears("ip link add v1 type veth peer name v2; ip link set v1 up; ip link del v1")
    )
