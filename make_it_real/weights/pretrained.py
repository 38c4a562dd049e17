"""f loaded from its file, with from_pretrained, save_pretrained and push_to_hub.

These are stricter than those of huggingface_hub's mixin: weights are safetensors files whose every
tensor is checked, an unknown key in config.json is an error, and nothing is unpickled, ignored or
printed.
"""

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelHubMixin
from torch import Tensor

from make_it_real import files
from make_it_real.errors import WeightsError, one_line
from make_it_real.images import encode, pixels
from make_it_real.models.dcgan import DCGANIGN
from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.models.projector import Projector
from make_it_real.models.unet import UNet
from make_it_real.weights import hub, model_card, model_file, verify

# Number of images on a model card's sheet, of seeds 0 on.
SAMPLES = 64
# How much the small images of a probe are enlarged there.
ENLARGED = 4
MAX_CONFIG_BYTES = 100_000


class PretrainedIGN(IGN, ModelHubMixin, library_name=model_card.LIBRARY):
    """f with the methods of the Hugging Face hub. ``f.info`` is the header of its file.

    ``PretrainedIGN(config)`` is an untrained f with the architecture of the config.
    """

    def __new__(cls, config: IGNConfig | None = None) -> Self:
        # copy and pickle call this without a config, on the subclass itself.
        kind: Any = cls if config is None else PRETRAINED[config.architecture]
        f: Self = super().__new__(kind, config)
        return f

    def __init__(self, config: IGNConfig) -> None:
        super().__init__(config)
        self.info = model_file.ModelInfo("unnamed", asdict(config))

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
    ) -> "PretrainedIGN":
        """Load f from a folder, or from owner/name on the hub, on the CPU in evaluation mode.

        A folder has config.json and model.safetensors. revision: a branch, tag or commit, which
        owner/name@revision gives too. The other options are those of ``hub.fetch``. Raises
        WeightsError, one line that says what to do.
        """
        name = str(pretrained_model_name_or_path)
        if Path(name).is_dir():
            path = Path(name) / hub.MODEL
        else:
            path = hub.fetch(
                f"{name}@{revision}" if revision else name, token=token, cache_dir=cache_dir,
                force=force_download, local_only=local_files_only,
            )  # fmt: skip
        check_config(path.with_name(hub.CONFIG), path)
        return load(path)

    def _save_pretrained(self, save_directory: Path) -> None:
        info = replace(self.info, config=asdict(self.config))
        write_folder(self, info, save_directory)

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write config.json, model.safetensors, README.md and samples.png into a folder.

        options: ``push_to_hub=True`` also sends f to ``repo_id``, or to a repository with the
        folder's name, with the other options of that method; the commit's address is returned.
        Raises WeightsError.
        """
        repo = options.pop("repo_id", None)
        send = options.pop("push_to_hub", False)
        folder = Path(save_directory)
        write_folder(self, replace(self.info, config=asdict(self.config)), folder, repo or "")
        return self.push_to_hub(repo or folder.name, **options) if send else None

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        branch: str | None = None,
        private: bool | None = None,
        commit_message: str = "Upload a mir model",
        token: str | None = None,
    ) -> str:
        """Send f to the hub in one commit; return the commit's address. Raises WeightsError."""
        info = replace(self.info, config=asdict(self.config))
        with tempfile.TemporaryDirectory() as folder:
            write_folder(self, info, Path(folder), repo_id)
            return hub.push(
                Path(folder), repo_id, revision=branch, private=private, message=commit_message,
                token=token,
            )  # fmt: skip


class PretrainedProjector(PretrainedIGN, Projector):
    """The projector, with the methods of the hub."""


class PretrainedDCGAN(PretrainedIGN, DCGANIGN):
    """The paper's f, with the methods of the hub."""


class PretrainedUNet(PretrainedIGN, UNet):
    """The U-Net, with the methods of the hub."""


# The classes of ``architectures.NETWORKS``, with the methods of the hub.
PRETRAINED: dict[str, type[PretrainedIGN]] = {
    "projector": PretrainedProjector, "dcgan": PretrainedDCGAN, "unet": PretrainedUNet,
}  # fmt: skip


def load(path: Path) -> PretrainedIGN:
    """Load f from a model file, on the CPU, in evaluation mode, in float32.

    Raises WeightsError as ``model_file.read`` does.
    """
    config, state = model_file.read(path)
    f = PretrainedIGN(config)
    f.load_state_dict(state)
    f.info = model_file.inspect(path)
    return f.eval().requires_grad_(False)


def check_config(path: Path, weights_path: Path) -> None:
    """Raise WeightsError unless config.json and the weights file have the same config."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError("too long")
        stated = IGNConfig(**json.loads(path.read_bytes()))
        actual = IGNConfig(**model_file.inspect(weights_path).config)
    except FileNotFoundError as error:
        raise WeightsError(f"{path.parent}: no {path.name} there; is it a mir model?") from error
    except (OSError, ValueError, TypeError, RecursionError, ArithmeticError) as error:
        raise WeightsError(f"{path}: no config of a mir model ({one_line(error)})") from error
    if stated != actual:
        raise WeightsError(f"{path}: differs from the config in the weights file")


def write_folder(f: IGN, info: model_file.ModelInfo, folder: Path, repo: str = "") -> None:
    """Write what the hub shows: config.json, model.safetensors, README.md, samples.png."""
    verify.save(f, info, folder / hub.MODEL)
    config = json.dumps(asdict(f.config), indent=2, sort_keys=True) + "\n"
    contents = {
        hub.CONFIG: config.encode(),
        model_card.SAMPLES: encode.encode(samples(f)),
        "README.md": model_card.with_metadata(info, repo or info.name).encode(),
    }
    for name, data in contents.items():
        files.write_bytes(folder / name, data, overwrite=True)


def samples(f: IGN) -> Tensor:
    """Lay out what a model card shows, (C, H, W): f(z) of 64 seeds.

    Of an f that repairs, it is the images of its probe, and below them f of each, enlarged.
    """
    if f.config.source != "none":
        return pixels.grid(verify.sample(f, range(SAMPLES)))
    given = verify.damaged(f.config.channels)
    both = pixels.to_images(torch.cat([given, verify.repaired(f, given)]))
    return pixels.grid(pixels.enlarged(both, ENLARGED), columns=len(given))


def push_file(
    path: Path, repo: str, *, revision: str | None = None, private: bool | None = None
) -> str:
    """Send a model file to the hub byte by byte, with its critic where it has one.

    Returns the commit's address. Raises WeightsError.
    """
    f = load(path)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_folder(f, f.info, folder, repo)
        (folder / hub.MODEL).write_bytes(path.read_bytes())
        if model_file.critic_path(path).is_file():
            (folder / hub.CRITIC).write_bytes(model_file.critic_path(path).read_bytes())
        return hub.push(folder, repo, revision=revision, private=private)
