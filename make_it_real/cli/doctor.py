"""mir doctor: what this installation has, and whether it works."""

import json
import time
from pathlib import Path
from typing import Any

import typer

from make_it_real import installation
from make_it_real.cli import console, options
from make_it_real.errors import MirError
from make_it_real.weights import hub, model_file


@console.command
def doctor(
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Show what is installed, and check that f works here.

    Prints versions, device, caches, extras with what installs them, and the bundled models.
    The test makes four images with the default model and compares them with those that its
    file says; mir models verify does so with every model. Exits with 1 where something fails.
    Uses no network.
    """
    report: dict[str, Any] = {
        "versions": installation.versions(),
        "system": installation.system(),
        "device": _device(device),
        "caches": _caches(),
        "extras": _extras(),
        "models": _models(),
        "test": _test(),
    }
    if as_json:
        print(json.dumps(report))
    else:
        print("\n".join(_lines(report)))
    if not report["test"]["ok"] or not all(model["ok"] for model in report["models"].values()):
        raise typer.Exit(1)


def _device(name: str) -> dict[str, Any]:
    from make_it_real import devices

    chosen = devices.pick(name)
    return {
        "name": str(chosen), "about": devices.describe(chosen),
        "fast_bfloat16": devices.fast_bf16(chosen),
    }  # fmt: skip


def _caches() -> dict[str, dict[str, Any]]:
    """The caches of decoded images and of models: folder, files, bytes; why there is none."""
    from make_it_real.data import cache

    found: dict[str, dict[str, Any]] = {}
    try:
        folder = cache.folder()
        files, size = installation.disk_usage(folder)
        found["images"] = {"folder": str(folder), "files": files, "bytes": size}
    except OSError as error:
        found["images"] = {"folder": None, "files": 0, "bytes": 0, "reason": str(error)}
    models = hub.cached().values()
    found["models"] = {
        "folder": str(hub.cache_folder()), "files": len(models),
        "bytes": sum(path.stat().st_size for path in models),
    }  # fmt: skip
    return found


def _extras() -> dict[str, dict[str, Any]]:
    return {
        name: {
            "for": purpose, "missing": list(installation.missing(name)),
            "install": installation.install_command(name),
        }
        for name, (purpose, _) in installation.EXTRAS.items()
    }  # fmt: skip


def _models() -> dict[str, dict[str, Any]]:
    """The bundled models: file, bytes, and whether their headers can be read."""
    found: dict[str, dict[str, Any]] = {}
    for name, path in model_file.bundled().items():
        try:
            model_file.inspect(path)
            reason = ""
        except MirError as error:
            reason = str(error)
        size = path.stat().st_size
        found[name] = {"file": str(path), "bytes": size, "ok": not reason, "reason": reason}
    return found


def _test() -> dict[str, Any]:
    """Hold the default model against its probe, on the CPU."""
    from make_it_real.weights import pretrained, verify

    start = time.perf_counter()
    found: dict[str, Any] = {"model": model_file.DEFAULT_MODEL, "ok": True, "reason": ""}
    try:
        path = model_file.resolve(model_file.DEFAULT_MODEL)
        found |= verify.check(pretrained.load(path), path)
    except MirError as error:
        found |= {"ok": False, "reason": str(error)}
    return found | {"seconds": round(time.perf_counter() - start, 2)}


def _lines(report: dict[str, Any]) -> list[str]:
    """The report for people: what each line is about, then what there is."""
    versions, device, test = report["versions"], report["device"], report["test"]
    rows = [(name, version or "missing") for name, version in versions.items()]
    rows += [("system", report["system"]), ("device", device["about"])]
    rows += [("bfloat16", "fast" if device["fast_bfloat16"] else "slow here, so float32 is used")]
    for what, entry in report["caches"].items():
        count = f"{entry['files']:,} file{'' if entry['files'] == 1 else 's'}"
        amount = f"{entry['bytes'] / 1e6:,.1f} MB in {count}"
        where = entry["folder"] and f"{amount}, {_short(entry['folder'])}"
        rows.append((f"cached {what}", where or entry["reason"]))
    for name, entry in report["extras"].items():
        lack = f"missing, for {entry['for']}: {entry['install']}"
        rows.append((f"extra {name}", lack if entry["missing"] else "installed"))
    for name, entry in report["models"].items():
        size = f"{entry['bytes'] / 1e6:.1f} MB"
        rows.append((f"model {name}", size if entry["ok"] else entry["reason"]))
    good = f"{test['model']} makes its images here ({test['seconds']:.1f} s)"
    rows.append(("test", good if test["ok"] else f"failed: {test['reason']}"))
    return [f"{what:16} {text}" for what, text in rows]


def _short(path: str) -> str:
    """A path under the home folder with ~ for that."""
    try:
        return f"~/{Path(path).relative_to(Path.home())}"
    except (RuntimeError, ValueError):
        return path
