# SPDX-License-Identifier: Apache-2.0
"""Monitoring as a fleet has it: promtool, a real Prometheus that scrapes, and a plugin's line."""

import json
import re
import time
from typing import Any

import pytest

from tests.e2e.installed import Installed

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("there", ["forky"], indirect=True, scope="module"),
]

_LISTEN = "127.0.0.1:9842"
_TEXTFILE = "/var/lib/prometheus/node-exporter/podwatch.prom"
_METRICS = f'[metrics]\nlisten = "{_LISTEN}"\ntextfile = "{_TEXTFILE}"\n'
_SHARE = "/usr/share/podwatch"
_PROMETHEUS = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{_SHARE}/prometheus/alerts.yml]
scrape_configs:
  - job_name: podwatch
    static_configs: [{{targets: ["{_LISTEN}"]}}]
"""
# A loss that cannot be repaired: no copy may be used, and firewalld forbids the reload.
_HOPELESS = '[restore]\nmethods = ["reload"]\n'
_STRICT = (
    "sed -i '/^StrictForwardPorts/d' /etc/firewalld/firewalld.conf; "
    "echo StrictForwardPorts={} >> /etc/firewalld/firewalld.conf; systemctl restart firewalld"
)


@pytest.fixture(scope="module")
def monitored(there: Installed) -> Installed:
    """The host with metrics switched on, as the documentation says."""
    dropins = "/etc/systemd/system/podwatch.service.d"
    there.host.shell(
        f"mkdir -p {dropins} $(dirname {_TEXTFILE}); cp {_SHARE}/metrics-http.conf {dropins}/; "
        "systemctl daemon-reload"
    )
    there.host.write("/etc/podwatch/podwatch.conf.d/metrics.conf", _METRICS)
    there.host.run(["systemctl", "restart", "podwatch"])
    there.until(lambda: "podwatch_build_info" in _scrape(there), "scraped")
    return there


def _scrape(there: Installed) -> str:
    return there.host.run(["curl", "-fsS", f"http://{_LISTEN}/metrics"], check=False).stdout


def test_promtool_finds_nothing_to_complain_about(monitored: Installed) -> None:
    """The page and the textfile are valid metrics; the alert rules and their tests pass."""
    for text in (_scrape(monitored), monitored.host.read(_TEXTFILE)):
        checked = monitored.host.run(["promtool", "check", "metrics"], input=text)
        assert (checked.stdout, checked.stderr) == ("", "")
    monitored.host.run(["promtool", "check", "rules", f"{_SHARE}/prometheus/alerts.yml"])
    monitored.host.run(["promtool", "test", "rules", f"{_SHARE}/prometheus/alerts-test.yml"])


def test_incidents_are_counted(monitored: Installed) -> None:
    """After a loss that was restored the page says by whom, by which means, and how fast."""
    monitored.until_whole()
    before = monitored.incidents()
    monitored.host.nft("delete", "table", "inet", "netavark")
    monitored.until(lambda: monitored.incidents() > before, "noticed")
    monitored.until_whole()
    text = _scrape(monitored)

    assert re.search(r'^podwatch_incidents_total\{cause="nft"\} [1-9]', text, re.MULTILINE)
    assert re.search(r'method="replay",result="done"\} [1-9]', text)
    assert 'podwatch_state{state="lost"} 0' in text
    assert monitored.host.read(_TEXTFILE).count("\n") == text.count("\n")


def test_only_this_host_may_scrape(monitored: Installed) -> None:
    """From outside nobody answers on that port."""
    assert monitored.host.client.http(9842, path="/metrics") is None


def test_a_plugin_line(monitored: Installed) -> None:
    """check prints one line with performance data first, and exits as monitors expect."""
    monitored.until_whole()
    done = monitored.check()
    first, *rest = done.stdout.splitlines()

    assert done.code == 0
    assert re.fullmatch(
        r"PODWATCH OK - [^|]+ \| missing=0;;0;0 warnings=\d+;0;;0 containers=\d+;;;0 "
        r"look=\d\.\d{3}s;;;0",
        first,
    )
    assert "|" not in "".join(rest)


def test_prometheus_alerts_when_a_loss_stays(monitored: Installed) -> None:
    """A real Prometheus scrapes podwatch; its alert fires for a loss that cannot be repaired."""
    host = monitored.host
    host.write("/tmp/prometheus.yml", _PROMETHEUS)
    host.run(
        [
            *("systemd-run", "--unit=lab-prometheus", "prometheus"),
            *("--config.file=/tmp/prometheus.yml", "--storage.tsdb.path=/tmp/prometheus"),
            "--web.listen-address=127.0.0.1:9090",
        ]
    )

    def asked(path: str) -> Any:
        url = f"http://127.0.0.1:9090/api/v1/{path}"
        said = host.run(["curl", "-fsS", url], check=False).stdout
        return json.loads(said)["data"] if said else {}

    def firing() -> set[str]:
        alerts = asked("alerts").get("alerts", [])
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def is_scraped() -> bool:
        targets = asked("targets").get("activeTargets", [])
        return [target["health"] for target in targets] == ["up"]

    monitored.until(is_scraped, "scraped", 30)
    try:
        with monitored.configured(_HOPELESS):
            host.shell(_STRICT.format("yes"))
            monitored.until(
                lambda: any(
                    obstacle["kind"] == "strict_forward_ports"
                    for obstacle in monitored.status()["blocked"]
                ),
                "blocked",
            )
            host.nft("flush", "chain", "inet", "netavark", "FORWARD")
            monitored.until(lambda: monitored.status()["state"] == "lost", "lost")
            assert "PodwatchNetworkLost" not in firing()
            began = time.monotonic()
            monitored.until(lambda: "PodwatchNetworkLost" in firing(), "firing", 90)
            assert time.monotonic() - began > 30
            host.shell(_STRICT.format("no"))
        monitored.until(lambda: not firing(), "over", 30)
    finally:
        host.run(["systemctl", "stop", "lab-prometheus"])
