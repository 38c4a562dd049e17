"""The Hugging Face hub: fetch a model's files and send them, with errors of one line.

huggingface_hub does the work. It reads HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and the
proxy variables. This module makes it resolve a revision once, so that all files are of one commit,
fetch only the files that a model needs, and print nothing. It also checks the hash of each file
against the one that the hub states.
"""

import errno
import hashlib
import logging
import os
import re
import time
from pathlib import Path

from make_it_real.errors import WeightsError, one_line

MODEL = "model.safetensors"
CONFIG = "config.json"
CRITIC = "critic.safetensors"
ATTEMPTS = 3
# Seconds before the second attempt; twice as many before the third.
WAIT = 1.0
NAME = re.compile(r"[\w.-]+/[\w.-]+")


def split_name(name: str) -> tuple[str, str | None]:
    """Split owner/name[@revision] into (owner/name, revision or None). Raises WeightsError."""
    repo, _, revision = name.partition("@")
    if not NAME.fullmatch(repo):
        raise WeightsError(f"{name[:80]!r} is no model on a hub: owner/name[@revision]")
    return repo, revision or None


def offline() -> bool:
    """Tell whether HF_HUB_OFFLINE forbids the network. It is read each time."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def fetch(
    name: str,
    *,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    force: bool = False,
    local_only: bool = False,
) -> Path:
    """Fetch owner/name[@revision] unless the cache has it; return its model.safetensors' path.

    token, cache_dir: as huggingface_hub takes them. force: fetch it again. local_only: use the
    cache alone. config.json and the critic lie beside the model where the hub has them. Without
    a network the cache's copy is used. Raises WeightsError, one line that says what to do.
    """
    repo, revision = split_name(name)
    local_only = local_only or offline()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            folder = _snapshot(repo, revision, token, cache_dir, force, local_only)
            break
        except Exception as error:
            if attempt == ATTEMPTS or not _may_pass(error):
                raise _explain(repo, revision, error, local_only) from error
            time.sleep(WAIT * attempt)
    path = folder / MODEL
    if not path.is_file():
        raise WeightsError(f"{repo}: on the hub, but no mir model: it has no {MODEL}")
    for file in (path, path.with_name(CONFIG), path.with_name(CRITIC)):
        if file.is_file():
            _check_hash(repo, file)
    return path


def _snapshot(
    repo: str,
    revision: str | None,
    token: str | bool | None,
    cache_dir: str | Path | None,
    force: bool,
    local_only: bool,
) -> Path:
    """Download the files of one commit, silently; return their folder."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    had_bars = not are_progress_bars_disabled()
    if had_bars:
        disable_progress_bars()
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        folder = snapshot_download(
            repo, revision=revision, token=token, cache_dir=cache_dir, force_download=force,
            local_files_only=local_only, allow_patterns=[MODEL, CONFIG, CRITIC], max_workers=1,
            library_name="make-it-real",
        )  # fmt: skip
        return Path(folder)
    finally:
        logger.setLevel(level)
        if had_bars:
            enable_progress_bars()


def _check_hash(repo: str, path: Path) -> None:
    """Compare a file's hash with its name in the cache, which is the hash that the hub stated.

    Deletes the file and raises WeightsError where they differ.
    """
    blob = path.resolve()
    if blob.parent.name != "blobs" or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name):
        return  # On a file system without links the cache keeps no hash.
    with blob.open("rb") as file:
        if len(blob.name) == 64:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            start = f"blob {blob.stat().st_size}\0".encode()
            actual = hashlib.sha1(start + file.read(), usedforsecurity=False).hexdigest()
    if actual != blob.name:
        blob.unlink()
        path.unlink(missing_ok=True)
        raise WeightsError(
            f"{repo}: {path.name} has another checksum than the hub states; the copy was "
            "deleted, try again"
        )


def _may_pass(error: BaseException) -> bool:
    """Tell whether an error of the hub, or of the network, is one that often passes."""
    for cause in _causes(error):
        if status := _status(cause):
            return status >= 500 or status == 429
    return any(map(_is_transport, _causes(error)))


def _status(error: BaseException) -> int:
    """Return the HTTP status that an error stands for, or 0."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _is_transport(error: BaseException) -> bool:
    """Tell whether no answer came, by the class's name: huggingface_hub may use another httpx."""
    return any(kind.__name__ == "TransportError" for kind in type(error).__mro__)


def _causes(error: BaseException | None) -> list[BaseException]:
    """List an error and those that it was raised from."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _explain(
    repo: str, revision: str | None, error: BaseException, local_only: bool
) -> WeightsError:
    """Turn an error of huggingface_hub into one line that says what to do."""
    from huggingface_hub import constants, errors

    chain = _causes(error)

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in chain)

    where = f"{constants.ENDPOINT}/{repo}"
    if any(getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT) for cause in chain):
        text = "the disk is full; make room and try again"
    elif caused_by(errors.GatedRepoError):
        text = f"gated: accept its terms at {where}, then set HF_TOKEN or run hf auth login"
    elif caused_by(errors.RevisionNotFoundError):
        text = f"the hub has no revision {revision or 'main'!r} of it; {where} lists them"
    elif caused_by(errors.RepositoryNotFoundError):
        text = (
            "not on the hub, or private; check the name, for a private one set HF_TOKEN or run "
            "hf auth login"
        )
    elif local_only and caused_by(errors.LocalEntryNotFoundError):
        text = "not in the cache, and the network is off (--offline, HF_HUB_OFFLINE)"
    elif status := next(filter(None, map(_status, chain)), 0):
        refused = status in (401, 403)
        text = f"the hub answered {status}; " + (
            "set HF_TOKEN to a token that may do this" if refused else "try again later"
        )
    elif any(map(_is_transport, chain)):
        text = f"{constants.ENDPOINT} can't be reached ({one_line(chain[-1])}); is there a network?"
    elif caused_by(errors.HFValidationError):
        text = f"no name that the hub knows ({one_line(error)})"
    else:
        text = one_line(error)
    return WeightsError(f"{repo}: {text}")


def push(
    folder: Path,
    repo: str,
    *,
    revision: str | None = None,
    private: bool | None = None,
    message: str = "Upload a mir model",
    token: str | None = None,
) -> str:
    """Send a folder's files in one commit; return the address of the commit.

    The repository is created where it does not exist, and so is the branch ``revision``. message:
    that of the commit. Raises WeightsError, one line that says what to do.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    split_name(repo)
    if offline():
        raise WeightsError(f"{repo}: the network is off (--offline, HF_HUB_OFFLINE)")
    disable_progress_bars()
    api = HfApi(token=token, library_name="make-it-real")
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo, folder_path=folder, revision=revision, commit_message=message
        )
    except Exception as error:
        raise _explain(repo, revision, error, False) from error
    return str(commit.commit_url)


def cache_folder() -> Path:
    """Return the folder in which huggingface_hub keeps what it fetched."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached() -> dict[str, Path]:
    """List the model files in the cache by owner/name@commit, without the network."""
    models = {}
    for path in sorted(cache_folder().glob(f"models--*--*/snapshots/*/{MODEL}")):
        repo = path.parents[2].name.removeprefix("models--").replace("--", "/", 1)
        models[f"{repo}@{path.parent.name[:12]}"] = path
    return models
