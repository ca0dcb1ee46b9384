"""Puts the drivers on a board and the controller on the drivers: the same assembly on hardware and in simulation."""

from rfprobe_core.controller import Controller
from rfprobe_core.plan import CHANNELS, THERMOCOUPLES
from rfprobe_drivers.max31855 import Max31855
from rfprobe_drivers.max31856 import Max31856
from rfprobe_drivers.rf_sense import RfSense
from rfprobe_drivers.rf_stage import RfStage


def build_controller(board, first_tick=0):
    """What ticks on `board`: the controller of its channel, or the pair of its two, in SELF_TEST with RF off."""
    if board.channels == CHANNELS:
        return _build_pair(board, first_tick)
    return _on(board, Controller, first_tick)


def _on(board, kind, first_tick):
    converters = tuple([(Max31856(board, place), Max31855(board, place)) for place in range(THERMOCOUPLES)])
    return kind(board, RfSense(board), RfStage(board), converters, first_tick)


def _build_pair(board, first_tick):
    # imported where a second channel is fitted: one alone has the memory to itself
    from rfprobe_core.pair import Channel, Pair, SecondChannel
    from rfprobe_drivers.channel_board import ChannelBoard, Shared

    shared = Shared(board)
    kinds = (Channel, SecondChannel)
    return Pair(board, tuple([_on(ChannelBoard(shared, number), kinds[number], first_tick) for number in (0, 1)]))
