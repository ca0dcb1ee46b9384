"""What the device is told and what it keeps: plan, hardware profile and calibration, as one table of integers.

The table is the single source of the hard limits: the host checks a TOML file against it before it sends
anything, and the device checks every value again when it arrives. Order is the order of the digest.

The calibration is the device's own: CONFIGURE takes it from the flash, whatever was SET; SET and then STORE is how it
gets there (calibration.py). Of the session, `today_day` is the host's word, the rest the device's.
"""

from array import array

PLAN = 0
PROFILE = 1
CALIBRATION = 2
SESSION = 3
GROUP_NAMES = ("plan", "profile", "calibration", "session")

MODE_TEMPERATURE = 0
MODE_POWER = 1
MODE_IMPEDANCE = 2
MODE_PULSED = 3
MODE_NAMES = ("temperature", "power", "impedance", "pulsed")
MODES_AVAILABLE = (MODE_TEMPERATURE, MODE_POWER, MODE_IMPEDANCE, MODE_PULSED)

BELOW_BOILING_MC = 95_000
PULSED_TARGET_MAX_MC = 42_000
PULSED_TRIP_MAX_MC = 45_000

END_TIME = 0
END_DOSE = 1
END_BOUNDARY = 2
END_ROLLOFFS = 3
END_NAMES = ("time", "dose", "boundary", "rolloffs")
# What a run of each mode may end by.
ENDS = (
    (END_TIME, END_DOSE, END_BOUNDARY),
    (END_TIME, END_DOSE, END_BOUNDARY),
    (END_TIME, END_DOSE, END_BOUNDARY, END_ROLLOFFS),
    (END_TIME,),
)

ROLE_NONE = 0
ROLE_CONTROL = 1
ROLE_BOUNDARY = 2
ROLE_GUARD = 3
ROLE_NAMES = ("none", "control", "boundary", "guard")

# MAX31856 data sheet (19-7534), CR1 register, bits 3:0.
THERMOCOUPLE_TYPES = ("B", "E", "J", "K", "N", "R", "S", "T")

CHIP_MAX31856 = 0
CHIP_MAX31855 = 1
CHIP_NAMES = ("max31856", "max31855")
MAX31855_TYPES = (3, 7)  # K and T: what the driver has ITS-90 tables for

LAW_ENVELOPE = 0
LAW_SUPPLY = 1
LAW_SIN2 = 2
LAW_NAMES = ("envelope", "supply", "sin2")

THERMOCOUPLES = 4  # the most one channel carries
CHANNELS = 2  # the most one device has
CHANNEL_BITS = (1, 2)

# (name, group, smallest, largest, value at power-up). Everything stays within ±2^29, see safety.BIAS.
PARAMETERS = (
    ("mode", PLAN, 0, 3, 0),
    ("target_mC", PLAN, 38_000, 104_000, 38_000),
    ("ramp_mC_per_s", PLAN, 10, 5_000, 1_000),
    ("hold_ms", PLAN, 0, 3_600_000, 0),
    ("cooldown_ms", PLAN, 0, 600_000, 5_000),
    ("max_power_mW", PLAN, 100, 50_000, 100),
    ("max_temperature_mC", PLAN, 40_000, 105_000, 40_000),
    ("min_impedance_mohm", PLAN, 5_000, 1_000_000, 20_000),
    ("max_impedance_mohm", PLAN, 50_000, 5_000_000, 2_000_000),
    ("guard_needed", PLAN, 0, 1, 1),
    ("guard_trip_mC", PLAN, 38_000, 45_000, 44_000),
    ("max_rf_on_ms", PLAN, 1_000, 7_200_000, 1_000),
    ("max_energy_mJ", PLAN, 100, 500_000_000, 100),
    ("guard_governor", PLAN, 0, 1, 1),
    ("telemetry_ticks", PLAN, 1, 100, 5),
    ("channels", PLAN, 1, 3, CHANNEL_BITS[0]),  # which channels run, together: the sum of their CHANNEL_BITS
    ("end_by", PLAN, 0, 3, END_TIME),
    ("boundary_dose_ms", PLAN, 1_000, 60_000_000, 14_400_000),
    ("boundary_end_mC", PLAN, 38_000, 95_000, 38_000),
    ("rolloffs", PLAN, 1, 100, 1),
    ("power_mW", PLAN, 100, 50_000, 100),
    ("rolloff_step_mohm", PLAN, 1_000, 1_000_000, 30_000),
    ("rest_ms", PLAN, 1_000, 120_000, 15_000),
    ("resume_permille", PLAN, 100, 1_000, 800),
    ("burst_ms", PLAN, 20, 500, 20),
    ("burst_period_ms", PLAN, 100, 10_000, 500),
    # What the thermocouples may read before ARM, and by how much they may differ: see startcheck.py.
    ("start_min_mC", PLAN, 0, 60_000, 10_000),
    ("start_max_mC", PLAN, 0, 60_000, 40_000),
    ("start_spread_mC", PLAN, 500, 20_000, 3_000),
    ("thermocouples", PROFILE, 1, 4, 1),
    ("tc0_role", PROFILE, 0, 3, ROLE_CONTROL),
    ("tc1_role", PROFILE, 0, 3, 0),
    ("tc2_role", PROFILE, 0, 3, 0),
    ("tc3_role", PROFILE, 0, 3, 0),
    ("tc0_type", PROFILE, 0, 7, 3),
    ("tc1_type", PROFILE, 0, 7, 3),
    ("tc2_type", PROFILE, 0, 7, 3),
    ("tc3_type", PROFILE, 0, 7, 3),
    ("tc0_chip", PROFILE, 0, 1, CHIP_MAX31856),
    ("tc1_chip", PROFILE, 0, 1, CHIP_MAX31856),
    ("tc2_chip", PROFILE, 0, 1, CHIP_MAX31856),
    ("tc3_chip", PROFILE, 0, 1, CHIP_MAX31856),
    ("tc0_lag_ms", PROFILE, 0, 5_000, 0),
    ("tc1_lag_ms", PROFILE, 0, 5_000, 0),
    ("tc2_lag_ms", PROFILE, 0, 5_000, 0),
    ("tc3_lag_ms", PROFILE, 0, 5_000, 0),
    ("mains_hz", PROFILE, 50, 60, 50),
    ("drive_law", PROFILE, 0, 2, 0),
    ("drive_inverted", PROFILE, 0, 1, 0),
    ("max_duty", PROFILE, 1, 65_535, 65_535),
    ("full_scale_voltage_mV", PROFILE, 1_000, 320_000, 1_000),
    ("max_voltage_mV", PROFILE, 1_000, 320_000, 1_000),
    ("max_current_uA", PROFILE, 10_000, 3_000_000, 10_000),
    ("stage_power_mW", PROFILE, 100, 50_000, 100),
    ("test_power_mW", PROFILE, 10, 1_000, 10),
    ("min_current_uA", PROFILE, 100, 1_000_000, 100),
    ("v_sense_full_scale_mV", PROFILE, 1_000, 320_000, 100_000),
    ("i_sense_full_scale_uA", PROFILE, 10_000, 3_000_000, 1_000_000),
    ("footswitch_used", PROFILE, 0, 1, 0),
    ("kp_mW_per_C", PROFILE, 0, 20_000, 0),
    ("ki_mW_per_C_s", PROFILE, 0, 4_000, 0),
    ("feedforward_mW_s_per_C", PROFILE, 0, 20_000, 0),
    ("gain_mC_per_W", PROFILE, 0, 16_000, 0),
    ("rounding_ms", PROFILE, 0, 60_000, 0),
    # How the tip warms at least, by power, in the coldest tissue the probe is for: see heatwatch.py.
    ("tip_lag_ms", PROFILE, 300, 10_000, 1_000),
    ("tip_fast_mC_per_W", PROFILE, 1, 16_000, 1),
    ("tip_fast_ms", PROFILE, 300, 600_000, 10_000),
    ("tip_slow_mC_per_W", PROFILE, 1, 16_000, 1),
    ("tip_slow_ms", PROFILE, 300, 600_000, 60_000),
    ("guard_lag_max_ms", PROFILE, 0, 3_000, 3_000),
    ("v_gain_ppm", CALIBRATION, 500_000, 1_500_000, 1_000_000),
    ("v_offset_mV", CALIBRATION, -20_000, 20_000, 0),
    ("i_gain_ppm", CALIBRATION, 500_000, 1_500_000, 1_000_000),
    ("i_offset_uA", CALIBRATION, -200_000, 200_000, 0),
    ("tc0_offset_mC", CALIBRATION, -5_000, 5_000, 0),
    ("tc1_offset_mC", CALIBRATION, -5_000, 5_000, 0),
    ("tc2_offset_mC", CALIBRATION, -5_000, 5_000, 0),
    ("tc3_offset_mC", CALIBRATION, -5_000, 5_000, 0),
    ("tc0_gain_ppm", CALIBRATION, 900_000, 1_100_000, 1_000_000),
    ("tc1_gain_ppm", CALIBRATION, 900_000, 1_100_000, 1_000_000),
    ("tc2_gain_ppm", CALIBRATION, 900_000, 1_100_000, 1_000_000),
    ("tc3_gain_ppm", CALIBRATION, 900_000, 1_100_000, 1_000_000),
    # When each sensor was calibrated, in days since 2000-01-01 (0: never); for how many days (0: for good); what was
    # left over; and a digest of the reference's name. In the order of calibration.SENSORS.
    ("tc0_cal_day", CALIBRATION, 0, 36_524, 0),
    ("tc1_cal_day", CALIBRATION, 0, 36_524, 0),
    ("tc2_cal_day", CALIBRATION, 0, 36_524, 0),
    ("tc3_cal_day", CALIBRATION, 0, 36_524, 0),
    ("rf_cal_day", CALIBRATION, 0, 36_524, 0),
    ("tc0_cal_valid_days", CALIBRATION, 0, 3_650, 0),
    ("tc1_cal_valid_days", CALIBRATION, 0, 3_650, 0),
    ("tc2_cal_valid_days", CALIBRATION, 0, 3_650, 0),
    ("tc3_cal_valid_days", CALIBRATION, 0, 3_650, 0),
    ("rf_cal_valid_days", CALIBRATION, 0, 3_650, 0),
    ("tc0_cal_residual_mC", CALIBRATION, 0, 5_000, 0),
    ("tc1_cal_residual_mC", CALIBRATION, 0, 5_000, 0),
    ("tc2_cal_residual_mC", CALIBRATION, 0, 5_000, 0),
    ("tc3_cal_residual_mC", CALIBRATION, 0, 5_000, 0),
    ("rf_cal_residual_ppm", CALIBRATION, 0, 200_000, 0),
    ("tc0_cal_reference", CALIBRATION, 0, 0x0FFFFFFF, 0),
    ("tc1_cal_reference", CALIBRATION, 0, 0x0FFFFFFF, 0),
    ("tc2_cal_reference", CALIBRATION, 0, 0x0FFFFFFF, 0),
    ("tc3_cal_reference", CALIBRATION, 0, 0x0FFFFFFF, 0),
    ("rf_cal_reference", CALIBRATION, 0, 0x0FFFFFFF, 0),
    ("today_day", SESSION, 0, 36_524, 0),  # days since 2000-01-01, by the host's clock: the device has none
    ("calibration_state", SESSION, 0, 4, 0),  # calibration.STATE_NAMES
    ("calibration_copy_a", SESSION, 0, 3, 0),  # calibration.COPY_NAMES
    ("calibration_copy_b", SESSION, 0, 3, 0),
)
# What the device says of itself: read with GET, never SET by a host.
TOLD_BY_DEVICE = ("calibration_state", "calibration_copy_a", "calibration_copy_b")

NAMES = tuple([row[0] for row in PARAMETERS])
INDEX = {name: index for index, name in enumerate(NAMES)}

# Why a set of values that are each in range cannot be used together. Code → (parameter, text).
CONTRADICTIONS = (
    ("mode", "this mode is not available in this firmware"),
    ("target_mC", "the target is not below max_temperature"),
    ("min_impedance_mohm", "min_impedance is not below max_impedance"),
    ("thermocouples", "exactly one fitted thermocouple must have the role control"),
    ("guard_needed", "the plan needs a guard thermocouple and the profile has none"),
    ("max_rf_on_ms", "max_rf_on is shorter than the hold"),
    ("mains_hz", "mains frequency is neither 50 nor 60 Hz"),
    ("max_voltage_mV", "max_voltage is above what the stage gives at full duty"),
    ("tc0_role", "a thermocouple that is not fitted has a role"),
    ("test_power_mW", "the test power is above the plan's max_power"),
    ("drive_inverted", "an inverted drive cannot be made safe at reset: invert it in hardware"),
    ("max_impedance_mohm", "so high an impedance cannot be measured: max_voltage / min_current is below it"),
    ("max_duty", "max_duty does not reach max_voltage"),
    ("tc0_chip", "a MAX31855 is corrected for thermocouples of type K and T alone"),
    ("guard_lag_max_ms", "a guard thermocouple lags more than its governor is good for"),
    ("end_by", "a run of this mode cannot end by that"),
    ("end_by", "the plan ends by the boundary thermocouple and the profile has none"),
    ("power_mW", "the power is above the plan's max_power"),
    ("power_mW", "the power is above what the stage may give"),
    ("target_mC", "above 95 °C water boils: only an impedance plan goes there"),
    ("target_mC", "bursts are for a tip of 42 °C at most"),
    ("max_temperature_mC", "bursts are for a tip of 42 °C at most, and end above 45 °C"),
    ("burst_ms", "a burst is longer than half of its period"),
    ("rolloff_step_mohm", "a roll-off of that step does not fit between min_impedance and max_impedance"),
    ("start_min_mC", "the coolest start is not below the warmest"),
    ("channels", "the plan uses a channel that this device does not have"),
)


def default_values():
    """A fresh table of values at power-up: nothing can be heated with it."""
    return array("i", [row[4] for row in PARAMETERS])


def in_range(index, value):
    """Whether `value` is within the hard limits of parameter `index`."""
    row = PARAMETERS[index]
    return row[2] <= value <= row[3]


def roles(values):
    """The role of each of the four thermocouple places (ROLE_…); ROLE_NONE beyond those fitted."""
    first = INDEX["tc0_role"]
    fitted = values[INDEX["thermocouples"]]
    return tuple([values[first + place] if place < fitted else ROLE_NONE for place in range(THERMOCOUPLES)])


def measurable_ohm(values):
    """The largest impedance whose current can still be measured, at the largest voltage."""
    return values[INDEX["max_voltage_mV"]] * 1000 // values[INDEX["min_current_uA"]]  # 3.2e8 / 100


def reachable_mV(values):
    """The voltage that the stage gives at max_duty; a bridge by sin² is full at half duty."""
    full_duty = 2_048 if values[INDEX["drive_law"]] == LAW_SIN2 else 4_096
    duty = values[INDEX["max_duty"]] + 1 >> 4
    full_scale_mV = values[INDEX["full_scale_voltage_mV"]]
    return full_scale_mV if duty >= full_duty else full_scale_mV // 4 * duty // full_duty * 4  # 8e4 · 4096 < 2^29


def _without_table(values):
    """Whether a MAX31855 is fitted with a type that its driver cannot correct."""
    for place in range(values[INDEX["thermocouples"]]):
        chip, kind = values[INDEX["tc0_chip"] + place], values[INDEX["tc0_type"] + place]
        if chip == CHIP_MAX31855 and kind not in MAX31855_TYPES:
            return True
    return False


def slowest_guard_ms(values):
    """The longest lag of the fitted guard thermocouples; 0 without one."""
    slowest = 0
    for place, role in enumerate(roles(values)):
        if role == ROLE_GUARD:
            slowest = max(slowest, values[INDEX["tc0_lag_ms"] + place])
    return slowest


def contradiction(values, channels=CHANNELS):
    """The first entry of CONTRADICTIONS that `values` runs into on a device of so many channels, as an index, or -1."""
    fitted = roles(values)
    first_role = INDEX["tc0_role"]
    stray = False
    for place in range(values[INDEX["thermocouples"]], THERMOCOUPLES):
        stray = stray or values[first_role + place] != ROLE_NONE
    mode = values[INDEX["mode"]]
    by_power = mode != MODE_TEMPERATURE
    window_mohm = values[INDEX["max_impedance_mohm"]] - values[INDEX["min_impedance_mohm"]]
    checks = (
        values[INDEX["mode"]] not in MODES_AVAILABLE,
        values[INDEX["target_mC"]] >= values[INDEX["max_temperature_mC"]],
        values[INDEX["min_impedance_mohm"]] >= values[INDEX["max_impedance_mohm"]],
        fitted.count(ROLE_CONTROL) != 1,
        values[INDEX["guard_needed"]] == 1 and ROLE_GUARD not in fitted,
        values[INDEX["max_rf_on_ms"]] < values[INDEX["hold_ms"]],
        values[INDEX["mains_hz"]] not in (50, 60),
        values[INDEX["max_voltage_mV"]] > values[INDEX["full_scale_voltage_mV"]],
        stray,
        values[INDEX["test_power_mW"]] > values[INDEX["max_power_mW"]],
        values[INDEX["drive_inverted"]] == 1,
        measurable_ohm(values) <= values[INDEX["max_impedance_mohm"]] // 1000,
        values[INDEX["max_voltage_mV"]] > reachable_mV(values),
        _without_table(values),
        slowest_guard_ms(values) > values[INDEX["guard_lag_max_ms"]],
        values[INDEX["end_by"]] not in ENDS[values[INDEX["mode"]]],
        values[INDEX["end_by"]] in (END_DOSE, END_BOUNDARY) and ROLE_BOUNDARY not in fitted,
        by_power and values[INDEX["power_mW"]] > values[INDEX["max_power_mW"]],
        by_power and values[INDEX["power_mW"]] > values[INDEX["stage_power_mW"]],
        mode != MODE_IMPEDANCE and values[INDEX["target_mC"]] > BELOW_BOILING_MC,
        mode == MODE_PULSED and values[INDEX["target_mC"]] > PULSED_TARGET_MAX_MC,
        mode == MODE_PULSED and values[INDEX["max_temperature_mC"]] > PULSED_TRIP_MAX_MC,
        mode == MODE_PULSED and 2 * values[INDEX["burst_ms"]] > values[INDEX["burst_period_ms"]],
        mode == MODE_IMPEDANCE and values[INDEX["rolloff_step_mohm"]] >= window_mohm,
        values[INDEX["start_min_mC"]] >= values[INDEX["start_max_mC"]],
        values[INDEX["channels"]] >> channels != 0,
    )
    for code, broken in enumerate(checks):
        if broken:
            return code
    return -1


def digest_of(lines):
    """SHA-256 of the lines as one text, which is never made: on a board loaded from files there is no room for it."""
    from hashlib import sha256

    total = sha256()
    between = b""
    for line in lines:
        total.update(between)
        total.update(line.encode())
        between = b"\n"
    return total.digest()


def digest(values, group=None):
    """A 28-bit digest of the values as understood (of one group, or of all); the ARM command must quote it.

    28 bits keep it a small integer on a 32-bit board. It guards against a mix-up, not against an attacker.
    """
    parts = []
    for index, row in enumerate(PARAMETERS):
        if group is None or row[1] == group:
            parts.append("%s=%d" % (row[0], values[index]))
    full = digest_of(parts)
    return (full[0] << 20 | full[1] << 12 | full[2] << 4 | full[3] >> 4) & 0x0FFFFFFF


def joined(digest, another):
    """What ARM quotes for several channels together: begun with 0, joined one by one; of one alone it is its own."""
    return ((digest & 0x00FFFFFF) << 4 | digest >> 24) ^ another  # 28 bits, turned by four and mixed
