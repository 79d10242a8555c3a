# SPDX-License-Identifier: Apache-2.0
"""Which tests stay together where processes share them out."""

import pytest

from tests.lab.by_host import host_of

HOSTS = {
    "m.py::test_a": "m.py",
    "m.py::test_a[nft flush]": "m.py",
    "m.py::test_a[trixie]": "m.py::trixie",
    "m.py::test_a[forky-nft flush table ip nat]": "m.py::forky",
    "m.py::test_a[/-bookworm]": "m.py::bookworm",
    "m.py::test_a[bookworm-cni-bridge]": "m.py::bookworm-cni",
    "m.py::test_a[bookworm-netavark]": "m.py::bookworm-netavark",
    "m.py::test_a[trixies]": "m.py",
}


@pytest.mark.parametrize("test", HOSTS)
def test_the_host_of_a_test(test: str) -> None:
    """A test belongs to its module, and there to the host that its parameters name."""
    assert host_of(test) == HOSTS[test]


def test_modules_that_share_a_host_stay_together() -> None:
    """Tests of modules that share are of one host for each suite, and others of their module's."""
    sharing = {"test_a": "shared", "test_b": "shared", "test_d": "web"}
    found = [
        host_of(f"tests/e2e/{name}[{suite}]", sharing)
        for name in ("test_a.py::x", "test_b.py::y", "test_c.py::z", "test_d.py::z")
        for suite in ("trixie", "forky")
    ]

    assert found == [
        *("shared::trixie", "shared::forky") * 2,
        "tests/e2e/test_c.py::trixie",
        "tests/e2e/test_c.py::forky",
        "web::trixie",
        "web::forky",
    ]
