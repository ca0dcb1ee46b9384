"""Plays the recorded stimulus to the firmware on the chip and prints the frames it sends, as hex."""

from binascii import hexlify
from io import BytesIO

from deflate import ZLIB, DeflateIO
from onboard.replay import replay
from recording import COMPRESSED, FIRST_TICK, NONCE_SEED, SIZE, START_US, UID

recording = bytearray(SIZE)  # at once: what is read piece by piece needs the heap twice
DeflateIO(BytesIO(COMPRESSED), ZLIB).readinto(recording)
sent = replay(recording, NONCE_SEED, UID, START_US, FIRST_TICK)
print("sent", len(sent))
for at in range(0, len(sent), 64):
    print(hexlify(sent[at : at + 64]).decode())
print("shown")
