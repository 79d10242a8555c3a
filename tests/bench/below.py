# SPDX-License-Identifier: Apache-2.0
"""The network under the rules: how soon it is back, and what a container's start costs.

How soon is read off the kernel's own messages, on the host: from the one that tells of the loss to
the one that tells of the repair. Names are asked for until they are answered again. What a start
and a stop cost is CPU time: podwatch's own, and that of netavark with all it calls.
"""

import json
import re
import statistics
import time

from tests.bench.idle import usage
from tests.lab.host import Host

NETWORK = "bench-names"
NAMES = "aardvark-dns killed"
STARTS = 10
_CONFIGURATION = "/etc/podwatch/podwatch.conf.d/bench.conf"
_NETAVARK = "/usr/lib/podman/netavark"
_TIMES = "/root/netavark.times"
_TIMED = f"""#!/bin/bash
{_NETAVARK}.real "$@"; code=$?
times >> {_TIMES}  # the second line is that of what it called
exit $code
"""
_RUN = "podman run -d --name bench-{} --network {} local/busybox /busybox httpd -f -p 80 -h /"

_BACK = r"""
import json, socket, struct, subprocess, sys, time
FAULTS = {
    "addresses flushed": ("ip addr flush dev {0}", lambda t, d: t == 21, lambda t, d: t == 20),
    "bridge set down": (
        "ip link set {0} down",
        lambda t, d: t == 16 and d[16] == 0 and not d[24] & 1,
        lambda t, d: t == 16 and d[16] == 0 and d[24] & 1,
    ),
    "link taken off its bridge": (
        "ip link set $(ls /sys/class/net/{0}/brif | head -n 1) nomaster",
        lambda t, d: t == 17 and d[16] == 7,
        lambda t, d: t == 16 and d[16] == 7,
    ),
}
bridge, repeat = sys.argv[1], int(sys.argv[2])
def listen():
    heard = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    heard.setsockopt(socket.SOL_SOCKET, 33, 1 << 23)
    heard.bind((0, 1 | 16 | 256))
    heard.settimeout(10)
    return heard
def until(heard, wanted):
    while True:
        data = heard.recv(1 << 16)
        if wanted(struct.unpack_from("=IH", data)[1], data):
            return time.perf_counter()
found = {}
for name, (script, lost, back) in FAULTS.items():
    times = []
    for _ in range(repeat):
        time.sleep(1)  # podwatch is at rest again: each is a loss by itself
        with listen() as heard:
            subprocess.run(["sh", "-c", script.format(bridge)], check=True)
            began = until(heard, lost)
            times.append((until(heard, back) - began) * 1000)
    found[name] = times
print(json.dumps(found))
"""

_ASKING = r"""
import json, os, signal, socket, sys, time
gateway, name, repeat = sys.argv[1], sys.argv[2], int(sys.argv[3])
question = b"\0\1\1\0\0\1\0\0\0\0\0\0" + bytes([len(name)]) + name.encode() + b"\0\0\1\0\1"
def answers():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(0.02)
        try:
            asked.connect((gateway, 53))
            asked.send(question)
            return len(asked.recv(512)) > len(question)
        except OSError:
            return False
times = []
for _ in range(repeat):
    deadline = time.monotonic() + 10
    while not answers() and time.monotonic() < deadline:
        pass
    time.sleep(4)  # podwatch is at rest again, and its tries are forgotten
    pid = int(open("/run/containers/networks/aardvark-dns/aardvark.pid").read())
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while answers():
        pass
    while not answers() and time.monotonic() < deadline + 20:
        time.sleep(0.001)
    times.append((time.perf_counter() - began) * 1000)
print(json.dumps(times))
"""


def back(host: Host, repeat: int) -> dict[str, float]:
    """Milliseconds until each is back, medians: with podwatch running, and its containers there."""
    host.write(_CONFIGURATION, "[restore]\ngive_way = 0\n")  # it is the same link each time
    host.shell(f"podman network create {NETWORK}; {_RUN.format('a', NETWORK)} >/dev/null")
    try:
        host.run(["systemctl", "start", "podwatch"])
        time.sleep(5)  # the start is over
        host.write("/root/back.py", _BACK)
        host.write("/root/names.py", _ASKING)
        found = json.loads(
            host.shell(f"python3 /root/back.py podman0 {repeat}", timeout=300).stdout
        )
        gateway = host.shell(
            f"podman network inspect {NETWORK} --format '{{{{(index .Subnets 0).Gateway}}}}'"
        ).stdout.strip()
        script = f"python3 /root/names.py {gateway} bench-a {repeat}"
        found[NAMES] = json.loads(host.shell(script, timeout=300).stdout)
    finally:
        host.shell(
            f"systemctl stop podwatch; podman rm -f -t 0 bench-a; podman network rm {NETWORK}; "
            f"rm {_CONFIGURATION}"
        )
    return {name: round(statistics.median(times), 1) for name, times in found.items()}


def starts(host: Host, containers: int) -> dict[str, float]:
    """CPU milliseconds of a container's start and stop together, beside so many others."""
    host.run(["mv", _NETAVARK, f"{_NETAVARK}.real"])
    host.write(_NETAVARK, _TIMED, 0o755)
    host.run(["rm", "-f", _TIMES])
    try:
        host.run(["systemctl", "start", "podwatch"])
        time.sleep(5)  # the start is over
        before = usage(host).cpu_s
        run = _RUN.format("a", "podman")
        for _ in range(STARTS):
            host.shell(f"{run} >/dev/null; sleep 1; podman rm -f -t 0 bench-a")
        time.sleep(3)  # what podwatch does about the last one
        own = usage(host).cpu_s - before
    finally:
        host.shell(f"systemctl stop podwatch; mv {_NETAVARK}.real {_NETAVARK}")
    told = host.run(["cat", _TIMES]).stdout
    called = "".join(told.splitlines()[1::2])
    parts = re.findall(r"(\d+)m([\d.]+)s", called)
    netavark = sum(60 * int(minutes) + float(seconds) for minutes, seconds in parts)
    return {
        "containers": containers,
        "podwatch_ms": round(own * 1000 / STARTS, 1),
        "netavark_ms": round(netavark * 1000 / STARTS, 1),
    }
