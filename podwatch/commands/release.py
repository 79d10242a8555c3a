# SPDX-License-Identifier: Apache-2.0
"""`podwatch release`: nothing of podwatch stays in firewalld's permanent configuration."""

from podwatch.adapters.firewalld import FirewalldWatch
from podwatch.adapters.lock import hold
from podwatch.adapters.paths import Paths
from podwatch.daemon.config import Config
from podwatch.daemon.host import Host
from podwatch.words.errors import PodwatchError
from podwatch.words.text import counted


async def release(paths: Paths, config: Config) -> str:
    """Take away what podwatch added; what was done, in a sentence.

    Raises PodwatchError while another podwatch runs, which would add it again, and where firewalld
    does not do it: the hint then says how it is done without firewalld.
    """
    paths.run.mkdir(mode=0o755, parents=True, exist_ok=True)
    with hold(paths.run_lock):
        host = Host(config, FirewalldWatch(), None, paths)
        try:
            return await _release(host)
        finally:
            host.close()


async def _release(host: Host) -> str:
    host.permanent.kept.remember()
    own = list(host.permanent.kept.own)
    if not own:
        return "podwatch added no permanent source to firewalld"
    try:
        taken = await host.permanent.release()
    except PodwatchError as exc:
        orders = " ".join(f"--remove-source={subnet}" for subnet in own)
        raise PodwatchError(
            f"{', '.join(own)}: podwatch made that a permanent source of firewalld's zone trusted, "
            f"and cannot take it away: {exc}",
            hint=f"while firewalld is stopped: firewall-offline-cmd --zone=trusted {orders}; "
            f"while it runs: firewall-cmd --permanent --zone=trusted {orders}",
        ) from exc
    finally:
        if host.firewalld is not None:
            host.firewalld.bus.close()
    return f"took away {counted(len(taken), 'permanent source')} of firewalld's zone trusted"
