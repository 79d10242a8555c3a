# SPDX-License-Identifier: Apache-2.0
"""The metrics' text: what it says of a document, and that nothing in it breaks the format."""

import re
from pathlib import Path

import pytest

from podwatch.daemon.settings import SETTINGS, loopback
from podwatch.report.metrics import BUCKETS_S, Tally, exposition

PACKAGING = Path(__file__).resolve().parents[3] / "packaging"

DOCUMENT = {
    "started": 1000.5,
    "state": "lost",
    "missing": [{"kind": "rule"}, {"kind": "rule"}, {"kind": "source"}],
    "blocked": [{"kind": "paused"}],
    "containers": [{"needs_rules": True}, {"needs_rules": False}, {"needs_rules": True}],
    "watchers": {"nftables": "listening", "firewalld": "the bus is gone", "systemd": "yes"},
    "last_look": {"at": 2000.0},
    "counters": {"looks": 7},
}


def samples(text: str) -> dict[str, float]:
    """Each sample's name and labels with its value."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_document_becomes_samples() -> None:
    """States, what is missing, what blocks, watchers and moments are all there."""
    found = samples(exposition(DOCUMENT, Tally(), now=2001.0, overruns=3))

    assert found['podwatch_state{state="lost"}'] == 1
    assert found['podwatch_state{state="ok"}'] == 0
    assert found['podwatch_missing{kind="rule"}'] == 2
    assert found['podwatch_missing{kind="table"}'] == 0
    assert found['podwatch_blocked{kind="paused"}'] == 1
    assert found["podwatch_containers"] == 2
    assert found['podwatch_watcher_up{watcher="nftables"}'] == 1
    assert found['podwatch_watcher_up{watcher="firewalld"}'] == 0
    assert found["podwatch_last_look_timestamp_seconds"] == 2000
    assert found["podwatch_heartbeat_timestamp_seconds"] == 2001
    assert found["podwatch_netlink_overruns_total"] == 3
    assert found["podwatch_looks_total"] == 7


def test_dhcp_is_told() -> None:
    """The proxy's socket, and the leases that it knows and does not; no socket without DHCP."""
    dhcp = {
        "state": "lost",
        "socket": {"listening": False},
        "containers": [{"known": True}, {"known": False}, {"known": True}],
    }
    found = samples(exposition({"dhcp": dhcp}, Tally(), now=0.0, overruns=0))
    without = samples(exposition({"dhcp": {"state": ""}}, Tally(), now=0.0, overruns=0))

    assert found["podwatch_dhcp_socket_up"] == 0
    assert found['podwatch_dhcp_leases{known="yes"}'] == 2
    assert found['podwatch_dhcp_leases{known="no"}'] == 1
    assert "podwatch_dhcp_socket_up" not in without
    assert without['podwatch_dhcp_leases{known="no"}'] == 0


@pytest.mark.parametrize("name", ["prometheus/alerts.yml", "grafana/podwatch.json"])
def test_alerts_and_dashboard_name_what_there_is(name: str) -> None:
    """Every metric that the alert rules and the dashboard ask for is one that podwatch tells."""
    text = exposition({}, Tally(), now=0.0, overruns=0)
    families = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    asked = set(re.findall(r"\bpodwatch_\w+", (PACKAGING / name).read_text()))

    assert asked
    assert {re.sub(r"_(bucket|sum|count)$", "", each) for each in asked} <= families


def test_what_happened_is_counted() -> None:
    """Incidents by cause, attempts by means and end, and how long incidents took."""
    tally = Tally()
    for seconds in (0.02, 0.05, 0.3, 1000.0):
        tally.began("nft")
        tally.tried("replay", done=True)
        tally.restored(seconds)
    tally.tried("reload", done=False)
    found = samples(exposition({}, tally, now=0.0, overruns=0))

    assert found['podwatch_incidents_total{cause="nft"}'] == 4
    assert found['podwatch_restores_total{method="replay",result="done"}'] == 4
    assert found['podwatch_restores_total{method="reload",result="failed"}'] == 1
    assert found['podwatch_restore_duration_seconds_bucket{le="0.05"}'] == 2
    assert found['podwatch_restore_duration_seconds_bucket{le="0.5"}'] == 3
    assert found['podwatch_restore_duration_seconds_bucket{le="+Inf"}'] == 4
    assert found["podwatch_restore_duration_seconds_count"] == 4
    assert found["podwatch_restore_duration_seconds_sum"] == pytest.approx(1000.37)
    assert len([name for name in found if "_bucket" in name]) == len(BUCKETS_S) + 1


def test_before_the_first_look_there_are_metrics_too() -> None:
    """An empty document has every family, so that no alert is blind at the start."""
    text = exposition({}, Tally(), now=0.0, overruns=0)

    assert text.count("# TYPE ") == 21
    assert samples(text)['podwatch_state{state="ok"}'] == 0


def test_a_label_cannot_break_the_format() -> None:
    """Quotes, backslashes and newlines in a label are escaped."""
    tally = Tally()
    tally.began('a"\\\n')

    assert 'cause="a\\"\\\\\\n"} 1\n' in exposition({}, tally, now=0.0, overruns=0)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:9842", ("127.0.0.1", 9842)),
        ("[::1]:80", ("::1", 80)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("::1:80", ("::1", 80)),
    ],
)
def test_loopback_addresses(text: str, found: tuple[str, int]) -> None:
    """Both families' loopback addresses may be listened on."""
    assert loopback(text) == found


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0:9842", "192.0.2.1:80", "localhost:80", "127.0.0.1", "127.0.0.1:0", ":80"),
        *("127.0.0.1:65536", "127.0.0.1:-1", "[::1:80", "::1]:80", "[127.0.0.1:80"),
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    """Metrics are for this host alone: any other address is no allowed value."""
    form = next(each.form for each in SETTINGS if each.name == "metrics.listen")
    with pytest.raises(ValueError, match=r"."):
        form.read(text)


def test_a_textfile_is_one_that_node_exporter_reads() -> None:
    """Only an absolute path that ends in .prom is allowed."""
    form = next(each.form for each in SETTINGS if each.name == "metrics.textfile")
    assert form.read("/x/podwatch.prom") == "/x/podwatch.prom"
    for text in ("podwatch.prom", "/x/podwatch.txt", "/x/\n.prom", "x/a.prom", 7):
        with pytest.raises(ValueError, match=r"."):
            form.read(text)


def test_containers_and_ways_are_counted_by_state() -> None:
    """Those of containers, and those that are a network's own; who needs no rules has none."""
    way = {"kind": "in", "state": "open"}
    document = {
        "containers": [
            {"needs_rules": True, "state": "ok", "ways": [way]},
            {"needs_rules": True, "state": "lost", "ways": [way, {**way, "state": "broken"}]},
            {"needs_rules": False, "state": "", "ways": []},
        ],
        "networks": [{"ways": [{"kind": "isolation", "state": "broken"}]}],
    }
    found = samples(exposition(document, Tally(), now=0.0, overruns=0))

    states = {state: found[f'podwatch_containers_by_state{{state="{state}"}}'] for state in STATES}
    assert states == {"ok": 1, "lost": 1, "unknown": 0}
    assert found['podwatch_ways{kind="in",state="open"}'] == 2
    assert found['podwatch_ways{kind="in",state="broken"}'] == 1
    assert found['podwatch_ways{kind="isolation",state="broken"}'] == 1
    assert found['podwatch_ways{kind="out",state="closed"}'] == 0


STATES = ("ok", "lost", "unknown")
