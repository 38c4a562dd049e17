"""Room for large pictures: who waits, who does not, and what the head of a file tells."""

import os
import threading
from pathlib import Path

import pytest
from PIL import Image

from make_it_real.inference.jobs import STDIN, Job
from make_it_real.inference.room import Room, pixels_of

OUT = Path("out.png")


def test_the_head_of_a_file_tells_its_pixels(tmp_path: Path, huge_png: bytes) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "x.jpg")
    (tmp_path / "bad.png").write_bytes(b"text")
    os.mkfifo(tmp_path / "pipe.png")
    assert pixels_of(Job(tmp_path / "x.jpg", OUT)) == 1200
    assert pixels_of(Job(STDIN, OUT, data=huge_png)) == 80_000**2
    for name in ("bad.png", "pipe.png", "none.png"):
        assert pixels_of(Job(tmp_path / name, OUT)) == 0


@pytest.mark.parametrize(("first", "second", "waits"), [(60, 50, True), (60, 40, False)])
def test_a_picture_waits_where_there_is_no_room(first: int, second: int, waits: bool) -> None:
    room, inside = Room(100), threading.Event()

    def work() -> None:
        with room.take(second):
            inside.set()

    with room.take(first):
        thread = threading.Thread(target=work)
        thread.start()
        assert inside.wait(0.2) is not waits
    thread.join(5)
    assert inside.is_set()
    assert room.taken == 0


def test_a_picture_larger_than_the_room_goes_alone_and_failures_give_it_back() -> None:
    room = Room(10)
    with pytest.raises(MemoryError), room.take(500):
        raise MemoryError
    with room.take(700):
        assert room.taken == 700
