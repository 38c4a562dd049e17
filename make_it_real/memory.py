"""Memory that tensors give back is kept for the next ones.

glibc gives large blocks back to the system at once, which has to clear each of their pages before
they can be had again. The layers of f give back and ask for such blocks all the time.
"""

import ctypes
import sys

# Parameters of glibc's mallopt, from its malloc.h: above how much free memory at its end the heap
# is cut down, how many blocks may lie outside of it, and how many heaps threads may have. What lies
# in heaps of threads' own is small: large blocks would lie outside of them.
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8
MOST = 2**31 - 1


def keep() -> None:
    """Let this process keep what is freed, where its C library is glibc; else do nothing.

    The process then holds about the most memory that it ever needed at once until it ends.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in ((TRIM_THRESHOLD, MOST), (MMAP_MAX, 0), (ARENA_MAX, 1)):
            mallopt(parameter, value)
