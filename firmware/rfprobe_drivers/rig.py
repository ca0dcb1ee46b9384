"""Puts the drivers on a board and the controller on the drivers: the same assembly on hardware and in simulation."""

from rfprobe_core.controller import Controller
from rfprobe_core.plan import THERMOCOUPLES
from rfprobe_drivers.max31856 import Max31856
from rfprobe_drivers.rf_sense import RfSense
from rfprobe_drivers.rf_stage import RfStage


def build_controller(board, first_tick=0):
    """The controller of one channel on `board`, in SELF_TEST with RF off."""
    chips = tuple([Max31856(board, place) for place in range(THERMOCOUPLES)])
    return Controller(board, RfSense(board), RfStage(board), chips, first_tick)
