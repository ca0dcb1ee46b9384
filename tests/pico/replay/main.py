"""Plays the recorded stimulus to the firmware on the chip and prints the frames it sends, as hex."""

from binascii import hexlify

from onboard.replay import replay
from recording import FIRST_TICK, NONCE_SEED, RECORDING, START_US, UID

sent = replay(RECORDING, NONCE_SEED, UID, START_US, FIRST_TICK)
print("sent", len(sent))
for at in range(0, len(sent), 64):
    print(hexlify(sent[at : at + 64]).decode())
print("shown")
