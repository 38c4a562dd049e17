"""The detector: faces found in photos, whatever their place, size and tilt."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from make_it_real.images import decode, faces
from make_it_real.images.alignment import Similarity

PORTRAITS = Path(__file__).parents[2] / "examples" / "portraits"
needs_detector = pytest.mark.skipif(
    not faces.available(), reason="needs the extra: pip install 'make-it-real[faces]'"
)


@pytest.fixture(scope="module")
def collins() -> Image.Image:
    with Image.open(PORTRAITS / "collins.jpg") as image:
        return image.convert("RGB")


@pytest.fixture(scope="module")
def hopper() -> Image.Image:
    with Image.open(PORTRAITS / "hopper.jpg") as image:
        return image.convert("RGB")


def colour_of(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1) / 255


def found(image: Image.Image) -> list[faces.Face]:
    seen = faces.find(colour_of(image))
    assert seen is not None
    return seen


def apart(one: Similarity, other: Similarity, size: int = 64) -> float:
    """How far the corners of two squares lie apart on average, in the model's pixels."""
    corners = [other.back(u) for u in (0, size, size * 1j, size * (1 + 1j))]
    targets = (0, size, size * 1j, size * (1 + 1j))
    return sum(
        abs(one.turn * p + one.shift - u) for p, u in zip(corners, targets, strict=True)
    ) / len(corners)


def test_landmarks_lie_where_celeba_has_them() -> None:
    # By list_landmarks_align_celeba.txt, in pixels of 178×218, on average: both eyes and both
    # corners of the mouth. Of these images 148×148 from column 15 and row 35 on are taken.
    annotated = (69.5 + 111j, 108 + 111j, 71.6 + 152j, 106.6 + 152j)
    for found, known in zip(faces.template(64), annotated, strict=True):
        assert abs(found - (known + 0.5 + 0.5j - (15 + 35j)) * 64 / 148) < 1
    assert faces.template(128) == tuple(2 * p for p in faces.template(64))


@needs_detector
@pytest.mark.parametrize("name", ["collins", "hopper"])
def test_eyes_and_mouths_are_found_where_they_are(name: str) -> None:
    with Image.open(PORTRAITS / f"{name}.jpg") as image:
        (face,) = found(image)
    distance = abs(face.points[1] - face.points[0])
    for point, seen in zip(face.points, SEEN[name], strict=True):
        assert abs(point - seen) < 0.2 * distance


# Pupils and corners of the mouth, by hand.
SEEN = {
    "collins": (204.5 + 101j, 246.5 + 103.5j, 203 + 140j, 246 + 140j),
    "hopper": (224 + 190.5j, 305 + 187j, 230 + 281j, 303 + 277j),
}


@needs_detector
@pytest.mark.parametrize(
    ("degrees", "factor"), [(0, 0.25), (0, 3), (20, 1), (-20, 1), (12, 0.5), (-9, 2)]
)
def test_a_portrait_turned_and_resized_is_found_in_its_new_place(
    collins: Image.Image, degrees: float, factor: float
) -> None:
    (upright,) = found(collins)
    side = round(collins.width * factor)
    turned = collins.resize((side, side), Image.Resampling.LANCZOS).rotate(
        degrees, Image.Resampling.BICUBIC
    )
    (face,) = found(turned)
    # Pillow turns counterclockwise, around the middle.
    turn = factor * complex(math.cos(math.radians(degrees)), -math.sin(math.radians(degrees)))
    middle = complex(*collins.size) / 2
    moved = [turn * (p - middle) + middle * factor for p in upright.points]
    expected = Similarity.between(moved, faces.template(64))
    assert apart(face.place(64), expected) < 4
    assert abs(face.place(64).tilt - expected.tilt) < 6


@needs_detector
def test_several_faces_come_the_largest_first(collins: Image.Image, hopper: Image.Image) -> None:
    group = Image.new("RGB", (1100, 620), "#456")
    small = collins.resize((300, 300))
    group.paste(small, (20, 200))
    group.paste(hopper, (340, 10))
    group.paste(small.resize((200, 200)), (870, 300))
    seen = found(group)
    middles = [face.place(64).back(32 + 32j) for face in seen]
    sides = [face.place(64).side(64) for face in seen]
    assert len(seen) == 3
    assert sides == sorted(sides, reverse=True)
    for middle, (left, top, width, height) in zip(
        middles, [(340, 10, 512, 600), (20, 200, 300, 300), (870, 300, 200, 200)], strict=True
    ):
        assert left < middle.real < left + width
        assert top < middle.imag < top + height


@needs_detector
def test_grey_photos_have_faces_too(collins: Image.Image) -> None:
    (face,) = found(collins)
    grey = faces.find(colour_of(collins).mean(0, keepdim=True))
    assert grey is not None
    assert apart(grey[0].place(64), face.place(64)) < 3


@needs_detector
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (2000, 3), (10, 10), (400, 300)])
def test_no_faces_are_found_where_there_are_none(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    assert found(Image.fromarray(noise)) == []
    assert found(Image.new("RGB", size, "#777")) == []


@needs_detector
def test_threads_find_the_same_faces(collins: Image.Image, hopper: Image.Image) -> None:
    pictures = [colour_of(image) for image in (collins, hopper)] * 2
    alone = [faces.find(picture) for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(faces.find, pictures)) == alone


@needs_detector
def test_a_file_of_the_examples_is_read_and_its_face_found() -> None:
    for path in sorted(PORTRAITS.glob("*.jpg")):
        seen = faces.find(decode.read(path).colour)
        assert seen is not None
        assert len(seen) == 1, path.name


def test_without_the_extra_nothing_is_found_and_that_is_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faces, "_THREAD", threading.local())
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    assert not faces.available()
    assert faces.find(torch.zeros(3, 8, 8)) is None
