"""Whether the tip's reading answers to the power: what catches a thermocouple that is not where the heat is.

The profile says how the tip warms at least, by power, in the coldest tissue the probe is for: two first-order
terms behind a lag. This model is fed with the measured power, and a reading that stays clearly below it, or that
has once followed it better than it does now, is not the tip's. All in integers, once a conversion.
"""

from rfprobe_core.constant import const

# Conductivity rises by 1.8 % per °C, so that a hot tip spreads its heat wider: 0.6 % less rise per W and °C.
_SPREAD_PERMILLE_PER_C = const(6)
_SPREAD_RISE_MAX_MC = const(80_000)
_MODEL_POWER_MAX_MW = const(60_000)
_RISE_MAX_MC = const(300_000)
_TICKS_MAX = const(25)  # shorter than every time constant, so that no step overshoots
# Shares of the model, in 1/1024: the least in any tissue, and of the best that was seen in this run.
_SHARE_LEAST = const(717)  # 0.70
_SHARE_OF_BEST = const(840)  # 0.82
_SHARE_MAX = const(16_384)
_JUDGED_FROM_MC = const(5_000)  # below it a share is noise
_BEST_TICKS = const(160)  # time constant with which the best share is learnt
_STIRRED_MC = const(1_000)
_UNMOVED_UNTIL_MC = const(8_000)
# Where water boils the tip gets no warmer, whatever flows: no more than this is asked of a reading there.
_BOILS_MC = const(100_000)
_BOILING_READS_MC = const(90_000)
_COLD_START_MC = const(37_000)  # no tissue here is warmer by itself: what is above it is left from a run before


class HeatWatch:
    """`begin` a run, then `update` at each conversion of the control thermocouple while energised, `rest` else.

    After it: `expected_mC` (the model's rise), `shortfall_mC` (by how much the reading is below what it must be),
    `not_moved_mC` (the model's rise, while the reading has not moved; else 0). With RF off: `rise_when_off_mC` above
    the lowest reading, `not_cooled_mC` that are missing from the fall.
    """

    def __init__(self):
        self.expected_mC = 0
        self.shortfall_mC = 0
        self.not_moved_mC = 0
        self.rise_when_off_mC = 0
        self.not_cooled_mC = 0
        self._lag_ticks = 30
        self._fast_mC_per_W = 0
        self._fast_ticks = 30
        self._slow_mC_per_W = 0
        self._slow_ticks = 30
        self._may_boil = False
        self.base_mC = 0
        self._warm_start = False
        self._begin_at(0, False)

    def configure(self, lag_ms, fast_mC_per_W, fast_ms, slow_mC_per_W, slow_ms, may_boil=False):
        """Times are 300 ms and more, the two answers 16 °C/W at most: see plan.PARAMETERS.

        `may_boil` where a plan heats until the tissue boils.
        """
        self._lag_ticks = lag_ms // 10
        self._fast_mC_per_W = fast_mC_per_W
        self._fast_ticks = fast_ms // 10
        self._slow_mC_per_W = slow_mC_per_W
        self._slow_ticks = slow_ms // 10
        self._may_boil = may_boil

    def begin(self, control_mC, coolest_mC):
        """A run begins: `coolest_mC` is the coolest reading of all, −100 … 300 °C.

        Tissue that is warm from a run before cools during this one. It is measured from the coolest place, and
        its first share tells nothing of the tissue, so that only the least share counts.
        """
        base = coolest_mC if coolest_mC < _COLD_START_MC else _COLD_START_MC
        base = base if base < control_mC else control_mC
        self._begin_at(base, control_mC - base > 3_000)

    def _begin_at(self, base_mC, warm):
        self.base_mC = base_mC
        self._warm_start = warm
        self._energy_mJ = 0
        self._power_16th_mW = 0
        self._fast_16th_mC = 0
        self._slow_16th_mC = 0
        self._highest_mC = 0
        self._best_16th = 0
        self._lowest_mC = 0
        self._at_off_mC = 0
        self._expected_at_off_mC = 0
        self.expected_mC = 0
        self.shortfall_mC = 0
        self.not_moved_mC = 0
        self.rise_when_off_mC = 0
        self.not_cooled_mC = 0

    def update(self, reading_mC, energy_mJ, ticks):
        """One conversion further, energised: `energy_mJ` delivered since `begin`, `ticks` since the last update."""
        if ticks > _TICKS_MAX:
            ticks = _TICKS_MAX
        rise = self._rise(reading_mC)
        expected = self._model(energy_mJ, rise, ticks)
        self.expected_mC = expected
        share = _SHARE_LEAST
        if expected > _JUDGED_FROM_MC:
            share = self._share(rise, expected, ticks)
        demanded = (expected >> 6) * share >> 4  # 2^21 / 64 · 2^14 < 2^30
        if self._may_boil and demanded > _BOILING_READS_MC - self.base_mC:
            demanded = _BOILING_READS_MC - self.base_mC
        self.shortfall_mC = demanded - rise
        self.not_moved_mC = 0
        if rise < _STIRRED_MC:
            self.not_moved_mC = expected
            if expected < _UNMOVED_UNTIL_MC:
                self.shortfall_mC = 0  # a reading that does not move at all has a row of its own, with time to trip
        self._at_off_mC = reading_mC
        self._expected_at_off_mC = expected
        self._lowest_mC = reading_mC
        self.rise_when_off_mC = 0
        self.not_cooled_mC = 0

    def _rise(self, reading_mC):
        rise = reading_mC - self.base_mC
        if rise < 0:
            return 0
        return rise if rise < _RISE_MAX_MC else _RISE_MAX_MC

    def _model(self, energy_mJ, rise_mC, ticks):
        """The rise of the coldest tissue, m°C (≤ 2^21), for the energy that has come since the last update."""
        power = (energy_mJ - self._energy_mJ) * 100 // ticks  # ≤ 5e5 mJ in 25 ticks, · 100
        self._energy_mJ = energy_mJ
        if power > _MODEL_POWER_MAX_MW:
            power = _MODEL_POWER_MAX_MW
        lagged = self._power_16th_mW
        lagged += (power * 16 - lagged) * ticks // self._lag_ticks  # 9.6e5 · 25
        self._power_16th_mW = lagged
        if rise_mC > _SPREAD_RISE_MAX_MC:
            rise_mC = _SPREAD_RISE_MAX_MC
        # ≤ 9.6e5 · 1000 < 2^30
        power = lagged * 1_000 // (1_000 + _SPREAD_PERMILLE_PER_C * rise_mC // 1_000) >> 4
        fast = self._fast_16th_mC
        slow = self._slow_16th_mC
        # 6e4 mW · 1.6e4 m°C/W < 2^30; 16 · 9.6e5 · 25 < 2^29
        fast += ((power * self._fast_mC_per_W // 1_000 << 4) - fast) * ticks // self._fast_ticks
        slow += ((power * self._slow_mC_per_W // 1_000 << 4) - slow) * ticks // self._slow_ticks
        if self._may_boil:
            beyond = fast + slow - (_BOILS_MC - self.base_mC << 4)
            if beyond > 0:  # the fast term gives way, so that the fall after RF has ended is not overrated
                fast = fast - beyond if fast > beyond else 0
                slow = (_BOILS_MC - self.base_mC << 4) - fast
        self._fast_16th_mC = fast
        self._slow_16th_mC = slow
        return fast + slow >> 4

    def _share(self, rise_mC, expected_mC, ticks):
        """The share of the model that the reading must have; learns the best that it has had."""
        if expected_mC > self._highest_mC:
            self._highest_mC = expected_mC
        best = self._best_16th
        # while the model falls, the reading follows the tissue around: that says nothing of the tip
        if not self._warm_start and expected_mC >= self._highest_mC - (self._highest_mC >> 3):
            now = rise_mC * 1_024 // expected_mC  # 3e5 · 1024 < 2^29
            if now > _SHARE_MAX:
                now = _SHARE_MAX
            if now * 16 > best:
                best += (now * 16 - best) * ticks // _BEST_TICKS  # 2^18 · 25
                self._best_16th = best
        share = (best >> 4) * _SHARE_OF_BEST >> 10  # 2^14 · 840
        return share if share > _SHARE_LEAST else _SHARE_LEAST

    def rest(self, reading_mC, ticks, watched):
        """One conversion further with RF off; `watched` while a run is armed, resting or cooling down."""
        self.shortfall_mC = 0
        self.not_moved_mC = 0
        if not watched:
            self._lowest_mC = reading_mC
            self._at_off_mC = reading_mC
            self._expected_at_off_mC = 0
            self._power_16th_mW = 0
            self._fast_16th_mC = 0
            self._slow_16th_mC = 0
        if reading_mC < self._lowest_mC:
            self._lowest_mC = reading_mC
        self.rise_when_off_mC = reading_mC - self._lowest_mC
        expected = self._model(self._energy_mJ, self._rise(reading_mC), ticks if ticks < _TICKS_MAX else _TICKS_MAX)
        # even the tissue that keeps its heat best gives up, at first, what the last power had put on top
        fallen = (self._expected_at_off_mC - expected) * 5 // 8  # ≤ 2^21 · 5
        self.not_cooled_mC = fallen - (self._at_off_mC - reading_mC)
