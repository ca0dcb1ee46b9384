"""What a virtual board has in its flash: the two copies of its calibration, as it left the factory or was spoilt."""

from rfprobe_core import calibration, plan

KINDS = ("exact", "none", "corrupt", "expired", "one_corrupt")
FACTORY_DAY = 9_497  # 2026-01-01
EXPIRED_DAY = 5_844  # 2016-01-01
REFERENCE = 0x94C0B7F  # of "simulated, exact"


def copies_of(kind):
    """Both copies, by a name of KINDS, or two of them in hex as `as_text` gives them. ValueError for anything else."""
    if ":" in kind:
        return [_bytes_of(text) for text in kind.split(":")]
    if kind not in KINDS:
        raise ValueError("no calibration of the kind " + kind)
    if kind == "none":
        return [b"", b""]
    record = calibration.packed(_exact(EXPIRED_DAY if kind == "expired" else FACTORY_DAY), 1)
    copies = [record, record]
    if kind == "corrupt" or kind == "one_corrupt":
        copies[0] = _flipped(record)
    if kind == "corrupt":
        copies[1] = _flipped(record)
    return copies


def as_text(copies):
    """Both copies as one word."""
    return ":".join(["".join(["%02x" % byte for byte in copy]) for copy in copies])


def _bytes_of(text):
    return bytes([int(text[at : at + 2], 16) for at in range(0, len(text), 2)])


def _flipped(record):
    """One bit of it is another."""
    spoilt = bytearray(record)
    spoilt[len(record) // 2] ^= 0x10
    return bytes(spoilt)


def _exact(day):
    """Nominal values, which the simulated sensors have; for good, but where they are to have expired after a year."""
    values = plan.default_values()
    for sensor in range(len(calibration.SENSORS)):
        values[plan.INDEX["tc0_cal_day"] + sensor] = day
        values[plan.INDEX["tc0_cal_valid_days"] + sensor] = 0 if day == FACTORY_DAY else 365
        values[plan.INDEX["tc0_cal_reference"] + sensor] = REFERENCE
    return values
