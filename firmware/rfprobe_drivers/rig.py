"""Puts the drivers on a board and the controller on the drivers: the same assembly on hardware and in simulation."""

from rfprobe_core.controller import Controller
from rfprobe_core.plan import THERMOCOUPLES
from rfprobe_drivers.max31855 import Max31855
from rfprobe_drivers.max31856 import Max31856
from rfprobe_drivers.rf_sense import RfSense
from rfprobe_drivers.rf_stage import RfStage


def build_controller(board, first_tick=0):
    """The controller of one channel on `board`, in SELF_TEST with RF off."""
    converters = tuple([(Max31856(board, place), Max31855(board, place)) for place in range(THERMOCOUPLES)])
    return Controller(board, RfSense(board), RfStage(board), converters, first_tick)
