"""How long ``mir --help`` takes beside ``import torch``: python tests/benchmarks/startup.py

Both are run in turn, nine times each; the medians and their ratio are printed.
"""

import statistics
import subprocess
import sys
import time


def seconds(*words: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    pairs = [
        (seconds("-m", "make_it_real", "--help"), seconds("-c", "import torch")) for _ in range(9)
    ]
    help_time, torch_time = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"mir --help    {help_time:.3f} s")
    print(f"import torch  {torch_time:.3f} s")
    print(f"ratio         {help_time / torch_time:.3f}")


if __name__ == "__main__":
    main()
