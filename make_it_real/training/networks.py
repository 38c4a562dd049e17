"""The default network f of each objective."""

from typing import Any

from make_it_real.models.ign import IGNConfig


def default_model(image_size: int, channels: int) -> IGNConfig:
    """Choose the network for a size: it halves the side at least twice, to at most 8 pixels.

    Raises ValueError for sizes that are no multiple of 4.
    """
    widths = [64, 128]
    side = image_size // 4
    while side > 8 and side % 2 == 0:
        widths.append(256)
        side //= 2
    # Components are images: of larger ones they would outweigh the network.
    source = "mixture" if image_size <= 64 else "spectral"
    if len(widths) == 2:
        return IGNConfig(image_size, channels, 16, tuple(widths), 128, source=source)
    return IGNConfig(
        image_size, channels, 16, tuple(widths), 512, blocks=2, attention=True, code=64, fine=1,
        filters=True, source=source, dead_zone=0.004, rest=0.02,
    )  # fmt: skip


def paper_model(image_size: int, channels: int, **changes: Any) -> IGNConfig:
    """Build the config of the paper's DCGAN: the side is halved, rounding up, to 4 pixels.

    The code is 512 wide. changes: fields of ``IGNConfig``. Raises ValueError for sizes that do not
    lead to 2 to 4 pixels.
    """
    widths: list[int] = []
    side = image_size
    while side > 4:
        widths.append(min(512, 64 * 2 ** len(widths)))
        side = (side + 1) // 2
    settings: dict[str, Any] = {
        "widths": tuple(widths), "bottleneck": 512, "dead_zone": 0.0, "rest": 0.0,
        "architecture": "dcgan", "norm": "batch", "source": "published",
    }  # fmt: skip
    return IGNConfig(image_size, channels, **settings | changes)
