"""f out of its file, with from_pretrained, save_pretrained, push_to_hub as on the hub.

Stricter than the mixin's own: weights are safetensors files whose every tensor is checked, an
unknown key in config.json is an error, nothing is unpickled or ignored, and nothing printed.
"""

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelHubMixin

from make_it_real import files
from make_it_real.errors import WeightsError, one_line
from make_it_real.images import encode, pixels
from make_it_real.models.dcgan import DCGANIGN
from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.models.projector import Projector
from make_it_real.weights import hub, model_card, model_file, verify

SAMPLES = 64
MAX_CONFIG_BYTES = 100_000


class PretrainedIGN(IGN, ModelHubMixin, library_name=model_card.LIBRARY):
    """f, with what the hub needs. ``f.info`` is what its file said of itself.

    Of a config, ``PretrainedIGN(config)``, it is an untrained f of the config's architecture.
    """

    def __new__(cls, config: IGNConfig | None = None) -> Self:
        # Copies are made without a config, of the class that they are of.
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
        """f from a folder (config.json and model.safetensors) or owner/name on the hub.

        On the CPU, in evaluation mode. revision: a branch, tag or commit; also owner/name@it.
        Raises WeightsError of one line.
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

        ``push_to_hub=True`` and ``repo_id`` send them too. Raises WeightsError.
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
        """Send f to the hub in one commit; the commit's address. Raises WeightsError."""
        info = replace(self.info, config=asdict(self.config))
        with tempfile.TemporaryDirectory() as folder:
            write_folder(self, info, Path(folder), repo_id)
            return hub.push(
                Path(folder), repo_id, revision=branch, private=private, message=commit_message,
                token=token,
            )  # fmt: skip


class PretrainedProjector(PretrainedIGN, Projector):
    """A projector, with what the hub needs."""


class PretrainedDCGAN(PretrainedIGN, DCGANIGN):
    """The paper's f, with what the hub needs."""


# As ``architectures.NETWORKS``, with the hub's methods.
PRETRAINED: dict[str, type[PretrainedIGN]] = {
    "projector": PretrainedProjector, "dcgan": PretrainedDCGAN,
}  # fmt: skip


def load(path: Path) -> PretrainedIGN:
    """f with its parameters, on the CPU, in evaluation mode and float32.

    Raises WeightsError as ``weights.read`` does.
    """
    config, state = model_file.read(path)
    f = PretrainedIGN(config)
    f.load_state_dict(state)
    f.info = model_file.inspect(path)
    return f.eval().requires_grad_(False)


def check_config(path: Path, weights_path: Path) -> None:
    """Raises WeightsError unless config.json says of f what the weights file's header does."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError("too long")
        stated = IGNConfig(**json.loads(path.read_bytes()))
        found = IGNConfig(**model_file.inspect(weights_path).config)
    except FileNotFoundError as error:
        raise WeightsError(f"{path.parent}: no {path.name} there; is it a mir model?") from error
    except (OSError, ValueError, TypeError, RecursionError, ArithmeticError) as error:
        raise WeightsError(f"{path}: no config of a mir model ({one_line(error)})") from error
    if stated != found:
        raise WeightsError(f"{path}: another config than the weights file's own")


def write_folder(f: IGN, info: model_file.ModelInfo, folder: Path, repo: str = "") -> None:
    """A folder as the hub has it: config.json, model.safetensors, README.md, samples.png."""
    verify.save(f, info, folder / hub.MODEL)
    config = json.dumps(asdict(f.config), indent=2, sort_keys=True) + "\n"
    sheet = pixels.grid(verify.sample(f, range(SAMPLES)))
    contents = {
        hub.CONFIG: config.encode(),
        model_card.SAMPLES: encode.encode(sheet),
        "README.md": model_card.with_metadata(info, repo or info.name).encode(),
    }
    for name, data in contents.items():
        files.write_bytes(folder / name, data, overwrite=True)


def push_file(
    path: Path, repo: str, *, revision: str | None = None, private: bool | None = None
) -> str:
    """Send a model file to the hub as it is, byte by byte, its critic with it where it has one."""
    f = load(path)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_folder(f, f.info, folder, repo)
        (folder / hub.MODEL).write_bytes(path.read_bytes())
        if model_file.critic_path(path).is_file():
            (folder / hub.CRITIC).write_bytes(model_file.critic_path(path).read_bytes())
        return hub.push(folder, repo, revision=revision, private=private)
