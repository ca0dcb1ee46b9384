"""The temperature loop: error → power demand. Runs once a conversion, in integers.

Position form: feed-forward for the ramp, proportional and integral on the error of the lag-corrected reading
(the correction is the derivative action: on the measurement, by the sensor's known lag, from a least-squares
slope). The integral follows the power that was really delivered whenever a limit held it back.
"""

from rfprobe_core.constant import const

_ERROR_LIMIT_MC = const(20_000)
_INTEGRAL_ERROR_LIMIT_MC = const(10_000)
DEMAND_MAX_MW = 50_000
_DEMAND_MAX_UW = const(50_000_000)


class TemperatureLoop:
    """`update` gives the power demand in mW, 0 … ceiling."""

    def __init__(self):
        self.kp_mW_per_C = 0
        self.ki_mW_per_C_s = 0
        self.feedforward_mW_s_per_C = 0
        self.demand_mW = 0
        self.saturated = False
        self._integral_uW = 0

    def configure(self, kp_mW_per_C, ki_mW_per_C_s, feedforward_mW_s_per_C):
        self.kp_mW_per_C = kp_mW_per_C
        self.ki_mW_per_C_s = ki_mW_per_C_s
        self.feedforward_mW_s_per_C = feedforward_mW_s_per_C
        self.reset()

    def reset(self):
        self.demand_mW = 0
        self.saturated = False
        self._integral_uW = 0

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
        # ki · error ≤ 4e3 · 1e4 = 4e7 µW/s, · 25 ticks = 1e9 < 2^30
        limited = error
        if limited > _INTEGRAL_ERROR_LIMIT_MC:
            limited = _INTEGRAL_ERROR_LIMIT_MC
        elif limited < -_INTEGRAL_ERROR_LIMIT_MC:
            limited = -_INTEGRAL_ERROR_LIMIT_MC
        before = self._integral_uW
        integral = before + self.ki_mW_per_C_s * limited * ticks // 100
        if integral > _DEMAND_MAX_UW:
            integral = _DEMAND_MAX_UW
        elif integral < -_DEMAND_MAX_UW:
            integral = -_DEMAND_MAX_UW
        proportional = self.kp_mW_per_C * error // 1000  # 2e4 · 2e4 = 4e8
        feedforward = self.feedforward_mW_s_per_C * rate_mC_per_s // 1000  # 2e4 · 5e3 = 1e8
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
