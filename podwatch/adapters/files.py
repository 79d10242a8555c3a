# SPDX-License-Identifier: Apache-2.0
"""Files: the one way to open one, and reading and writing it whole, with a bound.

Whoever may write to a directory can put a FIFO, a link or a device where a file is expected, and
an open that waits for it stops the daemon. Nothing else in podwatch opens a file; a test holds it.
"""

import errno
import os
import stat
from contextlib import suppress
from itertools import islice
from pathlib import Path

from podwatch.words.errors import PodwatchError, StateUnreadable

_PIECE_BYTES = 65536


def open_regular(
    path: str | Path,
    flags: int = os.O_RDONLY,
    mode: int = 0o600,
    *,
    follow: bool = False,
    of_root: bool = False,
    dir_fd: int | None = None,
) -> int:
    """A descriptor of the regular file at `path`. Waits for nobody.

    A FIFO, a device or a directory is refused, a link unless `follow`, and with `of_root` what
    belongs neither to root, nor to the user podwatch runs as, nor to whom its directory belongs, or
    has other names. A relative `path` is below `dir_fd`, where that is given. Raises OSError, whose
    strerror says why.
    """
    # Not blocking: a FIFO without a writer and a lease (fcntl(2), F_SETLEASE) are not waited for.
    flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, mode, dir_fd=dir_fd)
    try:
        info = os.fstat(descriptor)
        if of_root and info.st_uid not in (0, os.geteuid(), _directory(path, dir_fd).st_uid):
            raise OSError(errno.EPERM, f"it belongs to uid {info.st_uid}", str(path))
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if of_root and info.st_nlink > 1:  # whoever made the other name chose the file
            raise OSError(errno.EMLINK, "it has other names", str(path))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _directory(path: str | Path, dir_fd: int | None) -> os.stat_result:
    """The directory of a file. Raises OSError."""
    return os.stat(os.path.dirname(path) or ".", dir_fd=dir_fd)


def hand_over(descriptor: int, path: str | Path, *, dir_fd: int | None = None) -> None:
    """Have what root has just made belong to whom its directory belongs. Raises OSError.

    podwatch.service need not be root: what root's commands leave in its directories is its own.
    """
    owner = _directory(path, dir_fd)
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def open_below(directory: Path, *names: str, owner: int) -> int:
    """A descriptor of the regular file `names` below `directory`, which somebody else may change.

    Each part of the way is opened below the one before, and none may be a link, nor belong to
    anybody but `owner`. Waits for nobody, as long as the file system does not. Raises OSError.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    opened = [os.open(directory, flags)]
    try:
        for name in names[:-1]:
            opened.append(os.open(name, flags, dir_fd=opened[-1]))
        file = open_regular(names[-1], dir_fd=opened[-1])
        opened.append(file)
        for each in opened:
            if (found := os.fstat(each).st_uid) != owner:
                raise OSError(errno.EPERM, f"it belongs to uid {found}", names[-1])
        return opened.pop()
    finally:
        for each in opened:
            os.close(each)


def read_proc(path: str | Path, *, limit_bytes: int = 4096) -> bytes:
    """What a file of /proc or /sys holds, up to `limit_bytes`. Raises OSError.

    Unbuffered and in small pieces: a file of /proc/sys refuses a read of megabytes.
    """
    with os.fdopen(open_regular(path), "rb", buffering=0) as file:
        size = min(limit_bytes, _PIECE_BYTES)
        # No read more than it needs: each one of /proc/net/tcp walks all of the kernel's table.
        return b"".join(islice(iter(lambda: file.read(size), b""), -(-limit_bytes // size)))


def write_whole(path: Path, text: str, *, mode: int = 0o644, own: bool = False) -> None:
    """Replace `path` with `text` in one step; a reader sees the old file or the new one.

    A file of podwatch's `own` belongs to whom its directory belongs, which is no link. Raises
    PodwatchError when it cannot be written: a full or read-only file system.
    """
    try:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if own else 0)
        directory = os.open(path.parent, flags)
        try:
            _write_within(directory, path.name, text, mode=mode, own=own)
        finally:
            os.close(directory)
    except OSError as exc:
        raise PodwatchError(f"cannot write {path}: {exc.strerror}") from exc


def _write_within(directory: int, name: str, text: str, *, mode: int, own: bool) -> None:
    """The same, in an open directory: whatever its path means meanwhile. Raises OSError."""
    fresh = f".{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=directory)
    fd = os.open(fresh, flags, mode, dir_fd=directory)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, mode)  # not by its name: where others may write, that may be a link
            if own:
                hand_over(fd, fresh, dir_fd=directory)
            file.write(text)
        os.replace(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=directory)
        raise


def make_own_directory(path: Path) -> None:
    """Make a directory of podwatch's own, which belongs to whom the one above belongs.

    Raises OSError, FileExistsError where something is there.
    """
    path.mkdir(mode=0o755)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        hand_over(fd, path)
    finally:
        os.close(fd)


def remove(path: Path) -> None:
    """Remove what is at `path`, a directory with all that is in it; its own directory is no link.

    Raises OSError.
    """
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            # Imported only here: it loads libraries for compression, which the daemon never needs.
            from shutil import rmtree

            rmtree(path.name, dir_fd=directory)
        else:
            os.unlink(path.name, dir_fd=directory)
    finally:
        os.close(directory)


def read_whole(path: Path, *, limit_bytes: int, of_root: bool = False) -> str | None:
    """The text of a regular file; None when there is none.

    Raises StateUnreadable, naming the path, for what is not a regular file of at most `limit_bytes`
    of UTF-8 (such as a FIFO or a link), and with `of_root` for one that belongs to somebody else.
    """
    try:
        return read_text(path, limit_bytes=limit_bytes, of_root=of_root)
    except StateUnreadable as exc:
        raise StateUnreadable(f"cannot read {path}: {exc}") from exc


def read_text(path: Path, *, limit_bytes: int, of_root: bool = False) -> str | None:
    """The same, but the error has only the reason, for a caller that names the path itself."""
    try:
        with os.fdopen(open_regular(path, of_root=of_root), "rb") as file:
            data = file.read(limit_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StateUnreadable(exc.strerror or str(exc)) from exc
    if len(data) > limit_bytes:
        raise StateUnreadable(f"larger than {limit_bytes} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise StateUnreadable("not UTF-8") from exc
