"""A model as one safetensors file: the weights of f, the statistics of its source and a header.

The metadata of the header has one JSON object under the key ``mir``: a format number, the config
that f is built from, the framing of its data, and how it was trained. It is read without torch
(``safetensors_file.py``). Models are named by ``resolve``.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from make_it_real.errors import WeightsError, one_line
from make_it_real.installation import bundled_folder
from make_it_real.weights.safetensors_file import (
    check_tensors,
    halved,
    read_header,
    read_tensors,
    rewrite,
    save_tensors,
)

if TYPE_CHECKING:
    from torch import Tensor

    from make_it_real.models.ign import IGN, IGNConfig


FORMAT = 1
DEFAULT_MODEL = "faces"
# What bundled models are also called: by what they make.
ALIASES = {"digits": "mnist", "clothes": "fashion"}


@dataclass(frozen=True)
class ModelInfo:
    """The header of a model file.

    config: fields of ``IGNConfig``. framing: fields of ``Framing``. data: name of the data set
    and split. objective: name of the objective. steps: number of training steps. version: of the
    package that wrote the file. training: fields of ``TrainingConfig``. figures: measured figures
    by name. probe: images of a few seeds that ``verify.py`` compares with. calibration: the change
    that f would make of training images, as ``scoring.calibrate`` returns it.
    """

    name: str
    config: Mapping[str, Any]
    framing: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""
    objective: str = ""
    steps: int = 0
    version: str = ""
    licence: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)

    @property
    def repairs(self) -> bool:
        """Whether the model repairs images and has no source of z, so none of its own to make."""
        return self.config.get("source") == "none"


def bundled() -> dict[str, Path]:
    """List the models that come with the package: their paths by name."""
    paths = sorted(bundled_folder().glob("*.safetensors"))
    return {path.stem: path for path in paths if "mir" in read_header(path)[0]}


def makers() -> list[str]:
    """List the bundled models that make images; others repair and have none of their own to make.

    Raises WeightsError where a header is damaged.
    """
    return [name for name, path in bundled().items() if not inspect(path).repairs]


def resolve(name: str) -> Path:
    """Return the model file of a name or alias.

    name: a bundled name, a ``.safetensors`` file, a folder with one, or owner/name[@revision] on
    the hub. Only the last form uses the network. Raises WeightsError where there is no such model.
    """
    if not name:
        raise WeightsError("no model named; the bundled models are " + ", ".join(bundled()))
    known = bundled()
    name = ALIASES.get(name, name)
    if name in known:
        # Also where a folder has that name: MNIST's own files often lie in one called mnist.
        return known[name]
    try:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        is_folder = path.is_dir()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"no model {name[:80]!r}: {reason}") from error
    if is_folder:
        for candidate in (path / "model.safetensors", *sorted(path.glob("*.safetensors"))):
            if candidate.is_file() and "mir" in read_header(candidate)[0]:
                return candidate
        raise WeightsError(f"{name}: this folder holds no model (*.safetensors)")
    owner, _, repo = name.partition("/")
    if path.suffix == ".safetensors" or not repo or "/" in repo or owner in ("", ".", "..", "~"):
        raise WeightsError(
            f"no model {name!r}: not a file or folder, and the bundled models are "
            f"{', '.join(known) or 'none'}"
        )
    from make_it_real.weights import hub

    return hub.fetch(name)


def inspect(path: Path) -> ModelInfo:
    """Read the header of a model file, without torch and without the weights.

    Raises WeightsError where the file is not whole, not a mir model, or of a newer format.
    """
    metadata, _ = read_header(path)
    if "mir" not in metadata:
        raise WeightsError(f"{path}: a safetensors file, but not a mir model")
    try:
        fields = json.loads(metadata["mir"])
        version = fields.pop("format")
        if version != FORMAT:
            raise WeightsError(
                f"{path}: model format {version}, this mir reads {FORMAT}; update make-it-real"
            )
        info = ModelInfo(**fields)
        texts = (info.name, info.data, info.objective, info.version, info.licence)
        objects = (
            info.config, info.framing, info.training, info.figures, info.probe, info.calibration,
        )  # fmt: skip
        if not all(isinstance(text, str) for text in texts) or not isinstance(info.steps, int):
            raise TypeError("a text or a number is something else")
        if not all(text.isprintable() for text in texts):
            raise ValueError("a text with characters that can't be printed")
        if not all(isinstance(part, dict) for part in objects):
            raise TypeError("config, framing, training, figures, probe or calibration is no object")
        return info
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}: a damaged mir header ({one_line(error)})") from error


def critic_path(model: Path) -> Path:
    """Return the path of a model file's critic, whether or not there is one."""
    if model.name == "model.safetensors":
        return model.with_name("critic.safetensors")
    return model.with_name(f"{model.stem}.critic.safetensors")


def fingerprint(path: Path) -> str:
    """Return the first 16 hexadecimal digits of a file's SHA-256, to say which model it was."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def header(info: ModelInfo) -> str:
    """Return the text that the file's metadata has under the key ``mir``."""
    return json.dumps({"format": FORMAT, **asdict(info)})


def save(f: "IGN", info: ModelInfo, path: Path, *, half: bool = False) -> None:
    """Write f and its header as one file, whole or not at all. Raises WeightsError.

    half: store float16. A probe in ``info`` is then not of the stored tensors; ``verify.add``
    writes one that is.
    """
    state = f.state_dict()
    save_tensors(halved(state) if half else state, {"mir": header(info)}, path)


def describe(info: ModelInfo, path: Path) -> None:
    """Replace the header of the model file at ``path``; its tensors stay as they are stored.

    Raises WeightsError where the file can't be read or written.
    """
    metadata, _ = read_header(path)
    rewrite(path, metadata | {"mir": header(info)})


def read(path: Path) -> "tuple[IGNConfig, dict[str, Tensor]]":
    """Read the config and the state of f, on the CPU, in float32.

    Raises WeightsError where the file is not whole, not a mir model or of a newer format, and
    where its tensors are not finite or not exactly those, by name and shape, of its config.
    """
    import torch

    from make_it_real.models.architectures import build
    from make_it_real.models.ign import IGNConfig

    info = inspect(path)
    _, table = read_header(path)
    try:
        config = IGNConfig(**info.config)
        # A block has eight tensors, or four. A file of few tensors can't have many blocks, which
        # would take long to build even on the meta device.
        blocks = config.blocks + config.fine + config.patches
        least = 8 * (config.blocks + config.fine) + 4 * config.patches
        if config.architecture == "unet":
            blocks = config.blocks + 2 * len(config.widths) - 2
            least = 4 * blocks
        if config.architecture != "dcgan" and not least < len(table):
            raise ValueError(f"{blocks} blocks out of {len(table)} tensors")
        with torch.device("meta"):
            expected = build(config).state_dict()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise WeightsError(
            f"{path}: a config that this mir can't build ({one_line(error)})"
        ) from error
    factors = "source.factors"
    if factors in expected.keys() & table.keys() and len(table[factors]["shape"]) == 3:
        # Earlier versions stored the zeros of lower triangular matrices, which loading drops.
        kinds, count = expected["source.means"].shape
        expected[factors] = torch.empty(kinds, count, count, device="meta")
    check_tensors(path, table, expected)
    return config, {name: t.float() for name, t in read_tensors(path).items()}
