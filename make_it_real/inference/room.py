"""Room in memory for large pictures: not every core may have one of 200 megapixels at once."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from PIL import Image

from make_it_real.images.decode import FORMATS, HUSHED
from make_it_real.inference.jobs import Job


def pixels_of(job: Job) -> int:
    """Read from the head of a job's file how many pixels it has; 0 where it does not say."""
    # Of a pipe nothing could be read again.
    if job.data is None and not os.path.isfile(job.source):
        return 0
    try:
        source = job.source if job.data is None else io.BytesIO(job.data)
        with HUSHED, Image.open(source, formats=FORMATS) as image:
            return image.width * image.height
    except Exception:
        return 0


class Room:
    """Room for so many pixels, which threads share. A picture of more waits until it is alone."""

    def __init__(self, pixels: int) -> None:
        self.pixels, self.taken = pixels, 0
        self.changed = Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Wait for room and hold it for a block of code, which must not take any more."""
        with self.changed:
            self.changed.wait_for(lambda: not self.taken or self.taken + pixels <= self.pixels)
            self.taken += pixels
        try:
            yield
        finally:
            with self.changed:
                self.taken -= pixels
                self.changed.notify_all()
