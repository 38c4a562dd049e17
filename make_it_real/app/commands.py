"""The command and the Python that do what the page did, to copy."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from make_it_real.app.models import AUTO, Loaded
from make_it_real.inference.variations import Variations

# What the picture is called in them, and the folder of variants, or of seeds.
FILE, FOLDER = "picture.png", "variants/"
SEEDS = "seeds/"
CROP = ["--fit", "crop"]
SHORT = "The command computes in float32."


@dataclass(frozen=True)
class Source:
    """Where an image is from: a seed, or a picture's file.

    crop: the whole picture was taken, as its square. size: (H, W) of the smaller copy that was
    taken of a large one.
    """

    file: str = ""
    seed: int | None = None
    crop: bool = False
    size: tuple[int, int] | None = None

    def python(self, model: Loaded) -> list[str]:
        """Return the lines that read the picture as x, (1, C, H, W). Needs _head."""
        lines = [f"picture = mir.images.decode.read(Path({self.file!r}))"]
        if model.size:
            how = ', how="crop"' if self.crop else ""
            shape = f"{model.size}, {model.f.config.channels}"
            return [
                *lines,
                f"fitted = mir.framing.fit_all(picture, {shape}, framing{how})",
                "x = fitted[0].image[None]",
            ]
        lines.append("x = mir.images.pixels.on_white(picture).expand(3, -1, -1)[None]")
        if self.size:
            height, width = self.size
            lines.append(
                f"x = mir.images.pixels.scaled(x[0], {height}, {width}).clamp(-1, 1)[None]"
            )
        return lines


@dataclass(frozen=True)
class Way:
    """How a picture was made real. crop: the whole sheet was taken."""

    model: Loaded
    steps: int
    variations: Variations
    crop: bool

    def shell(self, *, chosen: bool) -> str:
        """Return the command. chosen: mir chose the model."""
        words = ["mir", "project", FILE, *([] if chosen else _named(self.model))]
        words += [*_steps(self.steps), *_dtype(self.model)]
        if self.crop:
            words += [*CROP, "--crop"]
        if self.variations.noise:
            (noise,), seeds = self.variations.noise, self.variations.seeds
            words += ["--noise", f"{noise:g}", "--n", str(len(seeds))]
            words += ["--seed", str(seeds[0]), *(["-o", FOLDER] if len(seeds) > 1 else [])]
        return " ".join(words)

    def python(self) -> str:
        """Return a script that computes the image that f makes."""
        noise = ""
        if self.variations.noise:
            seeds = self.variations.seeds
            noise = (
                f", noise={self.variations.noise[0]:g}, seeds=range({seeds[0]}, {seeds[-1] + 1})"
            )
        return "\n".join([
            *_head(self.model, pictures=True), *Source(FILE, crop=self.crop).python(self.model),
            f"y = mir.project(f, x, steps={self.steps}{noise})", _written("y"),
        ])  # fmt: skip


@dataclass(frozen=True)
class Between:
    """How a place between seeds or pictures was made real. frames: of an animation of the way."""

    model: Loaded
    steps: int
    ends: Sequence[Source]
    place: float
    frames: int

    def shell(self) -> str:
        """Return the command; empty where none frames the pictures alike."""
        how = _fit(self.ends)
        if how is None:
            return ""
        ends = [_operand(one) for one in self.ends]
        words = ["mir", "interpolate", *ends, *_named(self.model), *_steps(self.steps), *how]
        return " ".join([*words, "-n", str(self.frames), "-o", "way.webp"])

    def note(self) -> str:
        """Say in what the command differs."""
        said = "The command makes the animation of the whole way, the Python this place of it."
        return _noted(said, self.model)

    def python(self) -> str:
        """Return a script that computes the image at the place."""
        return _mixture(self.model, self.steps, self.ends, "place_between", f"ends, {self.place:g}")


@dataclass(frozen=True)
class Sum:
    """How a sum of seeds or pictures was made real."""

    model: Loaded
    steps: int
    ends: Sequence[Source]
    weights: Sequence[float]

    def shell(self) -> str:
        """Return the command; empty where none frames the pictures alike."""
        how = _fit(self.ends)
        if how is None:
            return ""
        terms = []
        for weight, one in zip(self.weights, self.ends, strict=True):
            scale = "" if abs(weight) == 1 else f"{_decimal(abs(weight))}*"
            terms.append(f"{'-' if weight < 0 else '+'} {scale}{_operand(one)}")
        # What begins with - is an option.
        expression = " ".join(terms)
        expression = expression[2:] if expression[0] == "+" else f"+ {expression}"
        words = ["mir", "mix", shlex.quote(expression), *_named(self.model), *_steps(self.steps)]
        return " ".join([*words, *how])

    def note(self) -> str:
        """Say in what the command differs."""
        said = "The command shows the terms, too: the last of its second row is the image above."
        return _noted(said, self.model)

    def python(self) -> str:
        """Return a script that computes the image of the sum."""
        terms = ", ".join(f"({weight:g}, ends[{i}])" for i, weight in enumerate(self.weights))
        return _mixture(self.model, self.steps, self.ends, "mix", f"[{terms}]")


@dataclass(frozen=True)
class Repair:
    """How an image was damaged, and made real again. seed: of the damage's random choices."""

    model: Loaded
    source: Source
    kind: str
    level: float
    seed: int

    def shell(self) -> str:
        """Return the commands."""
        one, lines = self.source, []
        path = one.file
        if one.seed is not None:
            words = ["mir", "generate", *_named(self.model), "--seeds", str(one.seed), "-o", SEEDS]
            lines.append([*words, *_dtype(self.model)])
            path = SEEDS + one.file
        words = ["mir", "degrade", path, "--kind", f"{self.kind}={_decimal(self.level)}"]
        words += ["--seed", str(self.seed)]
        if not one.crop:
            words += ["--strip", "figure.png", *_named(self.model)]
        lines.append(words)
        damaged = f"{path.removesuffix('.png')}_degraded.png"
        crop = [*CROP, "--crop"] if one.crop else []
        lines.append(["mir", "project", damaged, *_named(self.model), *crop, *_dtype(self.model)])
        return "\n".join(" ".join(words) for words in lines)

    def note(self) -> str:
        """Say in what the commands differ."""
        if self.source.size or self.source.crop:
            return "The commands damage the picture at its own size, the page a copy."
        return _noted("figure.png has the four images of the page.", self.model)

    def python(self) -> str:
        """Return a script that computes the four images."""
        one = self.source
        more = "from make_it_real.degradations.kinds import degraded, generator_of"
        if one.seed is None:
            lines = one.python(self.model)
        else:
            lines = [f"x = mir.generate(f, [{one.seed}]).cpu()"]
        return "\n".join([
            *_head(self.model, more, pictures=one.seed is None), *lines,
            f"generator = generator_of({self.seed}, {one.file!r})",
            f"A_x = degraded(x, {self.kind!r}, {_decimal(self.level)}, generator=generator)",
            "f_A_x = mir.project(f, A_x)", "ff_A_x = mir.project(f, f_A_x)", _written("f_A_x"),
        ])  # fmt: skip


def _head(model: Loaded, *more: str, pictures: bool) -> list[str]:
    """Import, and load f. more: imports. pictures: some are read, and brought to f's size."""
    framed = pictures and model.size
    used = sorted([*more, *(["from make_it_real.weights import model_file"] if framed else [])])
    lines = ["from pathlib import Path", ""]
    if _short(model):
        lines += ["import torch", ""]
    lines += ["import make_it_real as mir", *used, "", f"f = mir.load({model.name!r})"]
    if _short(model):
        lines.append("f.precision = torch.bfloat16")
    if framed:
        lines.append(f"info = model_file.inspect(model_file.resolve({model.name!r}))")
        lines.append("framing = mir.framing.described(info.framing)")
    return lines


def _mixture(model: Loaded, steps: int, ends: Sequence[Source], work: str, given: str) -> str:
    """Return a script that applies a function to f and what is given, and f to the result."""
    pictures = any(one.seed is None for one in ends)
    names = sorted(
        [work, *(["Operand"] if pictures else [])]
        + (["seed_operand"] if any(one.seed is not None for one in ends) else [])
    )
    more = f"from make_it_real.inference.interpolation import {', '.join(names)}"
    lines = [*_head(model, more, pictures=pictures), "ends = []"]
    for one in ends:
        if one.seed is not None:
            lines.append(f"ends.append(seed_operand(f, {one.seed}))")
        else:
            lines += [*one.python(model), f"ends.append(Operand({one.file!r}, x[0]))"]
    lines.append(f"y = {work}(f, {given})[None]")
    return "\n".join([*lines, f"fy = mir.project(f, y, steps={steps})", _written("fy")])


def _written(name: str) -> str:
    return f'Path("real.png").write_bytes(mir.images.encode.encode({name}[0]))'


def _named(model: Loaded) -> list[str]:
    return ["-m", shlex.quote(model.name)]


def _steps(steps: int) -> list[str]:
    return ["-k", str(steps)] if steps > 1 else []


def _dtype(model: Loaded) -> list[str]:
    return ["--dtype", model.dtype] if model.dtype != AUTO else []


def _short(model: Loaded) -> bool:
    return model.f.precision == torch.bfloat16


def _fit(ends: Sequence[Source]) -> list[str] | None:
    """The option that frames all pictures as they were; None where they differ."""
    how = {one.crop for one in ends if one.seed is None}
    return None if len(how) > 1 else CROP if True in how else []


def _operand(one: Source) -> str:
    return one.file if one.seed is None else str(one.seed)


def _decimal(value: float) -> str:
    """Write a number without an exponent, which sums have not."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _noted(said: str, model: Loaded) -> str:
    """Add to what is said of a command that it does not compute as the model does, if so."""
    return f"{said} {SHORT}" if _short(model) else said
