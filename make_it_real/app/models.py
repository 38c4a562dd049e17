"""The models that a page offers: the bundled ones and the one that was named, loaded when asked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from make_it_real import devices
from make_it_real.errors import RequestError, WeightsError
from make_it_real.images import encode
from make_it_real.images.decode import Picture
from make_it_real.images.framing import Framing, described
from make_it_real.inference.choice import choose
from make_it_real.inference.scoring import checked
from make_it_real.models.ign import IGN, place
from make_it_real.weights import model_file, pretrained
from make_it_real.weights.model_file import ModelInfo

AUTO = "auto"
# What bundled models are called in the page, and what to do with each.
TITLES = {
    "mnist": ("Digits", "Draw a digit from 0 to 9."),
    "fashion": ("Clothes", "Draw a shirt, a shoe, a bag."),
    "faces": ("Faces", "Draw a face that fills the sheet, or drop a photograph of one."),
    "photos": ("Photos", "Drop a photograph that is noisy, scratched, compressed or faded."),
}


@dataclass(frozen=True)
class Loaded:
    """A model: its name as ``-m`` takes it, f, its header, and what the header says of it.

    quantiles: of its calibration, None without. fingerprint: of its file. dtype: what f computes
    in, as ``--dtype`` takes it.
    """

    name: str
    f: IGN
    info: ModelInfo
    framing: Framing
    quantiles: list[float] | None
    fingerprint: str
    dtype: str

    @property
    def size(self) -> int:
        """Side of its images in pixels; 0 for any size."""
        return self.f.config.image_size

    def text(self, steps: int) -> dict[str, str]:
        """The text chunks that say how an image was made."""
        return encode.provenance(self.info.name, self.fingerprint, steps, self.f.precision)


class Models:
    """Models by name. One thread uses it at a time.

    A page can name no other models than these, and no file.
    """

    def __init__(
        self, default: str, device: str, check: Callable[[], None], dtype: str = AUTO
    ) -> None:
        """default: as ``-m`` takes it, or auto. check: called in each layer of f.

        dtype: what all of them compute in, as for ``devices.precision``. Raises WeightsError and
        DeviceError.
        """
        self.device, self.dtype = devices.pick(device), dtype
        self._check, self._loaded = check, dict[str, Loaded]()
        self._paths: dict[str, Path] = dict(model_file.bundled())
        default = model_file.ALIASES.get(default, default)
        if default != AUTO and default not in self._paths:
            self._paths[default] = model_file.resolve(default)
        self.default = default
        self._infos = {name: model_file.inspect(path) for name, path in self._paths.items()}

    def about(self) -> list[dict[str, Any]]:
        """Describe all of them, the ones with a title first."""
        order = [name for name in TITLES if name in self._infos]
        order += [name for name in self._infos if name not in TITLES]
        found = []
        for name in order:
            info = self._infos[name]
            title, hint = TITLES.get(name, (info.name, "Draw, or drop a picture."))
            found.append({
                "name": name, "title": title, "hint": hint, "makes": not info.repairs,
                "size": info.config["image_size"], "licence": info.licence,
                "faces": bool(info.framing.get("faces")),
            })  # fmt: skip
        return found

    def get(self, name: str) -> Loaded:
        """Load a model, or return it. Raises RequestError for a name that is not among them."""
        if name not in self._paths:
            raise RequestError(f"no model {name!r:.40}: {', '.join(self._paths)}")
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def maker(self, name: str) -> Loaded:
        """Load a model that makes images of its own. Raises RequestError for any other."""
        loaded = self.get(name)
        if loaded.info.repairs:
            raise RequestError(f"{loaded.info.name} repairs pictures and has none of its own")
        return loaded

    def for_picture(self, name: str, picture: Picture) -> tuple[Loaded, str]:
        """Load the model of a name, or for auto the one that fits a picture, and say why."""
        if name != AUTO:
            return self.get(name), ""
        choice = choose(picture)
        return self.get(choice.model), choice.why

    def _load(self, name: str) -> Loaded:
        path, info = self._paths[name], self._infos[name]
        f = place(pretrained.load(path), self.device)
        f.precision = devices.precision(self.dtype, self.device, repairs=info.repairs)
        for module in f.modules():
            module.register_forward_pre_hook(lambda module, given: self._check())
        try:
            quantiles = checked(info.calibration) if info.calibration else None
        except WeightsError:
            quantiles = None
        framing, fingerprint = described(info.framing), model_file.fingerprint(path)
        return Loaded(name, f, info, framing, quantiles, fingerprint, self.dtype)
