"""The `rfprobe` command: its verbs, and the one place where exceptions become exit codes.

Modules that take time to import are imported by the verbs that need them, so that `--help` answers at once.
"""

import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rfprobe.commands_bundle import bundle
from rfprobe.commands_calibrate import calibrate_app
from rfprobe.commands_campaign import campaign
from rfprobe.commands_dashboard import dashboard
from rfprobe.commands_deploy import deploy
from rfprobe.commands_devices import console, devices, doctor
from rfprobe.commands_export import export
from rfprobe.commands_flash import flash
from rfprobe.commands_monitor import monitor
from rfprobe.commands_plan import plan_app
from rfprobe.commands_replay import replay
from rfprobe.commands_report import report
from rfprobe.commands_run import run, stop
from rfprobe.commands_sessions import sessions_app
from rfprobe.commands_simulate import simulate
from rfprobe.commands_tune import tune
from rfprobe.errors import ExitCode, ExpectedError

_INTERRUPTED = 130  # what typer makes of Ctrl-C


class ContractGroup(TyperGroup):
    """The verbs, ending with the exit codes of the contract, and with one line on stderr if it went wrong."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Parse, run and exit. Without `standalone_mode`, whatever is raised is the caller's."""

        def run() -> Any:
            return super(ContractGroup, self).main(
                args,
                prog_name,
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )

        if not standalone_mode:
            return run()
        sys.exit(exit_code(run))


def exit_code(run: Callable[[], Any]) -> int:
    """Run a command and give the code it ends with, having told on stderr what was wrong."""
    before = _heed_terminate()
    try:
        code = run()
    except ExpectedError as error:
        return _tell(str(error), error.exit_code)
    except typer.TyperException as error:
        message = error.format_message()  # the help itself where the verb is missing
        return _tell(message if message.startswith("Usage:") else f"rfprobe: {message}", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _tell("rfprobe: stopped", ExitCode.OPERATOR)
    except BrokenPipeError:
        # Whoever read our output has gone; what is left in the buffer has nowhere to go either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.BUG
    except Exception as error:
        return _tell(_bug_report(error), ExitCode.BUG)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    if code == _INTERRUPTED:
        return _tell("rfprobe: stopped", ExitCode.OPERATOR)
    return code if isinstance(code, int) else ExitCode.COMPLETED


def _heed_terminate() -> Any:
    """Make SIGTERM end a command as Ctrl-C does. Returns the handler before, None where there can be none."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    return signal.signal(signal.SIGTERM, terminate)


def _tell(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _bug_report(error: Exception) -> str:
    """One line about an exception nobody expected, and where its traceback is."""
    text = "".join(traceback.format_exception(error))
    name = f"rfprobe-{datetime.now(UTC):%Y%m%dT%H%M%S}Z-{os.getpid()}.txt"
    for folder in _log_folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        return f"rfprobe: this is a bug ({type(error).__name__}: {error}). The traceback is in {folder / name}"
    return f"rfprobe: this is a bug, and its traceback could not be saved:\n{text}"


def _log_folders() -> list[Path]:
    from platformdirs import user_log_path

    return [user_log_path("rfprobe", appauthor=False), Path(tempfile.gettempdir())]


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    from rfprobe.words import NOT_A_MEDICAL_DEVICE
    from rfprobe_core.version import VERSION

    print(f"rfprobe {VERSION}. {NOT_A_MEDICAL_DEVICE}")
    raise typer.Exit


app = typer.Typer(
    cls=ContractGroup,
    name="rfprobe",
    help="Controller for a radiofrequency ablation probe, and its simulator. "
    "Not a medical device: for bench, phantom and ex-vivo work only.",
    epilog="Example: rfprobe simulate vertebra-70C && rfprobe report last",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # help without Rich: in 0.2 s instead of 0.4 s
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and end.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Nothing to do before a verb."""


app.command(epilog="Example: rfprobe simulate plans/vertebra-70C.toml --tissue vertebra --seed 7")(simulate)
app.command(epilog="Example: rfprobe run vertebra-70C --port /dev/ttyACM0 -m id=L3-07")(run)
app.command(epilog="Example: rfprobe stop --all")(stop)
app.command(epilog="Example: rfprobe devices --json")(devices)
app.command(epilog="Example: rfprobe doctor --port @left")(doctor)
app.command(epilog="Example: rfprobe console --port /dev/ttyACM0")(console)
app.command(epilog="Example: rfprobe monitor --port /dev/ttyACM0 --lines > run.csv")(monitor)
app.command(epilog="Example: rfprobe dashboard vertebra-70C --port /dev/ttyACM0 -m id=L3-07")(dashboard)
app.command(epilog="Example: rfprobe campaign plans/vertebra-70C.toml --runtime cpython")(campaign)
app.command(epilog="Example: rfprobe report last -o report.html")(report)
app.command(epilog="Example: rfprobe export last --format parquet -o export")(export)
app.command(epilog="Example: rfprobe replay last --speed 10")(replay)
app.command(epilog="Example: rfprobe bundle last -o bug.zip && rfprobe bundle rerun bug.zip")(bundle)
app.command(epilog="Example: rfprobe flash rfprobe.uf2 --board rpi_pico")(flash)
app.command(epilog="Example: rfprobe deploy --board rpi_pico")(deploy)
app.command(epilog="Example: rfprobe tune --probe bone-10mm --tissue liver")(tune)
app.add_typer(calibrate_app, name="calibrate")
app.add_typer(plan_app, name="plan")
app.add_typer(sessions_app, name="sessions")

if __name__ == "__main__":
    app()
