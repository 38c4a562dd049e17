"""ICC colour profiles: whether one is sRGB, and conversion to sRGB and back.

Little CMS converts 8-bit images. Pillow gives it no others, so deeper ones are converted here, by
the curves and primaries of their profile (ICC.1:2022, annex F.3).
"""

import io
import struct
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
# CIE XYZ, adapted to D50, of sRGB's red, green and blue in columns.
SRGB_TO_XYZ = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
# Steps of a curve. A profile that changes no colour by more than SAME, one level, counts as sRGB.
STEPS, SAME = 4096, 1 / 255
# Black points are compensated up to L* = 50, as Little CMS does: linear light.
MAX_BLACK = 0.184
# Little CMS uses these tables instead of the curves and primaries where a profile has both.
TABLES = {b"A2B0", b"A2B1", b"D2B0", b"D2B1"}
MAX_TAGS, MAX_JUDGED = 100, 1000


@dataclass(frozen=True)
class Shaper:
    """Curves and primaries of a profile.

    curves: (C, STEPS + 1) in [0, 1], linear light of each channel at even steps; C 3 for RGB, 1
    for grey. matrix: (3, 3), from linear light to linear sRGB; None for grey.
    """

    curves: Array
    matrix: Array | None

    def to_srgb(self, values: Array) -> Array:
        """Convert colours (…, C) in [0, 1] to sRGB, float32."""
        steps = np.linspace(0, 1, STEPS + 1)
        light = np.empty(values.shape, np.float32)
        for i, curve in enumerate(self.curves):
            light[..., i] = np.interp(values[..., i], steps, curve)
        if self.matrix is not None:
            light = light @ self.matrix.T.astype(np.float32)
        # Black-point compensation (ISO 18619).
        black = min(float(self.curves[:, 0].mean()), MAX_BLACK)
        light = ((light - black) / (1 - black)).clip(0, 1)
        # The curve of sRGB (IEC 61966-2-1).
        high = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
        result: Array = np.where(light <= 0.0031308, 12.92 * light, high)
        return result


def shaper(icc: bytes) -> Shaper | None:
    """Read the curves and primaries of a profile; None if it has none, or is damaged."""
    try:
        (count,) = struct.unpack_from(">I", icc, 128)
        rows = [struct.unpack_from(">4sII", icc, 132 + 12 * i) for i in range(min(count, MAX_TAGS))]
        tags = {key: icc[start : start + size] for key, start, size in rows}
        if icc[20:24] != b"XYZ " or not TABLES.isdisjoint(tags):
            return None
        if icc[16:20] == b"GRAY":
            return Shaper(_curve(tags[b"kTRC"])[None], None)
        curves = np.stack([_curve(tags[key]) for key in (b"rTRC", b"gTRC", b"bTRC")])
        columns = [struct.unpack_from(">3i", tags[key], 8) for key in (b"rXYZ", b"gXYZ", b"bXYZ")]
        return Shaper(curves, np.linalg.inv(SRGB_TO_XYZ) @ np.array(columns).T / 65536)
    except (struct.error, ValueError, LookupError, ArithmeticError):
        return None


def _curve(tag: bytes) -> Array:
    """Read a curve as a table (STEPS + 1) in [0, 1]. Raises ValueError for another tag."""
    x = np.linspace(0, 1, STEPS + 1)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        table = np.frombuffer(tag, ">u2", count, 12)
        if count > 1:
            return np.interp(x, np.linspace(0, 1, count), table / 65535)
        result: Array = x ** (int(table[0]) / 256) if count else x
        return result
    if tag[:4] != b"para":
        raise ValueError("no curve")
    (kind,) = struct.unpack_from(">H", tag, 8)
    # Each of the five kinds adds parameters to the one before it; letters as in the standard.
    numbers = struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)
    given = [n / 65536 for n in numbers]
    g, a, b, c, d, e, f = given + [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0][len(given) :]
    with np.errstate(all="ignore"):
        power = np.maximum(a * x + b, 0) ** g
        if kind in (1, 2):
            y = np.where(x >= -b / a, power, 0) + c
        else:
            y = np.where(x >= d, power + e, c * x + f)
    curve: Array = np.nan_to_num(y).clip(0, 1)
    return curve


_JUDGED: dict[bytes, bool] = {}


def is_srgb(icc: bytes) -> bool:
    """Whether a profile is sRGB, judged by its curves and primaries, whatever its name.

    Answers are cached, since cameras write only a few profiles.
    """
    key = blake2b(icc).digest()
    same = _JUDGED.get(key)
    if same is None:
        profile, same = shaper(icc), False
        if profile is not None:
            colours = _samples()[:, : len(profile.curves)]
            same = bool(np.abs(profile.to_srgb(colours) - colours).max() <= SAME)
        if len(_JUDGED) > MAX_JUDGED:
            _JUDGED.clear()
        _JUDGED[key] = same
    return same


@cache
def _samples() -> Array:
    """Make test colours (N, 3) in [0, 1]: 256 greys, and an even grid over the RGB cube."""
    greys = np.repeat(np.linspace(0, 1, 256)[:, None], 3, 1)
    cube = np.stack(np.meshgrid(*[np.linspace(0, 1, 9)] * 3), -1).reshape(-1, 3)
    return np.concatenate([greys, cube])


def colour_profile(icc: bytes | None) -> Any:
    """Make an ImageCmsProfile of a profile's bytes; None is sRGB. Raises OSError on damage."""
    # Only a few files need Little CMS.
    from PIL import ImageCms

    if icc is None:
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsProfile(io.BytesIO(icc))


def lab_profile() -> Any:
    """Make an ImageCmsProfile of CIE L*a*b* under D50, which TIFF uses."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))


def converted(
    image: Image.Image, source: Any, target: Any, mode: str, *, exact: bool = False
) -> Image.Image:
    """Convert an 8-bit image between profiles: relative colorimetric, black-point compensation.

    exact: without Little CMS's precomputed tables, which are faster but imprecise in the shadows
    of steep curves.
    """
    from PIL import ImageCms

    out = ImageCms.profileToProfile(
        image, source, target,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode=mode,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION
        | (ImageCms.Flags.NOOPTIMIZE if exact else ImageCms.Flags.NONE),
    )  # fmt: skip
    assert out is not None, "profileToProfile returns an image unless told to work in place"
    return out


def image_to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """Convert an 8-bit L, RGB or CMYK image from a profile to sRGB: L to L, the others to RGB.

    Raises what Little CMS raises for a damaged profile, or one for other kinds of images.
    """
    profile = colour_profile(icc)
    if image.mode != "L":
        return converted(image, profile, colour_profile(None), "RGB")
    curve = grey_curve(icc)
    levels = np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, len(curve)), curve)
    return image.point((levels * 255).round().astype(int).tolist())


def to_srgb(values: Array, icc: bytes) -> Array:
    """Convert colours (H, W, C) in [0, 1], C 1 or 3, from a profile to sRGB, float32.

    Colours of a profile of tables are rounded to 8 bits. Raises as ``image_to_srgb`` does.
    """
    profile = colour_profile(icc)
    if values.shape[-1] == 1:
        curve = grey_curve(icc)
        return np.interp(values, np.linspace(0, 1, len(curve)), curve).astype(np.float32)
    curves = shaper(icc)
    if curves is not None and curves.matrix is not None:
        return curves.to_srgb(values)
    image = Image.fromarray((values * 255).round().astype(np.uint8))
    return np.asarray(converted(image, profile, colour_profile(None), "RGB"), np.float32) / 255


def grey_curve(icc: bytes) -> Array:
    """Tabulate grey in a profile for grey or RGB → grey in sRGB: (N,) in [0, 1], even steps."""
    curves = shaper(icc)
    if curves is not None:
        ramp = np.linspace(0, 1, STEPS + 1)[:, None]
        levels: Array = curves.to_srgb(np.repeat(ramp, len(curves.curves), 1)).mean(1)
        return levels
    profile = colour_profile(icc)
    grey = "L" if profile.profile.xcolor_space.strip() == "GRAY" else "RGB"
    image = Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert(grey)
    out = converted(image, profile, colour_profile(None), "RGB", exact=True)
    curve: Array = np.asarray(out.convert("L"), dtype=np.float32)[0] / 255
    return curve


def from_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes | None]:
    """Convert an L or RGB image from sRGB to a profile: (image, profile).

    If the profile does not fit (for CMYK, for RGB where the image is grey, damaged), the image
    stays in sRGB and the profile is None. Bytes after the profile's end are cut off.
    """
    try:
        # Some programs pad profiles to megabytes.
        icc = icc[: int.from_bytes(icc[:4], "big")]
        profile = colour_profile(icc)
        if profile.profile.xcolor_space.strip() != {"L": "GRAY"}.get(image.mode, image.mode):
            return image, None
        if is_srgb(icc):
            return image, icc
        return converted(image.convert("RGB"), colour_profile(None), profile, image.mode), icc
    except Exception:
        # A file without a profile is read as sRGB, so the colours stay right.
        return image, None
