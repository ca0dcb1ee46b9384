"""The wire, specified once: the device packs with these layouts and the host unpacks with this very file.

Up (device → host): COBS(header | body | CRC-16) and a zero byte. Little-endian integers.
Down (host → device): one ASCII line a command, `ID VERB [KEY[=]] [VALUE …]*CRC` and a newline, where CRC is
four hex digits of the CRC-16 over everything before the `*`. Read-only verbs, and STOP, may go without id
and CRC. The byte 0x03 is never sent, so Ctrl-C keeps meaning stop.

Where a device has two channels, `VERB@2` is for the second (SET, GET, CONFIGURE, STORE, BLACKBOX, STATUS). Each frame
names the channel it is of, the first being 0.
"""

from rfprobe_core.plan import PARAMETERS, digest_of

SCHEMA = 1
CRC_START = 0xFFFF

# Every frame begins with: type, schema, channel, state (u8), sequence (u16), tick (u32, 10 ms each).
HEADER = "<BBBBHI"
HEADER_SIZE = 10
HEADER_FIELDS = ("type", "schema", "channel", "state", "sequence", "tick")
CRC_SIZE = 2
MAX_BODY = 232
MAX_PAYLOAD = HEADER_SIZE + MAX_BODY + CRC_SIZE
MAX_FRAME = MAX_PAYLOAD + 2

TELEMETRY = 1
DOSE = 2
HEALTH = 3
EVENT = 4
ACK = 5
HELLO = 6
BLACKBOX = 7

TICK_US = 10_000
TICK_MS = 10

# type: (name, struct format of the body, ((field, unit, meaning), …)). HELLO's body is text, see hello_text.
FRAMES = {
    TELEMETRY: (
        "telemetry",
        "<HBBiiiiBBBBiHHHHHHII",
        (
            ("flags", "", "FLAG_… bits"),
            ("cause", "", "cause of the latched fault, 0 = none"),
            ("result", "", "RESULT_…"),
            ("tc0_mC", "m°C", "last valid reading of thermocouple 0"),
            ("tc1_mC", "m°C", "thermocouple 1"),
            ("tc2_mC", "m°C", "thermocouple 2"),
            ("tc3_mC", "m°C", "thermocouple 3"),
            ("tc0_age", "ticks", "age of that reading; 255 = 255 or more, or not fitted"),
            ("tc1_age", "ticks", "thermocouple 1"),
            ("tc2_age", "ticks", "thermocouple 2"),
            ("tc3_age", "ticks", "thermocouple 3"),
            ("setpoint_mC", "m°C", "the ramped set-point; 0 when there is none"),
            ("demand_mW", "mW", "power asked for by the temperature loop"),
            ("power_mW", "mW", "measured power"),
            ("voltage_cV", "10 mV", "RMS voltage"),
            ("current_dmA", "0.1 mA", "RMS current"),
            ("impedance_dohm", "0.1 Ω", "65535 = not defined at this current, or more"),
            ("duty", "1/65535", "drive duty"),
            ("energy_mJ", "mJ", "energy delivered in this run"),
            ("remaining_ticks", "ticks", "hold (or cool-down) time left"),
        ),
    ),
    DOSE: (
        "dose",
        "<IIIIiiiiI",
        (
            ("tc0_cem43_ms", "ms", "CEM43 of thermocouple 0; saturates at 2^29-1"),
            ("tc1_cem43_ms", "ms", "thermocouple 1"),
            ("tc2_cem43_ms", "ms", "thermocouple 2"),
            ("tc3_cem43_ms", "ms", "thermocouple 3"),
            ("tc0_peak_mC", "m°C", "highest valid reading of this run"),
            ("tc1_peak_mC", "m°C", "thermocouple 1"),
            ("tc2_peak_mC", "m°C", "thermocouple 2"),
            ("tc3_peak_mC", "m°C", "thermocouple 3"),
            ("rf_on_ms", "ms", "time with RF enabled in this run"),
        ),
    ),
    HEALTH: (
        "health",
        "<IIIIIIHHHH",
        (
            ("cost_us_mean", "µs", "mean cost of a tick in this period; 2^30-1 = not measured"),
            ("cost_us_max", "µs", "largest cost of a tick in this period"),
            ("late_us_max", "µs", "largest lateness of a tick in this period"),
            ("heap_free_bytes", "B", "free heap; 2^30-1 = not measured"),
            ("frames_sent", "", "frames handed to the link since boot"),
            ("frames_dropped", "", "frames dropped, whole, since boot"),
            ("ticks_missed", "ticks", "skipped since boot; saturates"),
            ("lines_refused", "", "command lines refused since boot; saturates"),
            ("lease_left_ms", "ms", "what is left of the host's lease"),
            ("faults", "", "faults since boot; saturates"),
        ),
    ),
    EVENT: (
        "event",
        "<BBHiiI",
        (
            ("code", "", "EVENT_…"),
            ("cause", "", "cause, for a fault or an end"),
            ("row", "", "row of the limit table, 65535 = none"),
            ("value", "", "the value that tripped, in the row's unit"),
            ("limit", "", "the limit it broke"),
            ("first_tick", "ticks", "tick of the first of the N samples"),
        ),
    ),
    ACK: (
        "ack",
        "<IBBHii",
        (
            ("id", "", "id of the command"),
            ("verb", "", "index in VERBS, 255 = unknown"),
            ("code", "", "ACK_…"),
            ("key", "", "index in PARAMETERS, 65535 = none"),
            ("value", "", "the value as stored, or what the verb returns"),
            ("value2", "", "a second value, see VERBS"),
        ),
    ),
    HELLO: ("hello", "", ()),
    # The records follow these fields, RECORDS_PER_FRAME of them; zeros where the last frame has fewer.
    BLACKBOX: (
        "blackbox",
        "<IHH",
        (
            ("last_tick", "ticks", "tick of the newest record, which tells one black box from the next"),
            ("count", "", "records in the black box"),
            ("first", "", "place of this frame's first record, 0 = the oldest"),
        ),
    ),
}

# One record of the black box, 16 words of 16 bits: what a tick saw and did. Too large a value is 65535.
RECORD = "<HHHHHHHHHHHHHHHH"
RECORD_SIZE = 32
RECORDS_PER_FRAME = 7
RECORD_FIELDS = (
    ("tick", "ticks", "the lower 16 bits of the tick"),
    ("seen", "", "state at its end | SEEN_… << 4 | status of the poll << 7 | state it was judged in << 11"),
    ("flags", "", "RECORD_… bits | dead-man's refusals (most 7) << 5 | ticks since the record before << 8"),
    ("late_us", "µs", "lateness of the tick"),
    ("lease_ticks", "ticks", "age of the host's lease"),
    ("voltage_cV", "10 mV", "RMS voltage"),
    ("current_dmA", "0.1 mA", "RMS current"),
    ("power_mW", "mW", "measured power"),
    ("demand_mW", "mW", "power asked for"),
    ("impedance_dohm", "0.1 Ω", "impedance as it was judged; a lower bound where it is not known"),
    ("duty", "1/65535", "drive duty at its end"),
    ("setpoint_cC", "10 m°C", "the ramped set-point; 0 when there is none"),
    ("gain", "1/4096", "stage gain; judged with RF off: what is sensed, ‰ of full scale"),
    ("detail0", "", "by SEEN_…: reading in m°C, its lower 16 bits; not moved, or risen with RF off, m°C"),
    ("detail1", "", "by SEEN_…: its upper 16 bits; shortfall or what is missing from the fall, m°C"),
    ("detail2", "", "by SEEN_…: slope over 15 samples, m°C/s; how much hotter another place is, m°C"),
)
SEEN_NOTHING = 0
SEEN_PLACE = 1  # and up: the thermocouple that was polled
SEEN_TIP = 5  # the rows of the tip were judged
RECORD_ENABLE = 1
RECORD_ENABLE_STUCK_HIGH = 2
RECORD_ENABLE_STUCK_LOW = 4
RECORD_INTERLOCK_OPEN = 8
RECORD_IMPEDANCE_KNOWN = 16

FLAG_ENABLE = 1
FLAG_INTERLOCK_CLOSED = 2
FLAG_FOOTSWITCH = 4
FLAG_LEASE = 8
FLAG_CONFIGURED = 16
FLAG_SATURATED = 32
FLAG_LIMITED = 64
FLAG_FIELD_CLAMPED = 128
FLAG_PROBE_CHECK = 256
FLAG_NAMES = (
    "enable",
    "interlock_closed",
    "footswitch",
    "lease",
    "configured",
    "saturated",
    "limited",
    "field_clamped",
    "probe_check",
)

SELF_TEST = 0
IDLE = 1
ARMED = 2
RAMP = 3
HOLD = 4
REST = 5
COOLDOWN = 6
DONE = 7
STOPPED = 8
FAULT = 9
STATE_NAMES = (
    "SELF_TEST",
    "IDLE",
    "ARMED",
    "RAMP",
    "HOLD",
    "REST",
    "COOLDOWN",
    "DONE",
    "STOPPED",
    "FAULT",
)

RESULT_NONE = 0
RESULT_COMPLETED = 1
RESULT_LIMITED = 2
RESULT_STOPPED = 3
RESULT_LINK_LOST = 4
RESULT_FAULT = 5
RESULT_NAMES = ("none", "completed", "limited", "stopped", "link_lost", "fault")

EVENT_STATE = 1  # value = new state, limit = old state
EVENT_FAULT = 2
EVENT_END = 3  # value = RESULT_…
EVENT_REFUSED = 4  # ARM was refused for what a thermocouple reads; value = reading, limit = what it was held against
EVENT_NAMES = ("", "state", "fault", "end", "refused")

ACK_OK = 0
ACK_UNKNOWN_VERB = 1
ACK_UNKNOWN_KEY = 2
ACK_BAD_VALUE = 3
ACK_WRONG_STATE = 4
ACK_CRC = 5
ACK_SYNTAX = 6
ACK_WRONG_DIGEST = 7
ACK_NOT_OWNER = 8
ACK_CONTRADICTION = 9
ACK_SENSOR = 10
ACK_INTERLOCK = 11
ACK_GUARD = 12
ACK_FOOTSWITCH = 13
ACK_STAGE = 14
ACK_NOT_KEPT = 15
ACK_START_TEMPERATURE = 16  # of both, and of ACK_GUARD: key = role of the place, value = reading, value2 = against
ACK_START_SPREAD = 17
ACK_NAMES = (
    "ok",
    "unknown verb",
    "unknown key",
    "value out of range",
    "not in this state",
    "CRC wrong or missing",
    "not a command",
    "digest differs from what the device understood",
    "another host owns the session, or the lease has run out",
    "the values contradict one another",
    "a needed thermocouple has no fresh valid reading",
    "the interlock is open",
    "the guard thermocouple is not at 10–40 °C",
    "the foot-switch is not pressed (or is stuck)",
    "the RF stage did not pass its test",
    "the calibration could not be written, or not be read back as written",
    "a thermocouple is not where the plan says that a run may start",
    "the thermocouples do not agree before anything is heated",
)

# (verb, needs id and CRC, number of values after the verb and key, meaning)
VERB_HELLO = 0
VERB_STATUS = 1
VERB_GET = 2
VERB_LEASE = 3
VERB_SET = 4
VERB_CONFIGURE = 5
VERB_ARM = 6
VERB_START = 7
VERB_STOP = 8
VERB_ACKNOWLEDGE = 9
VERB_BLACKBOX = 10
VERB_STORE = 11
VERBS = (
    ("HELLO", False, 0, "send the HELLO frame"),
    ("STATUS", False, 0, "ack: value = state, value2 = cause of the latched fault"),
    ("GET", False, 1, "KEY; ack: value = the value stored"),
    ("LEASE", True, 1, "NONCE; renews the lease; ack: value2 = lease in ms"),
    ("SET", True, 2, "KEY VALUE; only at rest; ack echoes the value as stored"),
    ("CONFIGURE", True, 0, "check the values; ack: value = digest, or value = contradiction"),
    ("ARM", True, 2, "DIGEST NONCE; ack: value = ms until it expires"),
    ("START", True, 1, "NONCE; begins the run"),
    ("STOP", False, 0, "RF off; never refused, heard anywhere in the stream"),
    ("ACKNOWLEDGE", True, 0, "clears a latched fault or the last result; never enables anything"),
    ("BLACKBOX", False, 2, "FIRST MOST; sends these records; ack: value = how many there are, value2 = newest tick"),
    ("STORE", True, 0, "keep the calibration that was SET, in flash; only at rest; ack: value = its digest"),
)
NO_KEY = 65535
NO_ROW = 65535
NOT_MEASURED = (1 << 30) - 1
U32_MAX = (1 << 30) - 1  # what a small integer holds on a 32-bit board

# CAUSES are the names a run's end is told by: id = index. The rows of the limit table name them.
CAUSES = (
    "none",
    "operator_stop",
    "footswitch_released",
    "lease_lost",
    "rf_while_disabled",
    "safe_off_unverified",
    "enable_stuck_high",
    "enable_stuck_low",
    "interlock_open",
    "over_temperature",
    "under_temperature",
    "guard_over_temperature",
    "guard_look_ahead",
    "guard_dose",
    "thermocouple_open",
    "thermocouple_short",
    "thermocouple_bus",
    "thermocouple_config_lost",
    "cold_junction_range",
    "thermocouple_jump",
    "sample_stale",
    "impedance_low",
    "impedance_high",
    "over_voltage",
    "over_current",
    "over_power",
    "stage_weak",
    "tick_late",
    "ticks_missed",
    "heap_low",
    "deadman_refused",
    "unexpected_error",
    "self_test_failed",
    "rf_on_time_ceiling",
    "energy_ceiling",
    "hold_complete",
    "reset_in_run",
    "not_heating",
    "energy_without_temperature",
    "heating_too_fast",
    "thermocouples_disagree",
    "heating_when_off",
    "not_cooling_when_off",
    "memory_corrupted",
    "guard_limited",
    "dose_reached",
    "boundary_reached",
    "rolloffs_complete",
    "end_point_missed",
    "start_temperature",
    "start_disagreement",
    "other_channel",
)
# RF may be on although nobody wants it: these are told whatever else was told before.
GRAVEST = ("rf_while_disabled", "safe_off_unverified", "enable_stuck_high")
CAUSE = {name: index for index, name in enumerate(CAUSES)}


def specification():
    """Everything both ends must agree on, as text; its digest is in HELLO."""
    return "\n".join(_specification())


def _specification():
    parts = [str(SCHEMA), HEADER]
    for kind in sorted(FRAMES):
        name, layout, fields = FRAMES[kind]
        parts.append("%d %s %s" % (kind, name, layout))
        for field, unit, _ in fields:
            parts.append("%s[%s]" % (field, unit))
    parts.append(RECORD)
    for field, unit, _ in RECORD_FIELDS:
        parts.append("%s[%s]" % (field, unit))
    for table in (STATE_NAMES, RESULT_NAMES, EVENT_NAMES, ACK_NAMES, FLAG_NAMES, CAUSES):
        parts.append(",".join(table))
    for verb, guarded, values, _ in VERBS:
        parts.append("%s %d %d" % (verb, guarded, values))
    for name, group, low, high, _ in PARAMETERS:
        parts.append("%s %d %d %d" % (name, group, low, high))
    return parts


def protocol_digest():
    """Eight hex digits of SHA-256 over `specification()`; a host whose digest differs may watch, not arm."""
    full = digest_of(_specification())
    return "%02x%02x%02x%02x" % (full[0], full[1], full[2], full[3])


def hello_text(fields):
    """HELLO's body: `key=value` lines, ASCII, at most MAX_BODY bytes."""
    return "\n".join(["%s=%s" % (key, value) for key, value in fields]).encode()[:MAX_BODY]
