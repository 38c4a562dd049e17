"""Turned squares: the algebra of similarities, cutting out of a picture, and laying back."""

import cmath
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from make_it_real.images.alignment import EDGE, Similarity, cut_out
from make_it_real.images.decode import Picture
from make_it_real.images.framing import Fitted
from make_it_real.images.paste_back import put_back, restored

SIZE = 32
# Degrees clockwise, and the model's pixels for one of the picture's.
TURNS = [(0.0, 1.0), (0.0, 0.25), (25.0, 0.5), (-17.0, 0.03), (90.0, 0.2), (180.0, 0.5), (8.0, 2.5)]


def placed(tilt: float, scale: float, middle: complex, size: int = SIZE) -> Similarity:
    """A square tilted clockwise by so many degrees, around a point of the picture."""
    turn = scale * cmath.exp(-1j * math.radians(tilt))
    return Similarity(turn, complex(size, size) / 2 - turn * middle)


def ramp(height: int, width: int) -> Tensor:
    """A picture (3, H, W) that says at each point where it is: x and y in pixels, and 1."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)])


@pytest.mark.parametrize(("tilt", "scale"), TURNS)
def test_points_and_their_targets_give_the_similarity_back(tilt: float, scale: float) -> None:
    true = placed(tilt, scale, 300 + 200j)
    points = [10 + 20j, 400 - 3j, 200 + 200j, -40 + 90j]
    found = Similarity.between(points, [true.turn * p + true.shift for p in points])
    assert abs(found.turn - true.turn) < 1e-9
    assert abs(found.shift - true.shift) < 1e-6
    assert math.isclose(abs(found.tilt), abs(tilt), abs_tol=1e-6)
    assert math.isclose(found.side(SIZE), SIZE / scale)
    assert all(abs(true.back(true.turn * p + true.shift) - p) < 1e-9 for p in points)


def test_points_that_fit_none_are_met_in_the_least_squares() -> None:
    random = np.random.default_rng(0)
    points, targets = (random.normal(size=5) + 1j * random.normal(size=5) for _ in range(2))
    # u_x = a x − b y + c and u_y = b x + a y + d, solved as plain linear equations.
    rows, values = [], []
    for p, u in zip(points, targets, strict=True):
        rows += [[p.real, -p.imag, 1, 0], [p.imag, p.real, 0, 1]]
        values += [u.real, u.imag]
    a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(values))[0]
    found = Similarity.between(list(points), list(targets))
    assert abs(found.turn - (a + 1j * b)) < 1e-9
    assert abs(found.shift - (c + 1j * d)) < 1e-9


def test_points_that_coincide_have_no_similarity() -> None:
    with pytest.raises(ValueError, match="coincide"):
        Similarity.between([1 + 1j] * 5, [0, 1, 2, 3, 4])


@pytest.mark.parametrize(("tilt", "scale"), TURNS)
def test_each_pixel_is_cut_out_from_its_own_place(tilt: float, scale: float) -> None:
    side = SIZE / scale
    height, width = (math.ceil(1.6 * side) + 12 for _ in range(2))
    place = placed(tilt, scale, complex(width * 0.5 + 1.3, height * 0.5 - 0.7))
    found = cut_out(ramp(height, width), place, SIZE)
    assert found.shape == (3, SIZE, SIZE)
    for row, column in [(0, 0), (0, SIZE - 1), (SIZE - 1, 0), (SIZE // 2, 5), (9, 20)]:
        p = place.back(complex(column + 0.5, row + 0.5))
        x, y, one = found[:, row, column].tolist()
        # A tenth of the coarser of the two pixels.
        assert abs(complex(x, y) - p) < 0.1 * max(1, 1 / scale)
        assert abs(one - 1) < 1e-4


def test_what_lies_beyond_the_edge_goes_on_as_the_edge_is() -> None:
    picture = torch.full((1, 40, 40), 0.2)
    picture[:, :, :10] = 0.9
    found = cut_out(picture, placed(0, 1, 0 + 20j), SIZE)
    assert torch.allclose(found[:, :, :18], torch.tensor(0.9), atol=1e-4)
    assert torch.allclose(found[:, :, -4:], torch.tensor(0.2), atol=1e-4)


def test_a_fine_pattern_of_a_large_photo_becomes_its_mean() -> None:
    checks = (torch.arange(900)[:, None] + torch.arange(900)) % 2
    found = cut_out(checks[None].float(), placed(11, 0.04, 450 + 450j), SIZE)
    assert (found - 0.5).abs().max() < 0.01


@pytest.mark.parametrize(("tilt", "scale"), TURNS)
def test_a_change_goes_back_to_where_it_was_cut_out(tilt: float, scale: float) -> None:
    side = SIZE / scale
    height, width = math.ceil(1.7 * side) + 9, math.ceil(1.5 * side) + 14
    place = placed(tilt, scale, complex(width * 0.5 + 2, height * 0.5 - 1))
    picture = Picture(torch.full((3, height, width), 0.5) + 0.01 * torch.rand(3, height, width))
    before = picture.colour.clone()
    x = cut_out(picture.colour, place, SIZE) * 2 - 1
    y = x.clone()
    # The middle of the upper left quadrant.
    y[:, 6:14, 6:14] += 0.4
    image, alpha = restored(picture, [(Fitted(x, False, (), place), y)])
    assert alpha is None
    assert torch.equal(picture.colour, before)
    change = (image / 2 + 0.5 - picture.colour).mean(0)
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    v, u = place.look(rows, columns)
    inside = (v > 8.5) & (v < 11.5) & (u > 8.5) & (u < 11.5)
    # A filter reaches over two pixels of the model's, or of the picture's where these are larger.
    reach = 3 * max(1.0, 2 * scale)
    outside = (v < 6 - reach) | (v > 14 + reach) | (u < 6 - reach) | (u > 14 + reach)
    if scale <= 1:
        assert torch.allclose(change[inside], torch.tensor(0.2), atol=0.01)
    assert change[outside].abs().max() < 1e-5
    # What is changed in all is as much as in the model's image.
    assert float(change.sum()) == pytest.approx(0.2 * 8 * 8 / scale**2, rel=0.1)


def test_beyond_the_square_no_bit_is_changed() -> None:
    place = placed(20, 0.5, 70 + 60j)
    colour = torch.rand(3, 120, 140, generator=torch.Generator().manual_seed(0))
    out = put_back(colour, [(torch.full((3, SIZE, SIZE), 0.4), place)])
    v, u = place.look(torch.arange(120) + 0.5, torch.arange(140) + 0.5)
    beyond = (v < 0) | (u < 0) | (v > SIZE) | (u > SIZE)
    assert torch.equal(out[:, beyond], colour[:, beyond])
    margin = EDGE * SIZE
    inner = (v > margin) & (u > margin) & (v < SIZE - margin) & (u < SIZE - margin)
    assert torch.allclose(out[:, inner], (colour[:, inner] + 0.4).clamp(0, 1), atol=1e-6)
    changed = (out - colour)[:, ~beyond & ~inner]
    assert changed.min() >= 0
    assert changed.max() <= 0.4 + 1e-6


def test_the_change_fades_out_towards_the_edge() -> None:
    place = placed(0, 1, 16 + 16j)
    out = put_back(torch.zeros(1, SIZE, SIZE), [(torch.ones(1, SIZE, SIZE), place)])
    row = out[0, SIZE // 2]
    assert (row[1:6] > row[:5])[: int(EDGE * SIZE) - 1].all()
    assert row[0] < 0.1
    assert row[SIZE // 2] == 1
    assert torch.allclose(row, row.flip(0), atol=1e-6)


def test_bands_have_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    place = placed(-33, 0.4, 50 + 44j)
    generator = torch.Generator().manual_seed(1)
    colour, change = (
        torch.rand(3, 90, 100, generator=generator),
        torch.rand(3, SIZE, SIZE, generator=generator) - 0.5,
    )
    whole = put_back(colour, [(change, place)])
    monkeypatch.setattr("make_it_real.images.paste_back.BAND_PIXELS", 300)
    assert torch.allclose(put_back(colour, [(change, place)]), whole, atol=1e-6)


def test_a_square_that_hangs_over_the_edge_is_laid_back_as_far_as_it_goes() -> None:
    place = placed(10, 0.5, 2 + 3j)
    colour = torch.full((1, 50, 50), 0.5)
    out = put_back(colour, [(torch.full((1, SIZE, SIZE), 0.25), place)])
    assert out.shape == colour.shape
    assert torch.allclose(out[0, :8, :8], torch.tensor(0.75), atol=1e-5)
    assert torch.equal(out[:, 45:, 45:], colour[:, 45:, 45:])


def test_of_a_grey_photo_several_faces_get_colour_and_none_its_luminance() -> None:
    colour = torch.linspace(0.3, 0.7, 200).expand(1, 60, 200)
    tint = torch.tensor([0.2, -0.1, 0.05]).view(3, 1, 1).expand(3, SIZE, SIZE)
    places = [placed(0, 1, 30 + 30j), placed(0, 1, 50 + 30j), placed(15, 1, 150 + 30j)]
    out = put_back(colour, [(tint, place) for place in places])
    luma = torch.tensordot(torch.tensor((0.299, 0.587, 0.114)), out, 1)
    assert torch.allclose(luma, colour[0], atol=1e-5)
    for x in (30, 50, 150):
        assert out[0, 30, x] > out[1, 30, x] + 0.1
    assert torch.equal(out[:, :, 100], colour[:, :, 100].expand(3, -1))
