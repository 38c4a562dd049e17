"""The command and the Python that do what the page did, to copy."""

import shlex
from dataclasses import dataclass

from make_it_real.app.models import Loaded
from make_it_real.inference.variations import Variations

# What the picture is called in them, and the folder of variants.
FILE, FOLDER = "picture.png", "variants/"


@dataclass(frozen=True)
class Way:
    """How a picture was made real. crop: the whole sheet was taken."""

    model: Loaded
    steps: int
    variations: Variations
    crop: bool

    def shell(self, *, chosen: bool) -> str:
        """Return the command. chosen: mir chose the model."""
        words = ["mir", "project", FILE, *([] if chosen else ["-m", shlex.quote(self.model.name)])]
        if self.steps > 1:
            words += ["-k", str(self.steps)]
        if self.crop:
            words += ["--fit", "crop", "--crop"]
        if self.variations.noise:
            (noise,), seeds = self.variations.noise, self.variations.seeds
            words += ["--noise", f"{noise:g}", "--n", str(len(seeds))]
            words += ["--seed", str(seeds[0]), *(["-o", FOLDER] if len(seeds) > 1 else [])]
        return " ".join(words)

    def python(self) -> str:
        """Return a script that computes the image that f makes."""
        model = self.model
        more = ["from make_it_real.weights import model_file"] if model.size else []
        lines = [
            "from pathlib import Path", "", "import make_it_real as mir", *more, "",
            f"f = mir.load({model.name!r})",
            f"picture = mir.images.decode.read(Path({FILE!r}))",
        ]  # fmt: skip
        if model.size:
            how = ', how="crop"' if self.crop else ""
            lines += [
                f"info = model_file.inspect(model_file.resolve({model.name!r}))",
                "framing = mir.framing.described(info.framing)",
                "fitted = mir.framing.fit_all("
                f"picture, {model.size}, {model.f.config.channels}, framing{how})",
                "x = fitted[0].image[None]",
            ]
        else:
            lines.append("x = mir.images.pixels.on_white(picture).expand(3, -1, -1)[None]")
        noise = ""
        if self.variations.noise:
            seeds = self.variations.seeds
            noise = (
                f", noise={self.variations.noise[0]:g}, seeds=range({seeds[0]}, {seeds[-1] + 1})"
            )
        return "\n".join([
            *lines,
            f"y = mir.project(f, x, steps={self.steps}{noise})",
            'Path("real.png").write_bytes(mir.images.encode.encode(y[0]))',
        ])  # fmt: skip
