"""One exchange a tick between the virtual probe and the virtual board: two records of fixed size.

Stimulus (probe → board): time, ADC counts, inputs, what each converter's analogue side shows, bytes from the host.
Response (board → probe): enable, drive duty, bytes to the host.
"""

STIMULUS = "<IHHHHBB"  # time, two readings of voltage and current in turn, inputs, count of host bytes
ANALOGUE = "<" + "iHBB" * 4  # before each chip, in its own steps: code, cold junction, faults; mode and kind
UPSET_AT = 14  # which bit of the memory flips, see upset.py; 0 for none
ANALOGUE_AT = 16
STIMULUS_HEAD = 48
RX_MAX = 64
STIMULUS_SIZE = STIMULUS_HEAD + RX_MAX

RESPONSE = "<BBHH"  # enable, 0, duty, count of bytes
RESPONSE_HEAD = 6
TX_MAX = 250
RESPONSE_SIZE = RESPONSE_HEAD + TX_MAX

# Bits of `inputs`
INTERLOCK_CLOSED = 1
FOOTSWITCH_PRESSED = 2
LINK_READY = 4
ENABLE_READS_HIGH = 8
ENABLE_READS_LOW = 16
DEADMAN_DEAF = 32
HEAP_LOW = 64

# In a chip's mode
MAX31855 = 0x40  # the kind of chip; a MAX31856 without
MODE_MASK = 0x3F
