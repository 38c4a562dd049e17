"""What is freed is kept: large tensors get the pages of those before them."""

import ctypes
import platform
import subprocess
import sys

import pytest

from make_it_real import memory

# Prints how many pages the system had to give for a tensor of 64 MB, the least of 10, of which one
# is there at a time, in the main thread or in another. The first ones leave room for the others.
FAULTS = """
import resource
import sys
import threading
import torch
from make_it_real import memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    given = []
    for _ in range(10):
        before = faults()
        torch.zeros(2**24)
        given.append(faults() - before)
    print(min(given))

if "keep" in sys.argv:
    memory.keep()
if "thread" in sys.argv:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
else:
    work()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize("thread", ["main", "thread"])
def test_large_tensors_get_the_pages_of_those_before_them(thread: str) -> None:
    def faults(*how: str) -> int:
        command = [sys.executable, "-c", FAULTS, thread, *how]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    pages = 2**26 // 4096
    assert faults() > pages / 2
    assert faults("keep") < pages / 100


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    memory.keep()
    assert not asked
