"""What tests of several folders share."""

import os
import subprocess
import sys


def torchrun(*words: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a script in several processes, as ``torchrun`` does."""
    search = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
