# SPDX-License-Identifier: Apache-2.0
"""What else is read and is no parser of a driver: its own files, requests, answers."""

import asyncio
import json
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.adapters.http import Page
from podwatch.commands.history import lines_of, parse_since
from podwatch.daemon import pause
from podwatch.drivers.forwarding import drops, is_of_others, parse_chains, shut_out, unheard
from podwatch.drivers.iptables_save import filter_chains
from podwatch.formats.containers_conf import parse_containers_conf
from podwatch.formats.firewalld_conf import reload_policy
from podwatch.formats.kept_sources import read_kept
from podwatch.formats.network_files import cni_file, netavark_file
from podwatch.formats.proc_files import user_name
from podwatch.formats.proc_net import default_routes
from podwatch.formats.relay_commands import end_descriptor, given_file, parse_argv, to_start
from podwatch.formats.rootlessport import slirp_address
from podwatch.formats.storage_conf import named_root
from podwatch.report import history
from podwatch.report.metrics import Tally, exposition
from podwatch.report.status import SHAPE, fit
from podwatch.words.errors import StateUnreadable
from podwatch.words.names import Askers
from podwatch.words.network import Endpoint, FirewallDriver, Network, Setup
from podwatch.words.relays import RelayKind
from tests.unit.fuzz.spoilt import recorded, spoilt
from tests.unit.fuzz.test_parsers import bounded


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for files that are written anew for each example."""
    return tmp_path_factory.mktemp("own")


INCIDENT = json.dumps({**history.RECORD, "began": 1.0, "missing": ["a"], "how": ["b"]})


@given(text=spoilt((f"{INCIDENT}\n{INCIDENT}\n",)) | st.text(), last=st.integers(0, 3))
def test_history(own: Path, text: str, last: int) -> None:
    """Whatever the history holds: what makes sense is shown, the rest counted, no traceback."""
    file = own / "history.jsonl"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with bounded():
        told = history.read(file, last=last)
        for each in told.incidents:
            try:
                shown = list(lines_of(each))
            except (ValueError, OverflowError, OSError):
                raise AssertionError(f"cannot be shown: {each}") from None
            assert all(line.isprintable() for line in shown)


@given(text=spoilt((json.dumps({"since": 1.0, "until": 2e9, "reason": "", "by": "me"}),)))
def test_pause(own: Path, text: str) -> None:
    """A pause is never longer than any can be, whatever its file says."""
    (own / "pause").mkdir(exist_ok=True)
    (own / "pause/pause.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    now = 2e9 - 60
    with bounded():
        try:
            found = pause.read(own, now)
        except StateUnreadable:
            return
    assert found is None or now < found.until <= now + pause.MAX_PAUSE_S + 1
    assert str(found).isprintable()


@given(st.text(max_size=40))
def test_since(text: str) -> None:
    """What a person types for a moment is one, or no moment."""
    try:
        assert isinstance(parse_since(text, 1e9), float)
    except (ValueError, OverflowError):
        pass


CONSTANT = "a 1\n"


@given(st.lists(st.binary(max_size=9000), max_size=3) | st.just([b"GET /metrics HTTP/1.1\r\n\r\n"]))
def test_request(pieces: list[bytes]) -> None:
    """Whatever is sent to the metrics' port is answered as HTTP, or not at all."""

    async def body() -> bytes:
        page = Page("/metrics", "text/plain", lambda: CONSTANT)
        port = await page.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for each in pieces:
                writer.write(each)
            writer.write_eof()
            return await reader.read()
        except OSError:
            return b""
        finally:
            writer.close()
            page.close()

    answer = asyncio.run(body())
    assert answer == b"" or answer.startswith((b"HTTP/1.0 200 ", b"HTTP/1.0 40"))


@given(spoilt((json.dumps({**SHAPE, "state": "ok"}),)))
def test_exposition(text: str) -> None:
    """Metrics stay lines of a name and a number, whatever names the status holds."""
    try:
        document = fit(json.loads(text), SHAPE)
    except (ValueError, RecursionError):
        return
    with bounded():
        for line in exposition(document, Tally(), now=1e9, overruns=0).splitlines():
            assert line.startswith("#") or float(line.rpartition(" ")[2]) is not None


def _route(text: str) -> bool:
    return any((*default_routes(text, 4), *default_routes(text, 6)))


def _relay(text: str) -> object:
    argv = parse_argv(text.encode("utf-8", "replace").replace(b" ", b"\0"))
    return [
        (given_file(kind, argv), end_descriptor(kind, argv), to_start(kind, argv))
        for kind in RelayKind
    ], slirp_address(argv)


def _shut_out(text: str) -> object:
    network = Network("n", "podman1", (ip_network("10.89.0.0/24"),))
    asking = [Askers("one", network, (ip_address("10.89.0.1"),), 53)]
    endpoint = Endpoint("c", "n", "one", ())
    setup = Setup(FirewallDriver.NFTABLES, {"n": network}, (endpoint,))
    chains = [*parse_chains(text), *filter_chains({"ip": text}, own=lambda _: False)]
    closed = [each for each in chains if is_of_others(each, ()) and drops(each)]
    return [*shut_out(setup, closed, ()), *unheard(asking, closed)]


@pytest.mark.parametrize(
    "read",
    [
        cni_file,
        netavark_file,
        parse_containers_conf,
        read_kept,
        reload_policy,
        _shut_out,
        lambda text: user_name(text, 0),
        lambda text: named_root(text, of_system=False, variables={}),
        _route,
        _relay,
    ],
)
@given(data=st.data())
def test_answers(read: Callable[[str], object], data: st.DataObject) -> None:
    """Single answers out of a text are given, or the text is refused as unreadable."""
    text = data.draw(spoilt(recorded()) | st.text())
    with bounded():
        try:
            read(text)
        except StateUnreadable:
            pass
