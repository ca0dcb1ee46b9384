"""What was ablated: from a sample file and `-m key=value`, checked against what the bench asks for."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from rfprobe.bench_file import NAME, Bench
from rfprobe.errors import BadInput
from rfprobe.plan_file import Table, Title
from rfprobe.session_format import Json
from rfprobe.toml_source import load

Place = Annotated[float, Field(ge=-200.0, le=200.0)]


class Sample(Table):
    """One sample. `thermocouple_mm` has the place of each, by its role, as measured on the sample."""

    id: Title | None = None
    tissue: Title | None = None
    recipe: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    batch: Title | None = None
    start_temperature_C: Annotated[float, Field(ge=-20.0, le=60.0)] | None = None
    probe_serial: Title | None = None
    thermocouple_mm: dict[str, Place] | None = None


class SampleFile(Table):
    """A sample file: `[sample]`, and the lab's own keys in `[own]`."""

    sample: Sample = Sample()
    own: dict[str, str | int | float | bool] = Field(default_factory=dict)


def read_sample(path: Path | None, given: list[str], bench: Bench) -> dict[str, Json]:
    """File and `key=value`s together, the latter winning. Raises BadInput for what is wrong or missing."""
    file = load(path, SampleFile, "sample")[1] if path is not None else SampleFile()
    found: dict[str, Any] = {**file.sample.model_dump(exclude_none=True), **file.own}
    for each in given:
        key, value = _pair(each, bench)
        found[key] = value
    strange = sorted(set(found) - set(Sample.model_fields) - set(bench.sample.own))
    if strange:
        raise BadInput(f"sample: `{strange[0]}` is no key of a sample; {NAME} can name it under [sample] own")
    missing = [key for key in bench.sample.required if key not in found]
    if missing:
        raise BadInput(
            f"sample: {NAME} asks for {', '.join(f'`{key}`' for key in missing)}: give it with --sample or -m key=value"
        )
    return found


def _pair(text: str, bench: Bench) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise BadInput(f"-m {text}: must be key=value")
    key, value = key.strip(), value.strip()
    if key not in Sample.model_fields:
        if key in bench.sample.own:
            return key, value
        raise BadInput(
            f"-m {text}: `{key}` is no key of a sample: {', '.join([*Sample.model_fields, *bench.sample.own])}"
        )
    if key == "thermocouple_mm":
        raise BadInput(f"-m {text}: places are given in a sample file")
    try:
        number = float(value) if key == "start_temperature_C" else None
        checked = Sample.model_validate({key: value if number is None else number})
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "must be a number"
        raise BadInput(f"-m {text}: {reason}") from None
    return key, getattr(checked, key)
