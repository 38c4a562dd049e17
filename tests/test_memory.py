"""What is freed is kept: large tensors get the pages of those before them."""

import ctypes
import platform
import subprocess
import sys

import pytest

from make_it_real import memory

# Prints how many pages the system had to give for tensors of 64 MB, of which one is there at a
# time, in the main thread or in others: of 10 such tensors, after 30.
FAULTS = """
import resource
import sys
import threading
import torch
from make_it_real import memory

def work(times):
    for _ in range(times):
        torch.zeros(2**24)

if "keep" in sys.argv:
    memory.keep()
for times in (30, 10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    if "thread" in sys.argv:
        thread = threading.Thread(target=work, args=[times])
        thread.start()
        thread.join()
    else:
        work(times)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize("thread", ["main", "thread"])
def test_large_tensors_get_the_pages_of_those_before_them(thread: str) -> None:
    def faults(*how: str) -> int:
        command = [sys.executable, "-c", FAULTS, thread, *how]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    pages = 2**26 // 4096
    assert faults() > 5 * pages
    assert faults("keep") < pages / 10


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    memory.keep()
    assert not asked
