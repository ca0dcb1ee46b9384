"""Every limit and interlock, one table. A row that is out of its bounds for N samples ends RF and names its cause.

Rows are in groups by the clock they are judged on: EVERY_TICK, and for each thermocouple the polls of its chip
(POLL) and the samples believed (VALUE); of the control thermocouple, the TIP rows too. Within a group the gravest
row comes first.
"""

from array import array

from rfprobe_core import protocol
from rfprobe_core.calibration import allowed_power_mW
from rfprobe_core.kernels import judge_rows
from rfprobe_core.plan import INDEX, MODE_PULSED, ROLE_CONTROL, ROLE_GUARD, ROLE_NONE, THERMOCOUPLES, roles
from rfprobe_core.protocol import CAUSE

BIAS = 1 << 29  # the kernels compare unsigned: every value and limit is stored with this added
LOWEST = -BIAS
HIGHEST = BIAS - 1

RF_ON = 1 << protocol.RAMP | 1 << protocol.HOLD
DELIVERING = RF_ON | 1 << protocol.REST
RUN = RF_ON | 1 << protocol.ARMED | 1 << protocol.REST
WATCHED_OFF = 1 << protocol.ARMED | 1 << protocol.REST | 1 << protocol.COOLDOWN
ALWAYS = (1 << len(protocol.STATE_NAMES)) - 1
RF_OFF = ALWAYS & ~RF_ON

TICK_MS = protocol.TICK_MS
POLL_MS = 100  # at 60 Hz mains; 120 ms at 50 Hz, see max31856.POLL_TICKS

# Rows judged every tick: (name, cause, unit, phases, samples, low, high). A limit is a number, the name of a
# parameter, (parameter, per mille of it), or None.
EVERY_TICK = (
    ("rf_while_disabled", "rf_while_disabled", "‰ of sense full scale", RF_OFF, 5, None, 30),
    ("enable_stuck_high", "enable_stuck_high", "", ALWAYS, 3, None, 0),
    ("enable_stuck_low", "enable_stuck_low", "", RF_ON, 5, None, 0),
    ("interlock_open", "interlock_open", "", RUN, 2, None, 0),
    ("lease_age", "lease_lost", "ms", RUN, 1, None, 1000),
    ("deadman_refused", "deadman_refused", "", RF_ON, 2, None, 0),
    ("over_voltage", "over_voltage", "mV", RF_ON, 3, None, ("max_voltage_mV", 1100)),
    ("over_current", "over_current", "µA", RF_ON, 3, None, ("max_current_uA", 1100)),
    ("over_power", "over_power", "mW", RF_ON, 10, None, ("max_power_mW", 1300)),
    ("impedance_low", "impedance_low", "mΩ", RF_ON, 5, "min_impedance_mohm", None),
    ("impedance_high", "impedance_high", "mΩ", RF_ON, 5, None, "max_impedance_mohm"),
    ("stage_gain", "stage_weak", "1/4096", RF_ON, 50, 2048, 6144),
    ("tick_late", "tick_late", "µs", RF_ON, 3, None, 5000),
    ("ticks_missed", "ticks_missed", "ticks", RF_ON, 1, None, 10),
    ("heap_free", "heap_low", "B", RUN, 1, 16_384, None),
    ("tc0_age", "sample_stale", "ms", RUN, 1, None, 1200),
    ("tc1_age", "sample_stale", "ms", RUN, 1, None, 1200),
    ("tc2_age", "sample_stale", "ms", RUN, 1, None, 1200),
    ("tc3_age", "sample_stale", "ms", RUN, 1, None, 1200),
)
# Rows of one thermocouple, judged at each poll of its chip.
POLL = (
    ("status", "thermocouple_bus", "status", RUN, 3, None, 1),
    ("not_believed", "thermocouple_jump", "", RUN, 5, None, 0),
    ("cold_junction", "cold_junction_range", "m°C", RUN, 3, -10_000, 60_000),
)
# Rows of one thermocouple, judged at each sample that was believed.
VALUE = (
    ("over_temperature", "over_temperature", "m°C", RUN, 2, None, "max_temperature_mC"),
    ("under_temperature", "under_temperature", "m°C", RUN, 3, 0, None),
    ("guard_temperature", "guard_over_temperature", "m°C", RUN, 2, None, "guard_trip_mC"),
    ("guard_look_ahead", "guard_look_ahead", "m°C", DELIVERING, 3, None, 45_000),
    ("guard_dose", "guard_dose", "ms CEM43", RUN, 1, None, 120_000),
)
# Rows of the tip, judged at each sample of the control thermocouple that was believed (heatwatch.py).
TIP = (
    ("not_heating", "not_heating", "m°C", DELIVERING, 5, None, 4_000),
    ("energy_without_temperature", "energy_without_temperature", "m°C", DELIVERING, 5, None, 2_000),
    ("heating_too_fast", "heating_too_fast", "m°C/s", DELIVERING, 5, None, 1_000),
    ("thermocouples_disagree", "thermocouples_disagree", "m°C", RUN, 5, None, 4_000),
    ("heating_when_off", "heating_when_off", "m°C", WATCHED_OFF, 5, None, 3_000),
    ("memory", "memory_corrupted", "", RUN, 1, None, 0),
    ("not_cooling_when_off", "not_cooling_when_off", "m°C", 1 << protocol.COOLDOWN, 5, None, 1_500),
)
GUARD_ROWS = ("guard_temperature", "guard_look_ahead", "guard_dose")
GUARD_LOOK_AHEAD_S = 6

# What a status of the chip other than FRESH and REPEAT is called (thermometry.py); index = status.
STATUS_CAUSES = (
    "none",
    "none",
    "thermocouple_open",
    "thermocouple_short",
    "thermocouple_bus",
    "thermocouple_config_lost",
    "cold_junction_range",
)

CAUSE_RESULT = {CAUSE["lease_lost"]: protocol.RESULT_LINK_LOST}


def _place(rows, place):
    return tuple([("tc%d_%s" % (place, row[0]),) + row[1:] for row in rows])


ROWS = EVERY_TICK
POLL_START = []
VALUE_START = []
for _index in range(THERMOCOUPLES):
    POLL_START.append(len(ROWS))
    ROWS = ROWS + _place(POLL, _index)
    VALUE_START.append(len(ROWS))
    ROWS = ROWS + _place(VALUE, _index)
TIP_START = len(ROWS)
ROWS = ROWS + TIP
POLL_START = tuple(POLL_START)
VALUE_START = tuple(VALUE_START)
SIZE = len(ROWS)
ROW = {row[0]: index for index, row in enumerate(ROWS)}

# Offsets within a group, for the code that fills in the values.
STATUS = 0
NOT_BELIEVED = 1
COLD_JUNCTION_ROW = 2
OVER = 0
UNDER = 1
GUARD = 2
LOOK_AHEAD = 3
GUARD_DOSE = 4


def _bound(limit, values, missing):
    if limit is None:
        return missing
    if isinstance(limit, str):
        return values[INDEX[limit]]
    if isinstance(limit, tuple):
        name, permille = limit
        most = allowed_power_mW(values) if name == "max_power_mW" else values[INDEX[name]]
        return most * permille // 1000
    return limit


def _samples_of(row, values):
    """How many samples in a row trip: no more than a burst has, where RF comes in bursts and the row needs it on."""
    _, _, _, phases, samples, _, _ = ROWS[row]
    if values[INDEX["mode"]] == MODE_PULSED and phases == RF_ON:
        return min(samples, values[INDEX["burst_ms"]] // TICK_MS)
    return samples


class LimitTable:
    """The table at work: store value + BIAS in `table[row]`, then `judge` a group; it returns the row tripped or −1."""

    def __init__(self):
        self.table = array("i", [0] * (6 * SIZE))
        for row in range(SIZE):
            self.table[row] = BIAS

    def configure(self, values):
        """Take the limits from the plan and the profile. Rows of places not fitted are never judged."""
        fitted = roles(values)
        for row in range(SIZE):
            _, _, _, phases, _, low, high = ROWS[row]
            self.table[SIZE + row] = _bound(low, values, LOWEST) + BIAS
            self.table[2 * SIZE + row] = _bound(high, values, HIGHEST) + BIAS
            self.table[3 * SIZE + row] = phases
            self.table[4 * SIZE + row] = _samples_of(row, values)
            self.table[5 * SIZE + row] = 0
        for place in range(THERMOCOUPLES):
            self._apply_role(place, fitted[place])

    def _apply_role(self, place, role):
        table = self.table
        if role == ROLE_NONE:
            for row in range(POLL_START[place], VALUE_START[place] + len(VALUE)):
                table[3 * SIZE + row] = 0
            table[3 * SIZE + ROW["tc0_age"] + place] = 0
        if role != ROLE_GUARD:
            for row in range(VALUE_START[place] + GUARD, VALUE_START[place] + len(VALUE)):
                table[3 * SIZE + row] = 0

    def clear(self):
        """Forget the samples counted; the limits stay."""
        for row in range(SIZE):
            self.table[5 * SIZE + row] = 0

    def value(self, row):
        return self.table[row] - BIAS

    def limit(self, row):
        """The bound that the row's value is beyond (the upper one where it is within)."""
        if self.table[row] < self.table[SIZE + row]:
            return self.table[SIZE + row] - BIAS
        return self.table[2 * SIZE + row] - BIAS

    def beyond(self, row):
        """Whether the row's last value is out of its bounds."""
        table = self.table
        return not table[SIZE + row] <= table[row] <= table[2 * SIZE + row]

    def counted(self, row):
        return self.table[5 * SIZE + row]

    def samples(self, row):
        return self.table[4 * SIZE + row]

    def judge(self, start, stop, state):
        return judge_rows(self.table, SIZE, start, stop, 1 << state)


def cause_of(row, value):
    """The cause a tripped row names; a thermocouple's status row names it by the status."""
    for place in range(THERMOCOUPLES):
        if row == POLL_START[place] + STATUS:
            return CAUSE[STATUS_CAUSES[value]]
    return ROW_CAUSE[row]


ROW_CAUSE = tuple([CAUSE[row[1]] for row in ROWS])


def describe(values):
    """The table in words, for people: (name, unit, low, high, samples, ms, cause) of each row that is judged."""
    fitted = roles(values)
    lines = []
    for row in range(SIZE):
        name, cause, unit, _, _, low, high = ROWS[row]
        samples = _samples_of(row, values)
        place = int(name[2]) if name.startswith("tc") else -1
        role = fitted[place] if place >= 0 else ROLE_CONTROL
        if role == ROLE_NONE or (name[4:] in GUARD_ROWS and role != ROLE_GUARD):
            continue
        period_ms = TICK_MS if row < len(EVERY_TICK) else POLL_MS
        lines.append(
            (name, unit, _bound(low, values, None), _bound(high, values, None), samples, samples * period_ms, cause)
        )
    return lines
