"""Plays the recorded stimulus that lies in the flash to the firmware on the chip and prints what it sends, as hex.

The recording is unpacked as it is played: at once it would need more heap than there is.
"""

from binascii import hexlify

from deflate import ZLIB, DeflateIO
from onboard.replay import play
from recording import FIRST_TICK, NAME, NONCE_SEED, START_US, UID

sent = bytearray()
with open(NAME, "rb") as packed:
    for told in play(DeflateIO(packed, ZLIB), NONCE_SEED, UID, START_US, FIRST_TICK):
        sent += told
print("sent", len(sent))
for at in range(0, len(sent), 64):
    print(hexlify(sent[at : at + 64]).decode())
print("shown")
