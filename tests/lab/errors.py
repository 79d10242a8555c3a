# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in the lab itself, apart from what a test wants to find out.

``LabError`` is the root: the lab could not do its work, and the message says what to do about it.
``CommandFailed`` is the one a test may want to catch: a command inside a host ended with an exit
status that was not 0.
"""


class LabError(RuntimeError):
    """The lab itself failed; the message names what, where, and what to do."""


class CommandFailed(LabError):
    """A command inside a lab host failed or ran out of time."""

    def __init__(self, message: str, *, stdout: str, stderr: str) -> None:
        """Keep what the command said beside the message.

        Args:
            message: the sentence for the reader.
            stdout: everything the command wrote to its standard output.
            stderr: everything the command wrote to its standard error.
        """
        super().__init__(message)
        self.stdout = stdout
        self.stderr = stderr


def tail(text: str, lines: int = 20) -> str:
    """Return the last ``lines`` lines of ``text``, for a message."""
    return "\n".join(text.splitlines()[-lines:])
