"""How fast f of photographs is beside OpenCV's NLM, and how much of that a folder job keeps.

    python tests/benchmarks/photos.py [--quick] [--model photos] [--photos PATH] [--format png]

On one core: CPU seconds a megapixel of OpenCV's non-local means and of f, in float32 and, where
``mir project`` would choose it, in bfloat16, on the same picture with the same noise. On all cores:
pictures a second of f alone (a worker a core, each with a thread of its own), and of ``mir
project`` as a process, with its start, on a folder of JPEGs. These are 20 photographs of 12
megapixels, enlarged and with noise, so that f has something to repair. They are made of the
pictures in PATH, a folder or zip, or else of drawn shapes. ``--quick`` makes 4 of 3 megapixels.
Wanted are 1.0 CPU seconds a megapixel at most, and 0.9 of f alone at least. Ratios are of one run;
compare them only where nothing else uses the machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import torch
from torch import Tensor

import make_it_real
from make_it_real import devices, memory
from make_it_real.data.image_folder import decode_pictures, list_images
from make_it_real.degradations.kinds import degraded
from make_it_real.evaluation.peers import opencv_nlm
from make_it_real.images import encode
from make_it_real.images.decode import Picture, read
from make_it_real.images.pixels import on_white, scaled, to_channels, to_images, to_pixels
from make_it_real.inference.projection import project
from make_it_real.models.ign import IGN

# Standard deviation of the noise in 8-bit levels, and quality of the JPEGs.
SIGMA, QUALITY = 10.0, 92
# How often what is timed on one core is repeated.
TIMES = 3


def drawn(seed: int) -> Tensor:
    """Draw overlapping shapes on a gradient: an image (3, 240, 320) in [−1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 240), torch.linspace(-1, 1, 320), indexing="ij")
    numbers = torch.rand(40, 7, generator=generator) * 2 - 1
    image = torch.stack([x * a + y * b for a, b in numbers[:3, :2].tolist()]) / 2
    for row in numbers:
        inside = (x - row[0]).abs() ** 3 + (y - row[1]).abs() ** 3 < row[2].abs() ** 3 / 8
        image = torch.where(inside, row[3:6, None, None], image)
    return image


def originals(path: Path | None, count: int) -> list[Tensor]:
    """Read the first pictures of a folder or zip, or draw some: images (3, H, W) in [−1, 1]."""
    if path is None:
        return [drawn(seed) for seed in range(count)]
    refs = list_images(path, set()).refs[:count]
    pictures = [one for one in decode_pictures(refs) if isinstance(one, Picture)]
    return [to_channels(on_white(picture), 3) for picture in pictures]


def photograph(image: Tensor, width: int, height: int, seed: int) -> Tensor:
    """Enlarge an image (3, H, W) to that size and add noise: uint8 (3, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    large = scaled(image, height, width)[None]
    return to_pixels(degraded(large, "noise", SIGMA / 127.5, generator=generator))[0]


def cpu_seconds(work: Callable[[], object], megapixels: float) -> float:
    """CPU seconds that ``work`` takes for each megapixel, the least of a few times."""
    taken = []
    for _ in range(TIMES):
        start = time.process_time()
        work()
        taken.append((time.process_time() - start) / megapixels)
    return min(taken)


def one_core(f: IGN, pixels: Tensor) -> None:
    """Print CPU seconds a megapixel of f and of OpenCV, and their ratio."""
    import cv2

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    array, megapixels = pixels.permute(1, 2, 0).contiguous().numpy(), pixels[0].numel() / 1e6
    images = to_images(pixels)[None]
    nlm = cpu_seconds(lambda: opencv_nlm(array, SIGMA), megapixels)
    print(f"{'OpenCV NLM, one core':24}{nlm:8.2f} CPU seconds a megapixel")
    chosen = f.precision
    for f.precision in dict.fromkeys([torch.float32, chosen]):
        own = cpu_seconds(lambda: project(f, images), megapixels)
        name = f"f in {str(f.precision).removeprefix('torch.')}, one core"
        print(f"{name:24}{own:8.2f} CPU seconds a megapixel{own / nlm:8.2f} of OpenCV NLM")
    torch.set_num_threads(threads)


def alone(f: IGN, images: Tensor, count: int) -> float:
    """Seconds in which f is applied to an image (1, 3, H, W) ``count`` times, a worker a core."""
    workers = torch.get_num_threads()
    left = iter(range(count))
    lock = threading.Lock()

    def work() -> None:
        torch.set_num_threads(1)
        while True:
            with lock:
                if next(left, None) is None:
                    return
            project(f, images)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    torch.set_num_threads(1)
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    torch.set_num_threads(workers)
    return seconds


def folder_job(folder: Path, out: Path, words: list[str]) -> float:
    """Seconds of ``mir project`` on a folder, as a process."""
    command = [sys.executable, "-m", "make_it_real", "project", str(folder), "-o", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(make_it_real.__file__).parents[1])}
    start = time.perf_counter()
    command += ["-q", "-d", "cpu", *words]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", default="photos")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--format", default="png")
    options = parser.parse_args()
    count, (width, height) = (4, (2000, 1500)) if options.quick else (20, (4000, 3000))

    # As mir project does.
    memory.keep()
    f = make_it_real.load(options.model, "cpu")
    f.precision = devices.precision("auto", f.device, repairs=f.config.source == "none")
    images = originals(options.photos, count)
    one_core(f, photograph(images[0], 1280, 960, 0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "photographs")
        folder.mkdir()
        for i, image in enumerate(islice(cycle(images), count)):
            large = to_images(photograph(image, width, height, i))
            data = encode.encode(large, format="JPEG", quality=QUALITY)
            (folder / f"{i:02d}.jpg").write_bytes(data)
        start = time.perf_counter()
        decoded = on_white(read(folder / "00.jpg"))[None]
        reading = time.perf_counter() - start
        seconds = alone(f, decoded, count)
        start = time.perf_counter()
        encode.encode(decoded[0])
        writing = time.perf_counter() - start
        out = Path(temporary, "out")
        whole = folder_job(folder, out, ["-m", options.model, "--format", options.format])
        assert len(list(out.iterdir())) == count

    megapixels = count * width * height / 1e6
    print(f"{count} photographs of {width}×{height} pixels, {torch.get_num_threads()} cores")
    print(f"reading one {reading:.2f} s, writing one as PNG {writing:.2f} s")
    for name, taken in (("f alone", seconds), ("mir project", whole)):
        rate = megapixels / taken
        print(f"{name:24}{rate:8.3g} megapixels a second{seconds / taken:8.2f} of f alone")


if __name__ == "__main__":
    main()
