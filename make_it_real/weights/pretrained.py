"""f as huggingface_hub's users know models: from_pretrained, save_pretrained, push_to_hub.

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
from make_it_real.inference import projection
from make_it_real.models import ign
from make_it_real.models.ign import IGNConfig
from make_it_real.weights import hub, model_card, model_file, verify

SAMPLES = 64
MAX_CONFIG_BYTES = 100_000


class IGN(ign.IGN, ModelHubMixin, library_name=model_card.LIBRARY):
    """f, with what the hub needs. ``f.info`` is what its file said of itself."""

    def __init__(self, config: IGNConfig) -> None:
        super().__init__(config)
        self.info = model_file.ModelInfo("unnamed", asdict(config))

    @classmethod
    def load(cls, path: Path) -> Self:
        """As ``weights.load``."""
        config, state = model_file.read(path)
        f = cls(config)
        f.load_state_dict(state)
        f.info = model_file.inspect(path)
        return f.eval().requires_grad_(False)

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
    ) -> Self:
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
        return cls.load(path)

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


def write_folder(f: ign.IGN, info: model_file.ModelInfo, folder: Path, repo: str = "") -> None:
    """A folder as the hub has it: config.json, model.safetensors, README.md, samples.png."""
    verify.save(f, info, folder / hub.MODEL)
    config = json.dumps(asdict(f.config), indent=2, sort_keys=True) + "\n"
    with ign.evaluation_mode(f):
        sheet = pixels.grid(projection.generate(f, range(SAMPLES)).cpu())
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
    f, info = model_file.load(path), model_file.inspect(path)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_folder(f, info, folder, repo)
        (folder / hub.MODEL).write_bytes(path.read_bytes())
        if model_file.critic_path(path).is_file():
            (folder / hub.CRITIC).write_bytes(model_file.critic_path(path).read_bytes())
        return hub.push(folder, repo, revision=revision, private=private)
