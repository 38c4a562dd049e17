"""Everything random of one training step, for a whole batch or a part of it."""

from dataclasses import dataclass

from torch import Tensor

from make_it_real.augmentation import Augmentation


@dataclass(frozen=True)
class Draw:
    """A batch, or a part of one: x and z (B, C, S, S), Ax of the first of x (up to B, C, S, S),
    and what else a step draws.

    change: of what the critic sees; rest: how often f is applied to fz before it is disturbed
    by ``sigma`` (B/4,) times ``white`` (B/4, C, S, S).
    """

    x: Tensor
    z: Tensor
    Ax: Tensor
    change: Augmentation | None
    rest: int
    sigma: Tensor
    white: Tensor

    def shown(self, images: Tensor) -> Tensor:
        """What the critic sees of images (n ≤ B, C, S, S)."""
        return images if self.change is None else self.change[slice(len(images))](images)

    def part(self, i: int, count: int) -> "Draw":
        """The i-th of ``count`` equal parts. The batch's quarters have roles: each is divided.

        So the mean over all parts of a loss is that of the whole, as is its gradient.
        """
        if count == 1:
            return self
        b = len(self.x)

        def share(values: Tensor) -> Tensor:
            quarters = 4 * len(values) // b
            return values.view(quarters, count, -1, *values.shape[1:])[:, i].flatten(0, 1)

        change = self.change
        if change is not None:
            change = Augmentation(*map(share, (change.shift, change.hole, change.light)))
        return Draw(
            share(self.x), share(self.z), share(self.Ax), change, self.rest,
            share(self.sigma), share(self.white),
        )  # fmt: skip
