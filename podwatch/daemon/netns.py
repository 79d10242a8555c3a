# SPDX-License-Identifier: Apache-2.0
"""The network namespace of a user's bridges: entered when it appears, left when it ends.

It appears with the first container on a bridge, and podman drops it with the last one. Meanwhile
the file it has may be lost, and another one be made beside it: then the containers are in that
which was entered first, and it is kept as long as any of them is there. Once none is, podwatch lets
go of it at once: nothing of podwatch's may keep it alive.

The watchers of what is inside listen only while it is there.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from podwatch.adapters import links, namespace
from podwatch.adapters.inotify import DirectoryWatch
from podwatch.adapters.paths import Rootless
from podwatch.adapters.user_namespaces import MemberWatch, find, is_uncounted, member
from podwatch.adapters.user_namespaces import way_in as way_in_of
from podwatch.daemon.hints import Watcher
from podwatch.words.errors import LinksUnreadable, PodwatchError, RestoreFailed
from podwatch.words.netns import Netns


class NetnsWatch:
    """Finds, enters and leaves the namespace, and listens for that.

    `inner` are the watchers of what is in it. `on_change` is called, with what happened, when it
    came, went, or lost its file; `complain` takes what could not be done.
    """

    def __init__(
        self,
        rootless: Rootless,
        inner: Mapping[str, Watcher],
        on_change: Callable[[str], None],
        complain: Callable[[PodwatchError], None],
    ) -> None:
        self.netns = Netns()
        self._rootless = rootless
        self._inner = inner
        self._on_change = on_change
        self._complain = complain
        self._entered: namespace.Entered | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._member = MemberWatch(self._heard)
        self._files = DirectoryWatch(
            [path.parent for path in (rootless.pause, *rootless.uplinks)],
            self._heard,
            lacking="a user's first network is noticed late",
        )
        namespace.look_after(None)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen on this loop, and enter what is there. Raises Unreadable."""
        self._loop = loop
        self._member.attach(loop)
        self._files.attach(loop)
        self.look()

    def close(self) -> None:
        """Stop listening, and leave."""
        self._files.close()
        self._member.close()
        self._leave()

    def describe(self) -> str:
        """Which namespace is looked into, in words."""
        if not self._entered:
            is_there = self.netns.mounted
            return "not inside" if is_there else "listening; no container is on a bridge"
        deaf = [name for name, watcher in self._inner.items() if "not" in watcher.describe()]
        return f"not listening to {', '.join(deaf)}" if deaf and self._loop else "listening"

    def look(self) -> Netns:
        """Enter, keep or leave what there is now, and say what that is."""
        pid = member(self._rootless)
        try:
            if self._loop is not None:
                self._member.follow(pid)
            path, mounted = find(self._rootless, pid) if pid else ("", 0)
        except OSError:
            pid, path, mounted = 0, "", 0  # it has ended just now
        inode = 0 if self._entered is None else self._entered.inode
        if inode and mounted != inode and not self._is_inhabited():
            inode = self._leave()
        if path and not inode:
            way_in = path if mounted else way_in_of(self._rootless.name_server)
            inode = self._enter(pid, way_in) if way_in else 0
        if inode and not pid:
            return self.netns  # nobody is there to be asked: nothing says that its file is lost
        self.netns = Netns(
            path or self.netns.path,
            inode,
            mounted,
            has_file=bool(path),
            is_uncounted=bool(mounted) and is_uncounted(path),
        )
        return self.netns

    def bind(self) -> str:
        """Give the namespace its file again; what was done. Raises RestoreFailed."""
        netns = self.look()
        if self._entered is None or not netns.is_lost:
            return "the user's network namespace has its file"
        try:
            self._entered.bind(netns.path)
        except OSError as exc:
            raise RestoreFailed(
                f"cannot mount the user's network namespace on {netns.path}: {exc.strerror}"
            ) from exc
        if not self.look().mounted:
            raise RestoreFailed(f"nothing is mounted on {netns.path}")
        return f"the user's network namespace is mounted on {netns.path} again"

    def _heard(self) -> None:
        before = self.netns
        after = self.look()
        if after == before:
            return
        if after.is_lost:
            self._on_change("the user's network namespace lost its file")
        elif after.inode != before.inode:
            self._on_change(f"the user's network namespace {'came' if after.inode else 'went'}")
        else:
            self._on_change("the file of the user's network namespace is another one")

    def _is_inhabited(self) -> bool:
        """Whether a container is in the namespace that was entered; also where it is not told."""
        try:
            return any(link.kind == "veth" for link in links.read().by_name.values())
        except LinksUnreadable:
            return True

    def _enter(self, pid: int, path: str) -> int:
        self._leave()
        try:
            self._entered = namespace.Entered.through(pid, path)
        except OSError as exc:
            self._complain(
                PodwatchError(
                    f"cannot enter the user's network namespace {path}: {exc.strerror}",
                    hint="a sandbox with a mount or user namespace of its own forbids it",
                )
            )
            return 0
        namespace.look_after(self._entered)
        if self._loop is not None:
            self._listen(self._loop)
        return self._entered.inode

    def _leave(self) -> int:
        for watcher in self._inner.values():
            watcher.close()
        self._entered = None
        namespace.look_after(None)
        return 0

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        for name, watcher in self._inner.items():
            try:
                ends = watcher.attach(loop)
            except PodwatchError as exc:
                self._complain(exc)
                continue
            if ends is not None:
                ends.add_done_callback(partial(self._is_deaf, name))

    def _is_deaf(self, name: str, end: "asyncio.Future[None]") -> None:
        error = None if end.cancelled() else end.exception()
        if isinstance(error, PodwatchError):
            self._complain(error)
            self._leave()
            self._on_change(f"{name} could be heard no more")
