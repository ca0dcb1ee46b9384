"""What a session says of the run it holds, for a board and for a simulation alike."""

import platform
from array import array
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from rfprobe.calibration_kept import kept
from rfprobe.client import Channel, RunClient
from rfprobe.plan_file import PlanFile
from rfprobe.probe_file import ProbeFile
from rfprobe.session_format import Json
from rfprobe_core import plan, protocol
from rfprobe_core.version import VERSION


def digest_of(files: Sequence[Path]) -> str:
    """Twelve hex digits over these files' names and contents, in this order."""
    total = sha256()
    for path in files:
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:12]


def firmware_digest() -> str:
    """Twelve hex digits over the firmware's source files: core and drivers."""
    core = Path(plan.__file__).parent
    return digest_of(sorted(core.glob("*.py")) + sorted((core.parent / "rfprobe_drivers").glob("*.py")))


def group_digests(values: Mapping[str, int]) -> dict[str, str]:
    """The digests of protocol, plan, profile and calibration."""
    table = array("i", [values[name] for name in plan.NAMES])
    told = enumerate(plan.GROUP_NAMES[: plan.CALIBRATION + 1])
    groups = {name: f"{plan.digest(table, group):07x}" for group, name in told}
    return {"protocol": protocol.protocol_digest(), **groups}


def ended_meta(client: RunClient) -> dict[str, Json]:
    """The part of `meta` that is known when the run is over, as the wire told it."""
    decoder = client.decoder
    return {
        "result": client.result,
        "cause": client.cause,
        "refusal": client.refusal,
        "black_box": None if client.box is None else {"records": client.box.count, "received": client.box.received},
        "link": {
            "received": decoder.frames,
            "lost": decoder.lost,
            "bad_crc": decoder.bad_crc,
            "refused": decoder.refused,
        },
    }


def channel_meta(number: int, probe: ProbeFile, values: Mapping[str, int]) -> dict[str, Json]:
    """What `meta`'s `channels` says of one channel before anything runs; `number` counts from 0, as on the wire."""
    return {
        "channel": number,
        "profile": probe.text,
        "profile_name": probe.name,
        "roles": list(probe.roles),
        "parameters": dict(values),
        "digests": dict(group_digests(values)),
    }


def channel_understood(channel: Channel) -> dict[str, Json]:
    """What is added to it once the channel is configured; nothing before."""
    if channel.configured_as < 0:
        return {}
    values = RunClient.values_of(channel)
    return {
        "parameters": dict(values),
        "calibration": kept(values).meta(),
        "digests": dict(group_digests(values)),
    }


def channel_ended(channel: Channel) -> dict[str, Json]:
    """What is added to it when the run is over: the channel's own word."""
    result, cause = channel.word or (None, None)
    return {"result": result, "cause": cause}


def understood_meta(client: RunClient, digests: Mapping[str, str]) -> dict[str, Json]:
    """The part of `meta` that is known once the device is configured: what it keeps, and runs with; else nothing."""
    if not client.configured:
        return {}
    values = client.values
    return {
        "parameters": dict(values),
        "calibration": kept(values).meta(),
        "digests": {**digests, **group_digests(values)},
    }


def told_meta(plan_file: PlanFile, probe: ProbeFile, values: Mapping[str, int]) -> dict[str, Json]:
    """The part of `meta` that is known before anything runs."""
    return {
        "plan": plan_file.text,
        "plan_name": plan_file.name,
        "plan_path": plan_file.path.name,
        "profile": probe.text,
        "profile_name": probe.name,
        "roles": list(probe.roles),
        "parameters": dict(values),
        "versions": {
            "rfprobe": VERSION,
            "firmware": VERSION,
            "python": platform.python_version(),
            "micropython": None,
            "numpy": version("numpy"),
        },
        "host": {"system": platform.system(), "machine": platform.machine()},
    }
