"""Plays a recording in the MicroPython VM: file, nonce seed, unique id, start_us, first tick; frames to stdout."""

import sys

from onboard.replay import replay


def main():
    path, nonce_seed, uid, start_us, first_tick = sys.argv[1:6]
    with open(path, "rb") as file:
        recording = file.read()
    sys.stdout.buffer.write(replay(recording, int(nonce_seed), uid, int(start_us), int(first_tick)))


main()
