"""A model as one safetensors file: parameters, source statistics and a header.

The header's metadata holds one JSON object under the key ``mir``: a format number, the config
that f is built from, the framing of its data, and where it comes from. It is read without
torch (https://huggingface.co/docs/safetensors: 8 bytes of length, JSON, then the tensors).
Weights are data: nothing here is unpickled.
"""

import hashlib
import json
import math
import os
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from make_it_real.errors import WeightsError, one_line

if TYPE_CHECKING:
    from torch import Tensor

    from make_it_real.model import IGN

FORMAT = 1
MAX_HEADER_BYTES = 1_000_000
MAX_PARAMETERS = 2_000_000_000
DEFAULT_MODEL = "mnist"


@dataclass(frozen=True)
class ModelInfo:
    """What a weights file says of itself.

    config: fields of ``IGNConfig``; framing: fields of ``Framing``. data: the data set and
    split. training: fields of ``TrainConfig``. figures: measured figures by name.
    calibration: the drift of the training images, as ``scoring.calibrate`` makes it.
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
    calibration: Mapping[str, Any] = field(default_factory=dict)


def bundled_folder() -> Path:
    """Where the weights that come with the package lie: in the wheel, or in a checkout."""
    installed = Path(__file__).parent / "bundled"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "weights"


def bundled() -> dict[str, Path]:
    """The models that come with the package, by name."""
    paths = sorted(bundled_folder().glob("*.safetensors"))
    return {path.stem: path for path in paths if "mir" in _header(path)[0]}


def resolve(name: str) -> Path:
    """A bundled name, a ``.safetensors`` file, a folder with one, or owner/name[@revision].

    Raises WeightsError if nothing is found; only the last form uses the network.
    """
    if not name:
        raise WeightsError("no model named; the bundled models are " + ", ".join(bundled()))
    known = bundled()
    if name in known:
        # Even where a folder is called so: MNIST's own files often lie in one called mnist.
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
            if candidate.is_file() and "mir" in _header(candidate)[0]:
                return candidate
        raise WeightsError(f"{name}: this folder holds no model (*.safetensors)")
    owner, _, repo = name.partition("/")
    if path.suffix == ".safetensors" or not repo or "/" in repo or owner in ("", ".", "..", "~"):
        raise WeightsError(
            f"no model {name!r}: not a file or folder, and the bundled models are "
            f"{', '.join(known) or 'none'}"
        )
    return _download(name)


def _download(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repo, _, revision = name.partition("@")
    try:
        return Path(hf_hub_download(repo, "model.safetensors", revision=revision or None))
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"can't get {name!r} from the hub: {reason}") from error


def _header(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The metadata and the tensor table of a safetensors file, checked against its size."""
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(MAX_HEADER_BYTES, total - 8):
                raise WeightsError(f"{path}: not a safetensors file, or cut off in its header")
            table = json.loads(file.read(length))
        metadata = table.pop("__metadata__", {})
        end = max((int(entry["data_offsets"][1]) for entry in table.values()), default=0)
        if not isinstance(metadata, dict):
            raise TypeError("its metadata is no object")
        if not all(isinstance(n, int) for entry in table.values() for n in entry["shape"]):
            raise TypeError("a shape that is not of whole numbers")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise WeightsError(
            f"{path}: not a readable safetensors file ({one_line(error)})"
        ) from error
    except RecursionError as error:
        raise WeightsError(f"{path}: its header is nested too deep") from error
    if 8 + length + end != total:
        raise WeightsError(
            f"{path}: {total:,} bytes where its header promises {8 + length + end:,}; "
            "get the file again"
        )
    return metadata, table


def inspect(path: Path) -> ModelInfo:
    """What a model file says of itself. Imports no torch and reads only the header.

    Raises WeightsError: not whole, not a mir model, or of a newer format.
    """
    metadata, _ = _header(path)
    if "mir" not in metadata:
        raise WeightsError(f"{path}: a safetensors file, but not a mir model")
    try:
        header = json.loads(metadata["mir"])
        version = header.pop("format")
        if version != FORMAT:
            raise WeightsError(
                f"{path}: model format {version}, this mir reads {FORMAT}; update make-it-real"
            )
        info = ModelInfo(**header)
        texts = (info.name, info.data, info.objective, info.version, info.licence)
        objects = (info.config, info.framing, info.training, info.figures, info.calibration)
        if not all(isinstance(text, str) for text in texts) or not isinstance(info.steps, int):
            raise TypeError("a text or a number is something else")
        if not info.name.isprintable():
            raise ValueError("a name with characters that can't be printed")
        if not all(isinstance(part, dict) for part in objects):
            raise TypeError("config, framing, training, figures or calibration is no object")
        return info
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}: a damaged mir header ({one_line(error)})") from error


def fingerprint(path: Path) -> str:
    """The first 16 hexadecimal digits of the file's SHA-256, to name what made an image."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def save(f: "IGN", info: ModelInfo, path: Path) -> None:
    """Write f and its header as one file, whole or not at all."""
    header = {"format": FORMAT, **asdict(info)}
    save_tensors(f.state_dict(), {"mir": json.dumps(header)}, path)


def load(path: Path) -> "IGN":
    """f with its parameters, on the CPU, in evaluation mode and float32.

    Raises WeightsError if the file is not whole, not a mir model, of a newer format, or if
    its tensors are not exactly those, by name, shape and finiteness, that its config asks for.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from make_it_real.model import IGN, IGNConfig

    info = inspect(path)
    _, table = _header(path)
    size = sum(math.prod(entry["shape"]) for entry in table.values())
    if size > MAX_PARAMETERS:
        raise WeightsError(f"{path}: {size:,} parameters are over the limit of {MAX_PARAMETERS:,}")
    try:
        config = IGNConfig(**info.config)
        if not config.blocks < len(table):
            raise ValueError(f"{config.blocks} blocks out of {len(table)} tensors")
        with torch.device("meta"):
            expected = {name: list(t.shape) for name, t in IGN(config).state_dict().items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: a config that this mir can't build ({one_line(error)})"
        ) from error
    found = {name: list(entry["shape"]) for name, entry in table.items()}
    if missing := sorted(expected.keys() - found.keys()):
        raise WeightsError(f"{path}: {len(missing)} tensors missing, the first {missing[0]}")
    if extra := sorted(found.keys() - expected.keys()):
        raise WeightsError(f"{path}: {len(extra)} tensors too many, the first {extra[0]}")
    for name, shape in expected.items():
        if found[name] != shape:
            raise WeightsError(f"{path}: {name} has shape {found[name]}, not {shape}")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: can't be read ({one_line(error)})") from error
    if bad := [name for name, t in state.items() if not bool(t.isfinite().all())]:
        raise WeightsError(f"{path}: {bad[0]} holds values that are not finite")
    f = IGN(config)
    f.load_state_dict({name: t.float() for name, t in state.items()})
    return f.eval().requires_grad_(False)


def save_tensors(tensors: "Mapping[str, Tensor]", metadata: dict[str, str], path: Path) -> None:
    """Write a safetensors file that appears whole or not at all. Raises WeightsError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    contiguous = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".mir-", suffix=".part")
        os.close(handle)
        try:
            save_file(contiguous, temporary, metadata)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"can't write {path}: {reason}") from error
