"""The command and the Python that do what the page did, to copy."""

import shlex

from make_it_real.app.models import Loaded

# What the picture is called in them.
FILE = "picture.png"


def shell(model: Loaded, steps: int, *, chosen: bool, crop: bool) -> str:
    """Return the command. chosen: mir chose the model. crop: the whole sheet was taken."""
    words = ["mir", "project", FILE, *([] if chosen else ["-m", shlex.quote(model.name)])]
    if steps > 1:
        words += ["-k", str(steps)]
    return " ".join([*words, *(["--fit", "crop", "--crop"] if crop else [])])


def python(model: Loaded, steps: int, *, crop: bool) -> str:
    """Return a script that computes the image that f makes."""
    lines = [
        "from pathlib import Path", "", "import make_it_real as mir", "",
        f"f = mir.load({model.name!r})",
        f"picture = mir.images.decode.read(Path({FILE!r}))",
    ]  # fmt: skip
    if not model.size:
        lines.append("x = mir.images.pixels.on_white(picture)[None]")
        if model.f.config.channels == 3:
            lines[-1] = "x = mir.images.pixels.on_white(picture).expand(3, -1, -1)[None]"
    else:
        lines[3:4] = ["from make_it_real.weights import model_file", ""]
        how = ', how="crop"' if crop else ""
        size = f"{model.size}, {model.f.config.channels}"
        lines += [
            f"info = model_file.inspect(model_file.resolve({model.name!r}))",
            "framing = mir.framing.described(info.framing)",
            f"fitted = mir.framing.fit_all(picture, {size}, framing{how})",
            "x = fitted[0].image[None]",
        ]
    lines += [
        f"y = mir.project(f, x, steps={steps})",
        'Path("real.png").write_bytes(mir.images.encode.encode(y[0]))',
    ]
    return "\n".join(lines)
