"""A processor's threads: images are divided among them, and each computes its own alone.

Where all threads share every layer, they wait for each other after each of them, and all of them
wait for a core that another program took. With images of their own they wait once.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

# With fewer images a thread, some threads would have much more to do than others.
FEWEST = 4


def divided(
    work: Callable[[Tensor], tuple[Tensor, ...]], images: Tensor, device: torch.device
) -> tuple[Tensor, ...]:
    """Compute work(images) of images (N, …): each of torch's threads an equal share of them.

    work: maps images to one or more results with a row for each image; it is called in several
    threads at once. device: where it computes. On a GPU, and of fewer than 4 images a thread, it is
    called once with all of them.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(images) < FEWEST * threads:
        return work(images)
    # OpenMP counts the threads of each of its callers, MKL those of the process.
    torch.set_num_threads(1)
    try:
        results = list(_workers(threads).map(work, images.chunk(threads)))
    finally:
        torch.set_num_threads(threads)
    return tuple(torch.cat(parts) for parts in zip(*results, strict=True))


@cache
def _workers(count: int) -> ThreadPoolExecutor:
    """Start so many workers, each of which computes with one thread, and keep them."""
    return ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))
