# SPDX-License-Identifier: Apache-2.0
"""What hosts really say, spoilt: recorded texts with pieces cut, doubled, and replaced by worse."""

import json
import re
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

DATA = Path(__file__).resolve().parents[2] / "data"
LARGEST_SEED = 200_000

ODD = (
    "",
    " ",
    "\n",
    "\0",
    "\x1b[31m",
    "\u202e",
    "\\ud800",
    "é" * 300,
    "0",
    "-1",
    "1e999",
    "NaN",
    "9" * 5000,
    "0x" + "f" * 6000,
    "null",
    "true",
    "[]",
    "{}",
    "[" * 2000,
    '{"a":' * 2000,
    '"',
    "'",
    "{",
    "}",
    "--all",
    "../../etc/shadow",
    "$(reboot)",
    "a" * 70_000,
)


@cache
def recorded() -> tuple[str, ...]:
    """Every recorded text of a sensible size, each once."""
    files = sorted(each for each in DATA.rglob("*") if each.is_file() and each.suffix != ".gz")
    texts = [each.read_text() for each in files if each.stat().st_size <= LARGEST_SEED]
    return tuple(
        dict.fromkeys(text for text in (*texts, *_joined(), CONF, LEASES, RELAYS, *PROC) if text)
    )


CONF = """
[containers]
pids_limit = 0
[network]
network_backend = "netavark"
network_config_dir = "/srv/networks"
"""

LEASES = "\0" * 40 + json.dumps(
    {
        "C6:15:17:a4:ec:e5": [
            {
                "t1": 60,
                "t2": 105,
                "lease_time": 120,
                "mtu": 0,
                "domain_name": "",
                "mac_address": "C6:15:17:a4:ec:e5",
                "siaddr": "192.0.2.2",
                "yiaddr": "192.0.2.70",
                "srv_id": "192.0.2.2",
                "subnet_mask": "255.255.255.0",
                "broadcast_addr": "192.0.2.255",
                "dns_servers": ["192.0.2.2"],
                "gateways": ["192.0.2.1"],
                "ntp_servers": [],
                "host_name": "web",
            }
        ]
    }
)


PROC = (
    "12555 (nft) R 12550 12550 13657 0 -1 4194304 99 0 0 0 0 0 0 0 20 0 1 0 243563 3133440 382\n",
    "Name:\tnft\nUmask:\t0022\nState:\tR (running)\nPPid:\t12550\nUid:\t1000\t0\t0\t0\n"
    "NSpid:\t247\t1\n",
    "1000\n",
    "net:[4026533088]",
    "1181 1165 0:4 net:[4026533159] /run/user/1000/netns/netns-1 rw - nsfs nsfs rw\n",
    "0::/user.slice/user-1000.slice/session-3.scope\n",
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid inode\n"
    "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 7\n",
)
"""Files of /proc: a process, its status, its login, a namespace, a mount of one, its cgroup, and
what listens."""

RELAYS = json.dumps(
    {
        "schema": 1,
        "relays": [
            {
                "role": "uplink",
                "container": "",
                "kind": "pasta",
                "pid": 247,
                "started": 4090609,
                "exe": "/usr/bin/pasta.avx2",
                "argv": ["/usr/bin/pasta", "--netns", "/run/user/1000/netns/netns-1"],
                "file": "/run/user/1000/netns/netns-1",
                "netns": 4026533010,
                "child": 0,
                "end_pipe": 0,
            }
        ],
    },
    indent=1,
)


def _joined() -> list[str]:
    """What podman says of its networks, one list behind the other, as its units keep it."""
    lists = ("networks.json", "ps.json", "inspect.json")
    hosts = [each for each in sorted(DATA.iterdir()) if (each / lists[0]).exists()]
    return ["\n".join((host / name).read_text() for name in lists) for host in hosts]


_VALUE = re.compile(r"""(?<=[=:] )(?:"[^"\n]*"|\[[^]\n]*\]|[^\s,\]}]+)""")
"""What stands behind a key, in JSON and in TOML."""


@st.composite
def spoilt(draw: st.DrawFn, seeds: tuple[str, ...]) -> str:
    """One of the seeds, with another value behind one key, or spoilt in one to six places."""
    text = draw(st.sampled_from(seeds))
    values = list(_VALUE.finditer(text))
    of_a_value = draw(st.booleans())
    if values and of_a_value:
        value = values[draw(st.integers(0, len(values) - 1))]
        odd = draw(st.sampled_from(ODD))
        odd = draw(st.sampled_from((odd, f'"{odd}"', f"[{odd}]")))
        return text[: value.start()] + odd + text[value.end() :]
    words = re.findall(r"\w+|\W", text)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(words)))
        length = draw(st.integers(0, 12) | st.integers(0, len(words)))
        piece = draw(
            st.sampled_from(ODD).map(lambda odd: [odd])
            | st.text(max_size=20).map(lambda text: [text])
            | st.just(words[at : at + length] * 2)
        )
        words[at : at + length] = piece
        del words[200_000:]
    return "".join(words)
