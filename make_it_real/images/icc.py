"""ICC colour profiles: colours to sRGB and back, by Little CMS."""

import io
from typing import Any

import numpy as np
from PIL import Image


def colour_profile(icc: bytes | None) -> Any:
    """An ImageCmsProfile of an ICC profile's bytes; None is sRGB. Raises OSError on damage."""
    # Little CMS is loaded for the few files that need it only.
    from PIL import ImageCms

    if icc is None:
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsProfile(io.BytesIO(icc))


def lab_profile() -> Any:
    """CIE L*a*b* under D50, as TIFF has it, as an ImageCmsProfile."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))


def is_srgb(profile: Any) -> bool:
    """Whether a profile names itself sRGB, as nearly all that cameras write do."""
    return "srgb" in (profile.profile.profile_description or "").lower()


def grey_curve(profile: Any) -> Any:
    """What sRGB has for the 256 levels of grey of a profile for grey or RGB, (256,) in 0–255."""
    grey = "L" if profile.profile.xcolor_space.strip() == "GRAY" else "RGB"
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert(grey)
    out = converted(ramp, profile, colour_profile(None), "RGB", exact=True)
    return np.asarray(out.convert("L"), dtype=np.float32)[0]


def converted(
    image: Image.Image, source: Any, target: Any, mode: str, *, exact: bool = False
) -> Image.Image:
    """Colours from one profile to another, by relative colorimetry with black kept black.

    exact: slower, without Little CMS's tables, which blur the shadows of steep grey curves.
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


def from_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes | None]:
    """An L or RGB image in sRGB → its colours in the profile ``icc``, and that profile.

    Where it is no profile for such an image (of CMYK, of RGB for grey, damaged), the image stays
    in sRGB and None is returned for the profile.
    """
    try:
        profile = colour_profile(icc)
        if profile.profile.xcolor_space.strip() != {"L": "GRAY"}.get(image.mode, image.mode):
            return image, None
        if is_srgb(profile):
            return image, icc
        return converted(image.convert("RGB"), colour_profile(None), profile, image.mode), icc
    except Exception:
        # The picture matters more than the profile; readers take untagged files as sRGB.
        return image, None
