# SPDX-License-Identifier: Apache-2.0
"""/proc/PID/mountinfo, taken apart."""

from podwatch.formats.mountinfo import parse_namespaces

NETNS = "/run/user/1000/containers/networks/rootless-netns/rootless-netns"
BEFORE = (
    "252 239 0:31 / /run/user/1000 rw,nosuid shared:60 - tmpfs tmpfs rw,mode=700\n"
    f"312 252 0:4 net:[4026532475] {NETNS} rw - nsfs nsfs rw\n"
    "267 265 0:4 net:[4026532325] /run/user/1000/netns/netns-c2 rw shared:77 - nsfs nsfs rw\n"
    "268 265 0:4 mnt:[4026532999] /run/user/1000/mnt rw - nsfs nsfs rw\n"
)


def test_namespaces_are_told_by_their_files() -> None:
    """Each mounted network namespace has its number, and nothing else is taken for one."""
    assert parse_namespaces(BEFORE) == {
        NETNS: 4026532475,
        "/run/user/1000/netns/netns-c2": 4026532325,
    }


def test_the_last_mount_on_a_file_counts() -> None:
    """What is mounted over a namespace hides it, be it another one or no namespace at all."""
    another = BEFORE + f"900 252 0:4 net:[4026539999] {NETNS} rw - nsfs nsfs rw\n"
    hidden = BEFORE + f"900 252 0:31 / {NETNS} rw - tmpfs tmpfs rw\n"

    assert parse_namespaces(another)[NETNS] == 4026539999
    assert NETNS not in parse_namespaces(hidden)


def test_a_path_is_read_as_it_is() -> None:
    """The kernel writes a blank in a path as an octal number."""
    told = "1 2 0:4 net:[7] /run/a\\040b rw - nsfs nsfs rw\n"

    assert parse_namespaces(told) == {"/run/a b": 7}


def test_lines_that_make_no_sense_are_passed_over() -> None:
    """A short or empty line is no mount."""
    assert parse_namespaces("\n1 2 0:4\nnet:[7]\n") == {}
