"""What a process that decodes damaged files may do wrong. It imports this module: no more than that here."""

import logging
import os
import signal
import time

from bench.fuzz_decoder import MEMORY


def hang(data, decoding):
    time.sleep(1000)


def crash(data, decoding):
    os.kill(os.getpid(), signal.SIGSEGV)


def fail(data, decoding):
    raise ZeroDivisionError


def log(data, decoding):
    logging.getLogger("decoder").error("odd")
    return True


def allocate(data, decoding):
    return bool(bytearray(2 * MEMORY))


def load_slowly():
    """Stand for a machine on which the process takes long to begin."""
    time.sleep(3)
    return accept


def accept(data, decoding):
    return True


class LoadsSlowly:
    def __reduce__(self):
        return load_slowly, ()
