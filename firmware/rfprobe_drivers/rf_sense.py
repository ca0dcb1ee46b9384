"""RMS voltage and current at the carrier, from two ADC inputs behind rectifiers, calibrated, in integers."""

from rfprobe_core.constant import const

VOLTAGE = 0
CURRENT = 1
_VOLTAGE = const(0)
_CURRENT = const(1)
CURRENT_MAX_UA = (1 << 22) - 1
_CURRENT_MAX_UA = const((1 << 22) - 1)  # 4.19 A, above every trip (3.3 A): keeps V · I small


def _scale(full_scale, gain_ppm):
    """(multiplier < 2^14, shift) so that counts · multiplier >> shift is the value; counts < 2^16."""
    value = full_scale * gain_ppm // 1_000_000
    shift = 0
    while (value << (shift + 1)) // 65_535 < 16_384:
        shift += 1
    return (value << shift) // 65_535, shift


class RfSense:
    """`read` takes this tick's measurement: `voltage_mV`, `current_uA`, never negative."""

    def __init__(self, board):
        self._board = board
        self._read_adc = board.read_adc
        self.voltage_mV = 0
        self.current_uA = 0
        self._v_multiplier = 0
        self._v_shift = 0
        self._v_offset_mV = 0
        self._i_multiplier = 0
        self._i_shift = 0
        self._i_offset_uA = 0
        self._v_full_scale_mV = 1
        self._i_full_scale_uA = 1

    def configure(self, v_full_scale_mV, i_full_scale_uA, v_gain_ppm, v_offset_mV, i_gain_ppm, i_offset_uA):
        self._v_multiplier, self._v_shift = _scale(v_full_scale_mV, v_gain_ppm)
        self._i_multiplier, self._i_shift = _scale(i_full_scale_uA, i_gain_ppm)
        self._v_offset_mV = v_offset_mV
        self._i_offset_uA = i_offset_uA
        self._v_full_scale_mV = v_full_scale_mV
        self._i_full_scale_uA = i_full_scale_uA

    def read(self):
        """Mean of two readings of each, interleaved so that both belong to the same moment."""
        read_adc = self._read_adc
        volts = read_adc(_VOLTAGE)
        amps = read_adc(_CURRENT)
        volts += read_adc(_VOLTAGE)
        amps += read_adc(_CURRENT)
        # mean counts < 2^16 · multiplier < 2^14
        voltage = ((volts >> 1) * self._v_multiplier >> self._v_shift) + self._v_offset_mV
        current = ((amps >> 1) * self._i_multiplier >> self._i_shift) + self._i_offset_uA
        self.voltage_mV = voltage if voltage > 0 else 0
        if current > _CURRENT_MAX_UA:
            current = _CURRENT_MAX_UA
        self.current_uA = current if current > 0 else 0

    def permille(self):
        """The larger of voltage and current in ‰ of the sense full scale: what says that RF is there."""
        volts = self.voltage_mV * 1000 // self._v_full_scale_mV  # ≤ 5e5 · 1000 < 2^29
        amps = (self.current_uA >> 4) * 1000 // (self._i_full_scale_uA >> 4)
        return volts if volts > amps else amps
