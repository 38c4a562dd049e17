"""Pixels: grids and enlarging."""

import pytest
import torch

from make_it_real.images.pixels import enlarged, grid


def test_a_grid_lays_images_row_by_row_with_black_gaps() -> None:
    n, h, w, gap = 5, 2, 3, 1
    tiles = torch.arange(n).float().view(n, 1, 1, 1).expand(n, 2, h, w) / 10
    sheet = grid(tiles, columns=2, gap=gap)
    assert sheet.shape == (2, 3 * (h + gap) - gap, 2 * (w + gap) - gap)
    covered = torch.zeros(sheet.shape[1:], dtype=torch.bool)
    for i in range(n):
        y, x = i // 2 * (h + gap), i % 2 * (w + gap)
        assert torch.equal(sheet[:, y : y + h, x : x + w], tiles[i])
        covered[y : y + h, x : x + w] = True
    assert (sheet[:, ~covered] == -1).all()


@pytest.mark.parametrize(
    ("n", "rows", "columns"),
    [
        (1, 1, 1), (2, 1, 2), (3, 2, 2), (9, 3, 3), (10, 2, 5), (12, 3, 4), (13, 4, 4), (22, 5, 5),
        (32, 4, 8), (64, 8, 8),
    ],
)  # fmt: skip
def test_a_grid_is_about_square_with_full_rows(n: int, rows: int, columns: int) -> None:
    sheet = grid(torch.zeros(n, 1, 4, 4), gap=0)
    assert sheet.shape == (1, 4 * rows, 4 * columns)


def test_enlarging_makes_squares_of_equal_pixels() -> None:
    image = torch.arange(12.0).view(2, 2, 3)
    large = enlarged(image, 3)
    assert large.shape == (2, 6, 9)
    assert torch.equal(large[:, ::3, ::3], image)
    for dy in range(3):
        assert torch.equal(large[:, dy::3], large[:, ::3])
        assert torch.equal(large[:, :, dy::3], large[:, :, ::3])
    assert torch.equal(enlarged(image, 1), image)
