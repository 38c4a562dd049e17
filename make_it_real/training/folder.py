"""A run's folder: its files, and that one training at a time writes there."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from make_it_real.errors import RunError, SettingsError
from make_it_real.files import hold_lock
from make_it_real.weights.model_file import critic_path

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.safetensors"
LOG = "log.jsonl"
SAMPLES = "samples"
LOCK = ".lock"


def sheet_path(folder: Path, step: int) -> Path:
    """The path of the sheet of samples of a step."""
    return folder / SAMPLES / f"{step:06d}.png"


def results(folder: Path) -> list[Path]:
    """What a training in the folder would replace: its model, its critic, sheets of samples."""
    model = folder / MODEL
    sheets = sorted((folder / SAMPLES).glob("[0-9]*.png"))
    return [path for path in (model, critic_path(model), *sheets) if os.path.lexists(path)]


def check_empty(folder: Path) -> None:
    """Refuse a folder that a run that begins would replace something in. Raises SettingsError."""
    if (folder / CHECKPOINT).exists():
        raise SettingsError(
            f"{folder} holds a run; --resume goes on with it, --overwrite begins anew"
        )
    if there := results(folder):
        raise SettingsError(
            f"{there[0]} exists, and no checkpoint to go on from; --overwrite replaces it"
        )


@contextmanager
def reserve(folder: Path) -> Iterator[None]:
    """Make a run's folder, see that it can be written to, and keep other trainings out of it.

    Where nothing comes to lie in the folder, it is removed again. Raises SettingsError for a file
    and for a folder that another process trains in, RunError for one that can't be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"-o {folder} is a file; name a folder")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(hold_lock(folder / LOCK))
                with tempfile.TemporaryFile(dir=folder) as file:
                    file.write(b"a byte")
            except BlockingIOError as error:
                raise SettingsError(
                    f"another mir train is at work in {folder}; name another folder by -o"
                ) from error
            except OSError as error:
                reason = error.strerror or error
                raise RunError(f"can't write in {folder}: {reason}") from error
            yield
    finally:
        # Only empty folders can be removed.
        with suppress(OSError):
            for path in made:
                path.rmdir()
