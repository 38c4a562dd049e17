"""What tests of several folders share."""

import os
import subprocess
import sys

from PIL import Image, ImageDraw

from make_it_real.images import faces


def torchrun(*words: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a script in several processes, as ``torchrun`` does."""
    search = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def drawn_face(side: int, corner: tuple[int, int], sheet: tuple[int, int]) -> Image.Image:
    """A line drawing of a face on a white sheet, by an aligned square: its side and corner."""
    image = Image.new("RGB", sheet, "white")
    draw = ImageDraw.Draw(image)
    pen = max(2, side // 70)

    def at(*shares: float) -> list[float]:
        return [corner[i % 2] + share * side for i, share in enumerate(shares)]

    draw.ellipse(at(0.21, 0.12, 0.79, 0.97), outline="black", width=pen)
    for eye in (faces.LANDMARKS[0].real, faces.LANDMARKS[1].real):
        draw.ellipse(at(eye - 0.06, 0.49, eye + 0.06, 0.55), outline="black", width=pen)
        draw.ellipse(at(eye - 0.02, 0.5, eye + 0.02, 0.54), fill="black")
        draw.arc(at(eye - 0.08, 0.42, eye + 0.08, 0.5), 200, 340, "black", pen)
    draw.line(at(0.5, 0.55, 0.46, 0.67, 0.52, 0.68), "black", pen)
    draw.line(at(0.39, 0.79, 0.61, 0.79), "black", 2 * pen)
    for i in range(30):
        x = 0.22 + 0.56 * i / 29
        y = 0.54 - 0.42 * max(0.0, 1 - ((x - 0.5) / 0.29) ** 2) ** 0.5
        draw.line(at(x, y, x + 0.02, y + 0.13), "black", pen)
    return image
