# SPDX-License-Identifier: Apache-2.0
"""`make demo`: a real Debian host, its firewall broken in front of the reader, and healed.

Boots a throw-away host, installs the built package, starts containers, strikes each fault, waits
until everything works again, and prints a table. Exits 1 if a fault was not healed.
"""

import sys
import time
from dataclasses import dataclass
from typing import Any

from tests.e2e.installed import Installed, installed
from tests.lab.errors import LabError
from tests.lab.faults import DEMONSTRATED, Fault

LIMIT_S = 10.0
_MEANS = {
    "zone trusted has": "D-Bus",
    "from the verified copy": "saved copy",
    "podman network reload": "reload",
}
"""What an account of a repair contains, and the short word for that means."""

SUITE = "trixie"


@dataclass(frozen=True)
class Row:
    """One fault and what became of it; times in milliseconds, as the client outside saw it."""

    fault: str
    missing: str
    how: str
    outage_ms: float
    healed: bool


def strike(there: Installed, fault: Fault) -> Row:
    """Break the host in one way and watch it heal."""
    print(f"\n$ {fault.script if len(fault.script) < 60 else fault.name}", flush=True)
    before = there.incidents()
    healed = True
    with there.host.client.watch(there.containers.http_ports) as watch:
        fault.strike(there.host)
        try:
            there.until(lambda: there.incidents() > before, "noticed", LIMIT_S)
            there.until_whole(LIMIT_S)
        except AssertionError as exc:
            print(exc)
            healed = False
    incident: dict[str, Any] = there.status().get("last_incident") or {}
    print(f"  {incident.get('line', 'no incident was seen')}", flush=True)
    missing = incident.get("missing") or ["?"]
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    tried = " ".join(incident.get("tried", []))
    how = ", ".join(word for sign, word in _MEANS.items() if sign in tried)
    return Row(fault.name, f"{missing[0]}{more}", how or "?", watch.longest_ms, healed)


def main() -> int:
    """Show every fault of the demonstration; 0 if all of them healed."""
    began = time.monotonic()
    print(f"booting a throw-away {SUITE} host (the first time it is built: about two minutes) ...")
    try:
        with installed(SUITE) as there:
            took = time.monotonic() - began
            print(f"booted, podwatch installed, containers running after {took:.0f} s\n")
            print(there.host.run(["podwatch", "status"], check=False).stdout)
            rows = [strike(there, fault) for fault in DEMONSTRATED]
            print("\n" + there.host.run(["podwatch", "status"], check=False).stdout)
    except LabError as exc:
        print(f"the demonstration could not be held: {exc}", file=sys.stderr)
        return 1
    print(table(rows))
    return 0 if all(row.healed for row in rows) else 1


def table(rows: list[Row]) -> str:
    """The rows as text; longest outage is that of the port that was worst off."""
    lines = [f"{'fault':<38} {'healed':<7} {'longest outage':>14}  {'by':<17}  what was missing"]
    for row in rows:
        healed = "yes" if row.healed else "NO"
        missing = row.missing if len(row.missing) < 70 else row.missing[:69] + "…"
        lines.append(
            f"{row.fault:<38} {healed:<7} {row.outage_ms:>11.0f} ms  {row.how:<17}  {missing}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
