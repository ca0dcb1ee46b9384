"""Two sessions compared: the same input gives the same frames, and the first difference is named."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rfprobe.cli import app
from rfprobe.errors import ExitCode
from rfprobe.session import Session
from rfprobe.session_diff import diff_sessions
from rfprobe_core import protocol
from tests.host.synthetic_run import SyntheticRun, alter


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two recordings of the same run."""
    first, second = (SyntheticRun(end="fault").record(tmp_path / name) for name in ("a", "b"))
    return first, second


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["sessions", "diff", *arguments], prog_name="rfprobe")
    return result.exit_code, result.stdout, result.stderr


def first_difference(first: Path, second: Path) -> str:
    with Session(first) as ours, Session(second) as theirs:
        return diff_sessions(ours, theirs).first_told


def test_the_same_run_twice_does_not_differ(pair: tuple[Path, Path]) -> None:
    with Session(pair[0]) as session:
        ((count,),) = session.rows(
            "SELECT count(*) FROM frames WHERE type NOT IN (?, ?)", (protocol.HELLO, protocol.HEALTH)
        )
    code, stdout, stderr = run(str(pair[0]), str(pair[1]))
    assert (code, stderr) == (0, "")
    assert stdout == f"{pair[0].stem} and {pair[1].stem}: the same in {count} frames\n"
    assert json.loads(run(str(pair[0]), str(pair[1]), "--json")[1]) == {
        "schema": 1,
        "same": True,
        "first": None,
        "given": [],
        "frames": {"compared": count, "differing": 0},
    }


def test_the_first_differing_field_is_named_with_its_tick(pair: tuple[Path, Path]) -> None:
    """Two frames are changed; the earlier one is named, whatever its place in the file's tables."""
    other = SyntheticRun(end="fault")
    telemetry = other._telemetry

    def warmer(tick: int) -> tuple[int, ...]:
        values = list(telemetry(tick))
        values[3] += 7 if tick in (1_000, 1_500) else 0
        return tuple(values)

    other._telemetry = warmer  # pyright: ignore[reportAttributeAccessIssue]
    changed = other.record(pair[1].parent / "c")
    code, stdout, stderr = run(str(pair[0]), str(changed))
    assert code == ExitCode.CHECK_FAILED
    assert stderr.count("\n") == 1
    assert "(telemetry at tick 1000, 10.00 s): telemetry.tc0_mC is 44500 in the first, 44507 in the second" in stderr
    assert "\n2 of " in stdout


def test_a_frame_more_is_a_difference(pair: tuple[Path, Path]) -> None:
    with Session(pair[1]) as session:
        ((last,),) = session.rows("SELECT max(id) FROM frames WHERE type = ?", (protocol.TELEMETRY,))
    alter(pair[1], "DELETE FROM frames WHERE id = ?", last)
    told = first_difference(*pair)
    assert told.endswith("the second has ended or has none like it")
    assert first_difference(pair[1], pair[0]).endswith("the first has ended or has none like it")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("seed", 8, "seed is 7 in the first, 8 in the second"),
        ("faults", ["open:control@30"], "faults is not there in the first, ['open:control@30'] in the second"),
    ],
)
def test_other_input_is_named_before_what_came_of_it(
    pair: tuple[Path, Path], key: str, value: object, told: str
) -> None:
    alter(pair[1], "INSERT OR REPLACE INTO meta VALUES (?, ?)", key, json.dumps(value))
    assert first_difference(*pair) == told


def test_one_changed_parameter_is_named(pair: tuple[Path, Path]) -> None:
    with Session(pair[0]) as session:
        parameters = session.parameters()
    changed = {**parameters, "target_mC": 71_000}
    alter(pair[1], "UPDATE meta SET value = ? WHERE key = 'parameters'", json.dumps(changed))
    told = f"parameters.target_mC is {parameters['target_mC']} in the first, 71000 in the second"
    assert first_difference(*pair) == told


def test_hello_and_health_may_differ(pair: tuple[Path, Path]) -> None:
    for kind in (protocol.HELLO, protocol.HEALTH):
        alter(pair[1], "UPDATE frames SET raw = x'00' WHERE type = ?", kind)
    assert first_difference(*pair) == ""


def test_bad_input_is_one_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    for arguments, told in (
        ((str(pair[0]), "none.rfp"), "none.rfp: there is no such session file\n"),
        (("none", str(pair[0])), "none: no session of that name in sessions\n"),
    ):
        assert run(*arguments) == (ExitCode.BAD_INPUT, "", told)
    code, stdout, stderr = run(str(pair[0]))
    assert (code, stdout, stderr.count("\n")) == (ExitCode.BAD_INPUT, "", 1)
