# SPDX-License-Identifier: Apache-2.0
"""A real dbus-daemon of the test's own, with the policy that podwatch's package installs."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
POLICY = TOP / "packaging/dbus/org.podwatch1.conf"
NOBODY = 65534

# As /usr/share/dbus-1/system.conf, without users, activation and the syslog.
_CONFIG = """\
<busconfig>
  <type>system</type>
  <listen>unix:path={place}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


class OwnBus:
    """The bus; `path` is that of its socket, to which everybody has access."""

    def __init__(self, place: Path, policy: Path) -> None:
        self.path = place / "bus"
        self.policy = policy
        self._config = place / "system.conf"
        self._config.write_text(_CONFIG.format(place=place, policy=policy))
        self._daemon: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._daemon = subprocess.Popen(
            ["dbus-daemon", f"--config-file={self._config}", "--nofork", "--print-address"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._daemon.stdout is not None
        assert self._daemon.stdout.readline()

    def freeze(self, *, frozen: bool) -> None:
        """Stop or continue its process: while it is stopped it hangs on everything."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def stop(self) -> None:
        """Kill it: all its clients lose their connections."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.communicate()
            self._daemon = None
        self.path.unlink(missing_ok=True)


@contextmanager
def own_bus(policy: Path = POLICY) -> Iterator[OwnBus]:
    """Such a bus; the environment sends D-Bus clients to it."""
    with tempfile.TemporaryDirectory(prefix="podwatch-bus-") as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "policy.conf").write_bytes(policy.read_bytes())
        bus = OwnBus(place, place / "policy.conf")
        before = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={bus.path}"
        try:
            bus.start()
            yield bus
        finally:
            bus.stop()
            if before is None:
                del os.environ["DBUS_SYSTEM_BUS_ADDRESS"]
            else:
                os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = before
