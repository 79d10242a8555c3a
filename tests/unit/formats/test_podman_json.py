# SPDX-License-Identifier: Apache-2.0
"""`podman ps --format json` of Podman 3 to 5."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats.podman_json import parse_ps
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container, ContainerState

DATA = Path(__file__).parents[2] / "data"
ID = "c" * 64


def one(**fields: object) -> Container:
    """The container podman describes by these fields."""
    return parse_ps(json.dumps([{"Id": ID, "Names": ["web"], "State": "running", **fields}]))[ID]


@pytest.mark.parametrize("suite", ["trixie", "forky", "experimental"])
def test_a_recorded_listing_is_read(suite: str) -> None:
    """The standard set as podman 5 prints it: names, networks, and the pod's infra container."""
    found = parse_ps((DATA / f"{suite}-standard/ps.json").read_text())
    by_name = {each.name: each for each in found.values()}

    assert {"web-a", "web-b", "dual-web", "pod-web", "host-web", "none-web"} <= set(by_name)
    assert by_name["dual-web"].networks == ("dual",)
    assert by_name["none-web"].networks == ()
    assert [each.is_infra for each in found.values()].count(True) == 1
    assert all(len(each.id) == 64 and each.is_up for each in found.values())


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("created", ContainerState.CREATED),
        ("configured", ContainerState.CREATED),
        ("initialized", ContainerState.PRESUMED),
        ("running", ContainerState.UP),
        ("paused", ContainerState.PAUSED),
        ("stopping", ContainerState.PRESUMED),
        ("exited", ContainerState.ENDED),
        ("dead", ContainerState.ENDED),
        ("removing", ContainerState.ENDED),
        ("a word of Podman 9", ContainerState.PRESUMED),
    ],
)
def test_states_are_told_apart(word: str, state: ContainerState) -> None:
    """A container is taken for running until podman says that it ended, whatever else it says."""
    assert one(State=word.title()).state is state


def test_podman_4_and_3_are_read_too() -> None:
    """Shapes of older versions: an exited flag, names as text, a missing network list."""
    assert one(State="", Exited=True).state is ContainerState.ENDED
    assert one(State="", Status="paused").is_paused
    assert one(Names="web").name == "web"
    nameless: tuple[object, ...] = (None, [], "", [""], [7], {})
    assert {one(Names=names).name for names in nameless} == {ID[:12]}
    assert one(Names=["web", "other"]).name == "web"
    assert [*parse_ps(json.dumps([{"ID": "1a"}, {"Id": ""}, 7]))] == ["1a"]
    assert one(Networks=None).networks == one(Networks="a").networks == ()
    assert one(Networks=["a", 7, "b"]).networks == ("a", "b")


@pytest.mark.parametrize(
    ("pid", "known", "state"),
    [
        (1, 1, ContainerState.PRESUMED),
        (0, 0, ContainerState.CREATED),
        (-1, 0, ContainerState.CREATED),
        ("7", 0, ContainerState.CREATED),
        (None, 0, ContainerState.CREATED),
    ],
)
def test_what_was_created_runs_if_it_has_a_process(
    pid: object, known: int, state: ContainerState
) -> None:
    """So Podman 3 calls a container that has its network already."""
    container = one(State="created", Pid=pid)
    assert (container.pid, container.state) == (known, state)
    assert one(State="exited", Pid=pid).state is ContainerState.ENDED


def test_pod_and_namespace_are_read() -> None:
    """What is not there, or of another kind, is empty."""
    found = one(Pod="d00d", PodName="shop", Namespaces={"Net": "4026532"}, IsInfra=False)
    assert (found.pod_id, found.pod, found.netns) == ("d00d", "shop", "4026532")
    assert not found.is_infra
    odd = one(Pod=7, PodName=None, Namespaces="x", IsInfra="yes")
    assert (odd.pod_id, odd.pod, odd.netns, odd.is_infra) == ("", "", "", False)


def test_a_pods_infra_container_is_called_after_its_pod() -> None:
    """The infra container's title is the pod's name, which is how its owner knows it."""
    assert one(IsInfra=True, PodName="shop", Names=["d00d-infra"]).title == "pod shop"


@pytest.mark.parametrize("text", ["", "\n", "{", "Error: no storage", '{"a": 1}', "[" * 100_000])
def test_what_is_no_listing_is_unknown(text: str) -> None:
    """Anything but a JSON list raises: it must never look like "no containers"."""
    with pytest.raises(StateUnreadable):
        parse_ps(text)


@pytest.mark.parametrize("text", ["[]", "null", "[]\n"])
def test_no_containers_is_an_answer(text: str) -> None:
    """Podman's two ways of printing an empty list are no containers."""
    assert parse_ps(text) == {}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
_KEYS = st.sampled_from(
    ["Id", "ID", "Names", "State", "Status", "Networks", "PodName", "IsInfra", "Exited"]
)


@given(st.lists(st.dictionaries(_KEYS, _JSON) | _JSON, max_size=3))
def test_strange_fields_are_survived(data: list[object]) -> None:
    """Fields of any kind raise nothing."""
    parse_ps(json.dumps(data))
