"""What can go wrong for a user, and the exit code each kind ends the command with.

Every exception here carries a message meant for the user: one line, no traceback. Anything else that escapes
a command is our bug (exit 1). They are named for what is wrong, not all of which is an error of ours.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How every verb of the command line ends."""

    COMPLETED = 0
    BUG = 1
    BAD_INPUT = 2
    SAFETY = 3
    LINK_LOST = 4
    OPERATOR = 5
    ENVIRONMENT = 6
    LIMITED = 7
    CHECK_FAILED = 8


EXIT_BY_RESULT = {
    "completed": ExitCode.COMPLETED,
    "limited": ExitCode.LIMITED,
    "fault": ExitCode.SAFETY,
    "stopped": ExitCode.OPERATOR,
    "link_lost": ExitCode.LINK_LOST,
    "refused": ExitCode.SAFETY,
}
"""Exit code by the `result` of a run. A device refuses to arm for what it senses, which counts as safety; the
values that it would refuse are bad input, found by the host before it starts."""


class ExpectedError(Exception):
    """Base of everything a user can cause or mend; never raised itself."""

    exit_code = ExitCode.BUG


class BadInput(ExpectedError):  # noqa: N818
    """A file, name or option that cannot be used. The message's first line is the most important one."""

    exit_code = ExitCode.BAD_INPUT


class EnvironmentProblem(ExpectedError):  # noqa: N818
    """The machine, not the input: a port that is busy, no permission, a full disk, a tool that is missing."""

    exit_code = ExitCode.ENVIRONMENT


class CheckFailed(ExpectedError):  # noqa: N818
    """Something was examined and found wrong (verify, selftest, calibrate, diff)."""

    exit_code = ExitCode.CHECK_FAILED


def reason_of(error: OSError) -> str:
    """Why the system refused, in lower case: `permission denied`."""
    return (error.strerror or str(error)).lower()


class Refused(ExpectedError):  # noqa: N818
    """The device will not be armed for what it senses, or for a fault that it still shows."""

    exit_code = ExitCode.SAFETY


class OperatorStop(ExpectedError):  # noqa: N818
    """The operator ended the command before there was a run to stop."""

    exit_code = ExitCode.OPERATOR
