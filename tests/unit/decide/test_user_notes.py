# SPDX-License-Identifier: Apache-2.0
"""What a user's containers go by on the host: sessions, low ports, a firewall."""

from dataclasses import replace

import pytest

from podwatch.decide.judge import judge
from podwatch.decide.user_notes import explained, user_notices
from podwatch.words.network import Container, ContainerState, PortMapping
from podwatch.words.outside import Outside
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Notice, State, WarningKind
from tests.unit.decide.user_host import ALONE, CONTAINERS, USER

LOW = (PortMapping(443, 443, "tcp"), PortMapping(80, 80, "tcp"), PortMapping(8080, 80, "tcp"))
WEB = replace(CONTAINERS[ALONE], ports=LOW)


def seen(outside: Outside | None, *containers: Container) -> Snapshot:
    """A look at these containers."""
    return replace(USER, outside=outside, containers={one.id: one for one in containers})


def test_a_session_that_ends_takes_all_with_it() -> None:
    """Where nobody lingers, by the user's name; one command ends that."""
    (notice,) = user_notices(seen(Outside(ends_for="alice"), CONTAINERS[ALONE]))
    assert notice.kind is WarningKind.LINGER
    assert "last session of alice" in notice.what
    assert notice.advice == "loginctl enable-linger alice"


def test_a_port_below_the_first_is_told_with_the_setting() -> None:
    """Of each container by itself; the advice lets its lowest port be listened on."""
    (notice,) = user_notices(seen(Outside(first_port=1024), WEB))
    assert notice == Notice(
        WarningKind.LOW_PORT,
        "alone publishes 443/tcp, 80/tcp, and its next start will fail: users listen from port "
        "1024 on",
        "as root: sysctl -w net.ipv4.ip_unprivileged_port_start=80",
    )
    assert list(user_notices(seen(Outside(first_port=80), WEB))) == []


@pytest.mark.parametrize("tell", [user_notices, explained])
@pytest.mark.parametrize("who", ["root", "nobody", "ended"])
def test_who_does_not_run_is_not_told_of(tell: object, who: str) -> None:
    """Nor is anything on root's host."""
    outside = Outside(ends_for="alice", first_port=1024, has_firewalld=True)
    ended = replace(WEB, state=ContainerState.ENDED)
    look = {
        "root": seen(None, WEB),
        "nobody": seen(outside),
        "ended": seen(outside, ended),
    }[who]
    assert callable(tell)
    assert list(tell(look)) == []


def test_a_port_of_a_pod_is_told_once() -> None:
    """podman lists it with each member; the infra container has it."""
    infra = replace(WEB, name="f52-infra", pod="shop", is_infra=True)
    till = replace(WEB, id="f" * 64, name="till", pod="shop", mode=f"container:{ALONE}")
    (notice,) = user_notices(seen(Outside(first_port=1024), till, infra))
    assert notice.what.startswith("pod shop publishes 443/tcp")


def test_a_firewall_of_the_host_is_named_for_who_asks() -> None:
    """A user cannot ask firewalld; root can, and is told how."""
    (notice,) = explained(seen(Outside(has_firewalld=True), CONTAINERS[ALONE]))
    assert notice.kind is WarningKind.HOST_FIREWALL
    assert "lets 8081/tcp in" in notice.what
    assert notice.advice == (
        "as root: firewall-cmd --query-port=8081/tcp; to open it: firewall-cmd --add-port=8081/tcp"
    )


def test_a_firewall_is_no_matter_where_nothing_is_published() -> None:
    """Nor where none runs."""
    quiet = replace(CONTAINERS[ALONE], ports=())
    assert list(explained(seen(Outside(has_firewalld=True), quiet))) == []
    assert list(explained(seen(Outside(), CONTAINERS[ALONE]))) == []


def test_none_of_it_is_a_loss() -> None:
    """Without linger a healthy user is ok; what will not start again is worth a look."""
    assert judge(seen(Outside(ends_for="alice"), Container("f" * 64, "quiet"))).state is State.OK
    low = judge(replace(USER, outside=Outside(first_port=9000)))
    assert (low.state, low.missing) == (State.DEGRADED, ())
