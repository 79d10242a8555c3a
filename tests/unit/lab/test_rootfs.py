# SPDX-License-Identifier: Apache-2.0
"""What Debian experimental has to give, or the build of its root file system says what it lacks."""

import shutil
from pathlib import Path

import pytest

from tests.lab.errors import LabError
from tests.lab.rootfs import require_new

pytestmark = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="no dpkg here")

STATUS = """Package: {}
Status: install ok installed
Maintainer: somebody
Architecture: all
Version: {}
Description: nothing

"""


def root_with(path: Path, **versions: str) -> Path:
    """A root file system in which these packages are installed."""
    (path / "var/lib/dpkg").mkdir(parents=True)
    text = "".join(STATUS.format(*each) for each in versions.items())
    (path / "var/lib/dpkg/status").write_text(text, encoding="ascii")
    return path


def test_new_packages_are_good(tmp_path: Path) -> None:
    """The versions the suite is for, and later ones, are taken, epoch or none."""
    require_new(root_with(tmp_path, podman="6.1.1+ds1-1", netavark="1:10.0-1"))


def test_what_is_too_old_is_named(tmp_path: Path) -> None:
    """Where experimental had nothing newer, the error names package, version and what to do."""
    root = root_with(tmp_path, podman="5.8.6+ds1-3", netavark="2.0.0-1")
    with pytest.raises(LabError, match=r"no podman 6 now, only 5\.8\.6\+ds1-3 is to be had: run"):
        require_new(root)
