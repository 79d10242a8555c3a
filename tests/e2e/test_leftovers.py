# SPDX-License-Identifier: Apache-2.0
"""Rules that nobody needs: told as they are, and taken away when somebody asks for it."""

from collections.abc import Iterator

import pytest

from tests.e2e.installed import Installed, installed

pytestmark = pytest.mark.e2e

STALE = ["podwatch", "restore", "--stale"]


@pytest.fixture(scope="module")
def there() -> Iterator[Installed]:
    """Debian 13, with netavark's nftables driver."""
    with installed("trixie") as host:
        yield host


def told(there: Installed) -> list[str]:
    """What is left over, as the status has it."""
    warnings = there.status()["warnings"]
    return [each["what"] for each in warnings if each["kind"] == "leftover"]


def answers(there: Installed, name: str) -> bool:
    """Whether every published port of a container answers with its name."""
    return all(each.ask(there.host.client) is None for each in there.containers[name].probes)


def test_a_rule_that_hides_a_port(there: Installed) -> None:
    """A DNAT to an address nobody has is named; asked for, it goes, and the port answers again."""
    before = there.host.nft("list", "table", "inet", "netavark")
    chain = next(
        line.split()[1]
        for line in before.splitlines()
        if line.strip().startswith("chain nv_") and "10_88_0_0_nm16_dnat" in line
    )
    rule = "tcp dport 8081 dnat ip to 10.88.0.99:80"
    there.host.shell(f"nft 'insert rule inet netavark {chain} {rule}'")
    there.until(lambda: any(rule in each for each in told(there)), "told", 5)
    assert not answers(there, "web-a")
    assert there.host.run(["podwatch", "status"], check=False).code == 1
    assert "no running container has 10.88.0.99" in told(there)[0]

    dry = there.host.run([*STALE, "--dry-run"], check=False)

    assert (dry.code, rule in dry.stdout) == (1, True)
    assert rule in there.host.nft("list", "table", "inet", "netavark")

    done = there.host.run(STALE, check=False)

    assert (done.code, rule in done.stdout) == (0, True)
    there.until(lambda: not told(there) and answers(there, "web-a"), "gone", 5)
    there.until_whole()
    assert there.host.nft("list", "table", "inet", "netavark") == before
    assert there.reloads() == 0
