# SPDX-License-Identifier: Apache-2.0
"""What is made of the tree: the same packages twice, with the same files, and what pip installs."""

import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

import podwatch

TOP = Path(__file__).resolve().parent.parent.parent
SYSTEM_PYTHON = "/usr/bin/python3"
DEBIANS_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

pytestmark = pytest.mark.integration


def _run(
    argv: list[str], *, env: Mapping[str, str] | None = None, cwd: Path = TOP, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run with Debian's own tools first; a failure shows what was said."""
    environment = {**os.environ, "PATH": DEBIANS_PATH, **(env or {})}
    ended = subprocess.run(
        argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert not check or ended.returncode == 0, (ended.stdout + ended.stderr)[-3000:]
    return ended


PACKAGES = ("podwatch", "cockpit-podwatch")


@pytest.fixture(scope="module")
def debs() -> dict[str, Path]:
    """The packages by name, built from this tree."""
    told = _run(["packaging/make-deb"]).stdout.splitlines()
    return dict(zip(PACKAGES, (TOP / line for line in told), strict=True))


def _sums(built: Mapping[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in built.items()}


def test_same_bytes_elsewhere(debs: Mapping[str, Path], tmp_path: Path) -> None:
    """Built in another place, time zone, language, umask and as an older tree: the same bytes."""
    elsewhere = tmp_path / "a tree with blanks"
    leave_out = shutil.ignore_patterns("dist", ".*_cache", "__pycache__", ".hypothesis")
    shutil.copytree(TOP, elsewhere, symlinks=True, ignore=leave_out)
    for path in elsewhere.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    odd = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "HOME": str(tmp_path), "USER": "somebody"}
    safe = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    _run(["sh", "-c", "umask 077; exec packaging/make-deb"], cwd=elsewhere, env=odd | safe)
    again = {path.name.partition("_")[0]: path for path in (elsewhere / "dist").glob("*.deb")}

    assert _sums(again) == _sums(debs)


# What Fedora's pyproject-rpm-macros, python-rpm-macros and systemd-rpm-macros mean, as far as the
# spec file uses them, in the words of Debian's tools. A scriptlet only says which it is.
_MACROS = """
%python3 /usr/bin/python3
%python3_sitelib /usr/lib/python3/dist-packages
%_unitdir /usr/lib/systemd/system
%_userunitdir /usr/lib/systemd/user
%_journalcatalogdir /usr/lib/systemd/catalog
%_metainfodir /usr/share/metainfo
%_sysusersdir /usr/lib/sysusers.d
%_tmpfilesdir /usr/lib/tmpfiles.d
%tmpfiles_create() : tmpfiles_create %*
%bash_completions_dir %{_datadir}/bash-completion/completions
%zsh_completions_dir %{_datadir}/zsh/vendor-completions
%fish_completions_dir %{_datadir}/fish/vendor_completions.d
%pyproject_files %{_builddir}/pyproject-files
%pyproject_buildrequires true
%pyproject_wheel %{python3} -m build --wheel --no-isolation --skip-dependency-check
%pyproject_install DEB_PYTHON_INSTALL_LAYOUT=deb %{python3} -m installer \
    --destdir=%{buildroot} --no-compile-bytecode dist/*.whl
%pyproject_save_files() ( \
    cd %{buildroot} && find .%{python3_sitelib} -type f | sed s/^.// > %{pyproject_files} )
%pyproject_check_import PYTHONPATH=%{buildroot}%{python3_sitelib} %{python3} -B -c \
    'import pkgutil, podwatch; [__import__(each.name) for each in \
    pkgutil.walk_packages(podwatch.__path__, "podwatch.")]'
%source_date_epoch_from_changelog 1
%use_source_date_epoch_as_buildtime 1
%clamp_mtime_to_source_date_epoch 1
%_buildhost builder
%tmpfiles_create() : tmpfiles_create %*
%systemd_post() : systemd_post %*
%systemd_preun() : systemd_preun %*
%systemd_postun_with_restart() : systemd_postun_with_restart %*
%systemd_user_post() : systemd_user_post %*
%systemd_user_preun() : systemd_user_preun %*
%systemd_user_postun_with_restart() : systemd_user_postun_with_restart %*
"""


def _build_rpms(place: Path, env: Mapping[str, str] | None = None) -> dict[str, Path]:
    (place / "macros").write_text(_MACROS)
    (place / "SOURCES").mkdir()
    name = f"podwatch-{podwatch.__version__}"
    files = _run(["git", "ls-files", "-co", "--exclude-standard"]).stdout.splitlines()
    there = [path for path in files if (TOP / path).is_file()]
    tar = ["tar", "-czf", str(place / f"SOURCES/{name}.tar.gz"), f"--transform=s,^,{name}/,"]
    _run([*tar, *there])
    define = ["--define", f"_topdir {place}", "--load", str(place / "macros"), "--nodeps"]
    _run(["rpmbuild", "-bb", *define, "packaging/rpm/podwatch.spec"], env=env)
    built = {path.name.rsplit("-", 2)[0]: path for path in (place / "RPMS").rglob("*.rpm")}
    assert sorted(built) == sorted(PACKAGES)
    return built


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The packages by name that packaging/rpm/podwatch.spec makes."""
    return _build_rpms(tmp_path_factory.mktemp("rpm"))


def test_rpm_same_bytes_elsewhere(rpms: Mapping[str, Path], tmp_path: Path) -> None:
    """Built a second time, in another place, time zone and language: the same bytes."""
    again = _build_rpms(tmp_path, {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "USER": "somebody"})

    assert _sums(again) == _sums(rpms)


def _asked(rpm: Path, *questions: str) -> str:
    return _run(["rpm", "--query", "--package", *questions, str(rpm)]).stdout


@pytest.mark.parametrize("name", PACKAGES)
def test_rpm_has_what_the_deb_has(
    name: str, debs: Mapping[str, Path], rpms: Mapping[str, Path]
) -> None:
    """Deb and rpm install the same files, but for what each distribution wants to be told."""
    deb, rpm = debs[name], rpms[name]
    listed = _run(["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -t', "sh", str(deb)])
    of_deb = {path.removeprefix(".") for path in listed.stdout.splitlines() if path[-1] != "/"}
    of_rpm = {
        line.rpartition(" ")[2]
        for line in _asked(
            rpm, "--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\\n]"
        ).splitlines()
        if line.startswith("-")
    }

    def alike(paths: set[str]) -> set[str]:
        """Without what each distribution keeps elsewhere, or compresses when it builds."""
        elsewhere = ("/usr/share/doc/", "/usr/share/licenses/")
        return {
            path.removesuffix(".gz")
            for path in paths
            if not path.startswith(elsewhere) and not path.endswith(".dist-info/LICENSE")
        }

    assert alike(of_rpm) == alike(of_deb)
    for told in ("README.md", "NEWS.md", "LICENSE") if name == "podwatch" else ("LICENSE",):
        assert any(path.startswith("/usr/share/") and path.endswith(told) for path in of_rpm)


def test_the_page_is_small(debs: Mapping[str, Path]) -> None:
    """What the page's package installs below /usr/share/cockpit is under 60 KB, in all."""
    listed = _run(
        ["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -tv', "sh", str(debs[PACKAGES[1]])]
    )
    sizes = [
        int(line.split()[2]) for line in listed.stdout.splitlines() if "/share/cockpit/" in line
    ]

    assert len(sizes) > 10
    assert sum(sizes) < 60_000


def test_the_page_is_translated(debs: Mapping[str, Path], tmp_path: Path) -> None:
    """Each language has its two files, under the names and in the form that Cockpit looks for."""
    _run(["dpkg-deb", "--extract", str(debs["cockpit-podwatch"]), str(tmp_path)])
    page = tmp_path / "usr/share/cockpit/podwatch"
    languages = {path.stem for path in (TOP / "cockpit/po").glob("*.po")}

    assert {"de", "zh_CN"} <= languages
    assert {path.name for path in page.glob("po.*")} == {
        f"po.{part}{language}.js.gz" for part in ("", "manifest.") for language in languages
    }
    for path in page.glob("po.*"):
        language = path.name.removesuffix(".js.gz").rpartition(".")[2]
        script = gzip.decompress(path.read_bytes()).decode("ascii")
        assert script.startswith("cockpit.locale({")
        assert f'"language":"{language}"' in script
        assert '"Container networks":[null,"' in script


def test_the_page_comes_with_its_podwatch(rpms: Mapping[str, Path]) -> None:
    """The page's rpm wants the very podwatch that it was built with, and Cockpit."""
    wanted = _asked(rpms["cockpit-podwatch"], "--requires")

    assert f"podwatch = {podwatch.__version__}-1" in wanted
    assert "cockpit-bridge" in wanted


def test_rpm_requires_and_scriptlets(rpms: Mapping[str, Path]) -> None:
    """The rpm names the version of the code, libnftables' module, and handles its one daemon."""
    rpm = rpms["podwatch"]
    scripts = _asked(rpm, "--scripts")

    assert _asked(rpm, "--queryformat", "%{VERSION}") == podwatch.__version__
    assert "python3-nftables" in _asked(rpm, "--requires").split()
    for name in ("post", "preun", "postun_with_restart"):
        assert f": systemd_{name} podwatch.service" in scripts
        assert f": systemd_user_{name} podwatch.service" in scripts
    assert ": tmpfiles_create podwatch.conf" in scripts


def test_pip_install(tmp_path: Path) -> None:
    """`pip install` of the tree works in a virtual environment that sees the distribution's."""
    venv, tree = tmp_path / "venv", tmp_path / "tree"
    shutil.copytree(TOP / "podwatch", tree / "podwatch")
    shutil.copy(TOP / "pyproject.toml", tree)
    _run([SYSTEM_PYTHON, "-m", "venv", "--system-site-packages", str(venv)])
    pip = [str(venv / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install"]
    _run([*pip, "--no-index", "--no-build-isolation", str(tree)])
    told = _run([str(venv / "bin/podwatch"), "version"], cwd=tmp_path)

    assert told.stdout == f"podwatch {podwatch.__version__}\n"


def test_pip_install_without_the_distribution(tmp_path: Path) -> None:
    """Where the distribution's nftables module is out of sight, podwatch names what to install."""
    venv = tmp_path / "venv"
    _run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", str(venv)])
    python = [str(venv / "bin/python"), "-c"]
    run = "import sys; from podwatch.commands.main import main; sys.exit(main(['check']))"
    told = _run([*python, run], env={"PYTHONPATH": str(TOP)}, check=False)

    assert told.returncode == 3
    assert told.stdout == ""
    assert "is missing" in told.stderr
    assert "apt install python3-" in told.stderr
    assert "dnf install python3-" in told.stderr
    assert "Traceback" not in told.stderr
