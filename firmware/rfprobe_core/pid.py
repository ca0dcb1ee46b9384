"""The temperature loop: error → power demand. Runs once a conversion, in integers.

Position form: feed-forward for the ramp, proportional and integral on the error of the lag-corrected reading
(the correction is the derivative action: on the measurement, by the sensor's known lag, from a least-squares
slope). The integral follows the power that was really delivered whenever a limit held it back. All three are
scaled by what the tissue shows while it warms: how much power a degree takes, against what the profile expects.

Position and not velocity form, because the scale changes in mid-run: here it acts on the terms of this moment alone,
and what the integral holds, the power that keeps the tissue warm, stays.
"""

from rfprobe_core.constant import const

_ERROR_LIMIT_MC = const(20_000)
_INTEGRAL_ERROR_LIMIT_MC = const(5_000)
DEMAND_MAX_MW = 50_000
_DEMAND_MAX_UW = const(50_000_000)
# The scale, in 1/1024 (kept in 1/16 of it): within a half and twice, learnt with a time constant of 5 s.
_SCALE_ONE = const(1_024)
_SCALE_LEAST = const(512)
_SCALE_MOST = const(2_048)
_LEARN_TICKS = const(500)
_JUDGED_FROM_MC = const(3_000)  # of rise; below it the measured gain is noise
_LEARN_POWER_MAX_MW = const(60_000)
_RISE_MAX_MC = const(300_000)


class TemperatureLoop:
    """`update` gives the power demand in mW, 0 … ceiling."""

    def __init__(self):
        self.kp_mW_per_C = 0
        self.ki_mW_per_C_s = 0
        self.feedforward_mW_s_per_C = 0
        self.gain_mC_per_W = 0
        self.learns = True  # where power is what is wanted, and the loop a ceiling, its gains stay as they are
        self._begin_at(0)

    def configure(self, kp_mW_per_C, ki_mW_per_C_s, feedforward_mW_s_per_C, gain_mC_per_W):
        """`gain_mC_per_W` (0…16 000): the rise per watt, while it warms, that the gains are for; 0: they are fixed."""
        self.kp_mW_per_C = kp_mW_per_C
        self.ki_mW_per_C_s = ki_mW_per_C_s
        self.feedforward_mW_s_per_C = feedforward_mW_s_per_C
        self.gain_mC_per_W = gain_mC_per_W
        self._begin_at(0)

    def reset(self):
        """Nothing is asked for any more."""
        self.demand_mW = 0
        self.saturated = False
        self._integral_uW = 0

    def begin(self, base_mC):
        """A run begins; `base_mC` (−100 … 300 °C) is what the tissue would be without power."""
        self._begin_at(base_mC)

    def _begin_at(self, base_mC):
        self.reset()
        self._base_mC = base_mC
        self._power_16th_mW = 0
        self.scale_16th = _SCALE_ONE << 4

    def update(self, setpoint_mC, rate_mC_per_s, corrected_mC, ticks, ceiling_mW, achieved_mW):
        """One control interval of `ticks` (1…25) later.

        `ceiling_mW` (0…50 000) is the most that may be asked for now; `achieved_mW` the mean power measured
        over the interval that has just ended.
        """
        error = setpoint_mC - corrected_mC
        if error > _ERROR_LIMIT_MC:
            error = _ERROR_LIMIT_MC
        elif error < -_ERROR_LIMIT_MC:
            error = -_ERROR_LIMIT_MC
        self._follow_achieved(achieved_mW)
        scale = _SCALE_ONE
        if self.gain_mC_per_W and self.learns:
            scale = self._learn(corrected_mC - self._base_mC, achieved_mW, ticks)
        # ki · scale · error ≤ 8e3 · 5e3 = 4e7 µW/s, · 25 ticks = 1e9 < 2^30
        limited = error
        if limited > _INTEGRAL_ERROR_LIMIT_MC:
            limited = _INTEGRAL_ERROR_LIMIT_MC
        elif limited < -_INTEGRAL_ERROR_LIMIT_MC:
            limited = -_INTEGRAL_ERROR_LIMIT_MC
        before = self._integral_uW
        integral = before + (self.ki_mW_per_C_s * scale >> 10) * limited * ticks // 100
        if integral > _DEMAND_MAX_UW:
            integral = _DEMAND_MAX_UW
        elif integral < -_DEMAND_MAX_UW:
            integral = -_DEMAND_MAX_UW
        proportional = (self.kp_mW_per_C * scale >> 10) * error // 1000  # 4e4 · 2e4 = 8e8
        # 4e4 · 1.5e4, when the guard's governor takes the set-point back
        feedforward = (self.feedforward_mW_s_per_C * scale >> 10) * rate_mC_per_s // 1000
        wanted = proportional + feedforward + integral // 1000
        demand = wanted if wanted > 0 else 0
        if demand > ceiling_mW:
            demand = ceiling_mW
        self.saturated = wanted > ceiling_mW
        # beyond a limit the integral may only move back towards it
        if demand == wanted or (wanted > demand) == (integral < before):
            self._integral_uW = integral
        self.demand_mW = demand
        return demand

    def _follow_achieved(self, achieved_mW):
        """Where the stage gave clearly less than was asked (voltage, current, weak stage), lower the integral."""
        missing = self.demand_mW - achieved_mW
        if missing > self.demand_mW // 4 + 200 and self._integral_uW > 0:
            self._integral_uW = max(self._integral_uW - missing * 1000 // 8, 0)  # ≤ 5e7 / 8 a step

    def _learn(self, rise_mC, achieved_mW, ticks):
        """How much more power a degree takes than the gains are for, in 1/1024; learns it from this interval."""
        if achieved_mW > _LEARN_POWER_MAX_MW:
            achieved_mW = _LEARN_POWER_MAX_MW
        power = self._power_16th_mW
        power += (achieved_mW * 16 - power) * ticks // _LEARN_TICKS  # 9.6e5 · 25
        self._power_16th_mW = power
        if rise_mC > _JUDGED_FROM_MC:
            if rise_mC > _RISE_MAX_MC:
                rise_mC = _RISE_MAX_MC
            expected_mC = self.gain_mC_per_W * (power >> 4) // 1000  # 1.6e4 · 6e4 = 9.6e8
            wanted = expected_mC * 1024 // rise_mC  # 9.6e5 · 1024 < 2^30
            if wanted < _SCALE_LEAST:
                wanted = _SCALE_LEAST
            elif wanted > _SCALE_MOST:
                wanted = _SCALE_MOST
            self.scale_16th += (wanted * 16 - self.scale_16th) * ticks // _LEARN_TICKS
        return self.scale_16th >> 4
