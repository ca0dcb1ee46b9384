"""A session with all that explains it in one zip file, for a bug report; and a simulated one simulated again from it.

| in the file | what |
|---|---|
| `bundle.json` | what is in it: SHA-256 of each file, versions, digests, the machine's kind |
| `session.rfp` | the session, consistent even while it is written |
| `plan.toml`, `profile.toml` | their text, as recorded |
| `device.json` | the device as it introduced itself (HELLO) |
| `bench.toml` | the lab's settings, where there are any |
| `packages.txt` | what is installed beside rfprobe, with versions |
"""

import json
import platform
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, cast

from rfprobe.errors import BadInput, EnvironmentProblem, reason_of
from rfprobe.plan_file import read_plan
from rfprobe.probe_file import ProbeFile, read_probe
from rfprobe.run_meta import firmware_digest
from rfprobe.session import Session
from rfprobe.session_diff import LEFT_OUT, Differences, diff_sessions
from rfprobe.sim.bench_setup import BenchSetup
from rfprobe.sim.engine import PROGRESS_EVERY_TICKS, SimulationInput, simulate, simulation_digest
from rfprobe.sim.tissue import TissuePreset
from rfprobe.whole_files import written_whole
from rfprobe_core.version import VERSION

SCHEMA = 1
INDEX = "bundle.json"
SESSION = "session.rfp"
BENCH = Path("bench.toml")
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry: the same session gives the same bytes."""


def write_bundle(session: Session, path: Path, bench: Path = BENCH) -> list[str]:
    """Write the whole file; returns the names in it. Raises EnvironmentProblem."""
    files = _files(session, bench)
    index = {
        "schema": SCHEMA,
        "rfprobe": VERSION,
        "session_id": session.id,
        "kind": session.meta.get("kind"),
        "closed": session.closed,
        "versions": session.meta.get("versions"),
        "digests": session.meta.get("digests"),
        "digests_here": {"firmware": firmware_digest(), "simulation": simulation_digest()},
        "machine": {"system": platform.system(), "machine": platform.machine(), "python": platform.python_version()},
        "files": {name: sha256(content).hexdigest() for name, content in files.items()},
    }
    everything = {INDEX: json.dumps(index, indent=1, ensure_ascii=False).encode() + b"\n", **files}
    with written_whole(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in everything.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return list(everything)


def _files(session: Session, bench: Path) -> dict[str, bytes]:
    meta = session.meta
    files = {
        SESSION: _whole_copy(session),
        "plan.toml": str(meta.get("plan") or "").encode(),
        "profile.toml": str(meta.get("profile") or "").encode(),
        "device.json": json.dumps({"hello": meta.get("hello")}, indent=1).encode(),
        "packages.txt": "".join(f"{name}\n" for name in _packages()).encode(),
    }
    if bench.is_file():
        files[bench.name] = bench.read_bytes()
    return {name: content for name, content in files.items() if content}


def _packages() -> list[str]:
    return sorted({f"{each.metadata['Name']}=={each.version}" for each in distributions()}, key=str.lower)


def _whole_copy(session: Session) -> bytes:
    """The file's bytes; with what is still in its -wal if it is not closed."""
    if session.closed:
        return session.path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / SESSION
        try:
            source = sqlite3.connect(f"{session.path.resolve().as_uri()}?mode=ro", uri=True)
            with closing(source), closing(sqlite3.connect(copy)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise EnvironmentProblem(f"{session.path}: cannot be read: {error}") from None
        return copy.read_bytes()


@contextmanager
def open_bundle(path: Path) -> Generator[tuple[dict[str, Any], Session]]:
    """(index, session) of a bundle, every digest checked. Raises BadInput for what is none of ours, or not whole."""
    with tempfile.TemporaryDirectory() as folder:
        index = _unpack(path, Path(folder))
        with Session(Path(folder) / SESSION) as session:
            yield index, session


def _unpack(path: Path, folder: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BadInput(f"{path}: there is no such bundle")
    try:
        with zipfile.ZipFile(path) as archive:
            index = cast(dict[str, Any], json.loads(archive.read(INDEX)))
            schema, files = index["schema"], cast(Mapping[str, str], index["files"])
            for name, digest in files.items():
                if sha256(archive.read(name)).hexdigest() != digest:
                    raise BadInput(f"{path}: {name} is not what bundle.json says it is; the bundle was changed")
            (folder / SESSION).write_bytes(archive.read(SESSION))
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError):
        raise BadInput(f"{path}: not a whole bundle of ours") from None
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot be read: {reason_of(error)}") from None
    if schema != SCHEMA:
        raise BadInput(f"{path}: a bundle of schema {schema}; this rfprobe reads schema {SCHEMA}")
    return index


@dataclass(frozen=True)
class Rerun:
    """What came of simulating again: how it differs, and whose sources are not those of then."""

    differences: Differences
    runtime: str
    other_sources: tuple[str, ...]


def rerun(session: Session, out_dir: Path, runtime: str | None = None) -> Rerun:
    """Simulate again with all that was recorded, into `out_dir`. `runtime` None: the one of then.

    Every frame is compared byte for byte; HELLO too where the runtime is the same. Raises BadInput where the session
    was not simulated.
    """
    meta = session.meta
    given = _input_of(session, out_dir, runtime)
    with simulate(
        given.plan,
        given.probe,
        given.tissue,
        runtime=given.runtime,
        seed=given.seed,
        faults=given.faults,
        out_dir=out_dir,
        stop_requested=_stops_of(session),
        start_us=given.start_us,
        first_tick=given.first_tick,
        black_box=meta.get("black_box") is not None,
        setup=given.setup,
        second_probe=given.second_probe,
        second_tissue=given.second_tissue,
    ) as again:
        same_runtime = given.runtime == meta.get("runtime")
        found = diff_sessions(session, again, () if same_runtime else LEFT_OUT)
        then, now = meta.get("digests"), again.meta.get("digests")
    changed = [key for key in ("firmware", "protocol", "simulation") if _entry(then, key) != _entry(now, key)]
    return Rerun(found, given.runtime, tuple(changed))


def _entry(table: Any, key: str) -> object:
    return cast(dict[str, object], table).get(key) if isinstance(table, dict) else None


def _input_of(session: Session, folder: Path, runtime: str | None) -> SimulationInput:
    meta: dict[str, Any] = dict(session.meta)
    if meta.get("kind") != "simulation" or "seed" not in meta or "faults" not in meta:
        raise BadInput(f"{session.id}: only a simulated session can be simulated again")
    texts: dict[str, Path] = {}
    for key in ("plan", "profile"):
        texts[key] = folder / f"{key}.toml"
        texts[key].write_text(meta[key], encoding="utf-8")
    second_probe, second_tissue = _second_of(meta, folder)
    return SimulationInput(
        read_plan(texts["plan"]),
        read_probe(texts["profile"]),
        TissuePreset.model_validate(meta["tissue"]),
        runtime or meta["runtime"],
        meta["seed"],
        meta["faults"],
        meta["start_us"],
        meta["first_tick"],
        setup=BenchSetup.from_meta(meta.get("bench_setup")),
        second_probe=second_probe,
        second_tissue=second_tissue,
    )


def _second_of(meta: dict[str, Any], folder: Path) -> tuple[ProbeFile | None, TissuePreset | None]:
    """Probe and tissue of the second channel, where that ran."""
    for channel in meta.get("channels", []):
        if channel["channel"] == 1:
            path = folder / "second_profile.toml"
            path.write_text(channel["profile"], encoding="utf-8")
            return read_probe(path), TissuePreset.model_validate(channel["tissue"])
    return None, None


def _stops_of(session: Session) -> Callable[[], bool] | None:
    """Asks to stop at the look at which the operator did; the engine takes one every PROGRESS_EVERY_TICKS."""
    tick = session.meta.get("stop_tick")
    if not isinstance(tick, int):
        return None
    looks = iter(range(1 << 62))
    return lambda: next(looks) >= tick // PROGRESS_EVERY_TICKS
