"""The shape of the package: imports go downward, and --help answers without torch."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import make_it_real

PACKAGE = Path(make_it_real.__file__).parent
LAYERS = (
    (
        "errors", "source", "mixture", "principal", "devices", "sharing", "tensorfile",
        "distributed", "profiles", "cache",
    ),
    (
        "model", "dcgan", "filters", "patches", "critic", "images", "decoding", "framing", "ink",
        "restoring", "alignment", "faces", "idx", "degradations", "detail", "tones",
        "laws",
    ),
    (
        "projection", "weights", "hub", "card", "data", "metrics", "intervals",
        "features", "extractors", "probe", "gallery", "plots", "mixing", "projected", "lite",
    ),
    (
        "training", "evaluation", "sections", "repairing", "findings", "batch", "jobs", "report",
        "watching", "pretrained", "export", "inputs", "refinement", "scoring",
    ),
    ("cli", "__main__"),
)  # fmt: skip
LAYER = {name: number for number, names in enumerate(LAYERS, 1) for name in names}
HEAVY = ("torch", "numpy", "PIL", "huggingface_hub", "safetensors")


def module_name(path: Path) -> str:
    """errors.py → "errors", cli/train.py → "cli.train", cli/__init__.py → "cli"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "__init__"


def exists(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imported(source: str, known: set[str]) -> Iterator[str]:
    """The package's modules that a source imports, wherever in it, TYPE_CHECKING or not.

    A name that the package itself offers (``make_it_real.__version__``) is "__init__".
    """
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, *rest = name.split(".")
            if first != "make_it_real":
                continue
            while rest and ".".join(rest) not in known:
                rest.pop()
            yield ".".join(rest) or "__init__"


def graph() -> dict[str, set[str]]:
    sources = {module_name(path): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
    known = set(sources)
    return {name: set(imported(text, known)) - {name} for name, text in sources.items()}


IMPORTS = graph()


def layer(name: str) -> int:
    return LAYER[name.split(".")[0]]


def test_the_import_reader_sees_every_kind_of_import() -> None:
    source = """
import torch
import make_it_real
from make_it_real import weights, __version__
if TYPE_CHECKING:
    from make_it_real.model import IGN
def f():
    import make_it_real.cli.train
    from make_it_real.cli.common import say
"""
    known = {"weights", "model", "cli", "cli.train", "cli.common"}
    found = {"__init__", "weights", "model", "cli.train", "cli.common"}
    assert set(imported(source, known)) == found


def test_every_module_has_a_layer() -> None:
    top = {name.split(".")[0] for name in IMPORTS} - {"__init__"}
    assert top == set(LAYER)


@pytest.mark.parametrize("name", sorted(set(IMPORTS) - {"__init__"}))
def test_a_module_imports_from_its_own_layer_or_below(name: str) -> None:
    above = {other for other in IMPORTS[name] - {"__init__"} if layer(other) > layer(name)}
    assert above == set()


@pytest.mark.parametrize("name", sorted(set(IMPORTS) - {"__init__"}))
def test_only_the_command_line_imports_the_command_line(name: str) -> None:
    if layer(name) < 5:
        assert not {other for other in IMPORTS[name] if other.split(".")[0] == "cli"}
    else:
        assert "__main__" not in IMPORTS[name]


def test_no_modules_import_each_other_in_a_circle() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way, name))
        if name not in done:
            # The package's __init__ imports its names when they are asked for.
            for other in sorted(IMPORTS[name] - {"__init__"}):
                visit(other, (*way, name))
            done.add(name)

    for name in IMPORTS:
        visit(name, ())
    assert done == set(IMPORTS)


@pytest.mark.parametrize(
    ("importer", "others"), [("weights", {"model"}), ("cli.train", {"training.run", "distributed"})]
)
def test_nested_and_type_checking_imports_are_seen(importer: str, others: set[str]) -> None:
    assert others <= IMPORTS[importer]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_importing_the_package_imports_no_torch() -> None:
    code = (
        "import sys, json, make_it_real; dir(make_it_real); make_it_real.__version__;"
        f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    assert json.loads(python(code)) == []


def test_help_and_wrong_usage_answer_without_heavy_imports() -> None:
    code = f"""
import json, sys
import typer
from typer.testing import CliRunner
from make_it_real.cli import app

names = list(typer.main.get_command(app).commands)
lines = [[], ["--help"], ["--version"], ["--nonsense"]]
lines += [[name, "--help"] for name in names] + [[name, "--nonsense"] for name in names]
report = []
for line in lines:
    result = CliRunner().invoke(app, line)
    heavy = [m for m in {HEAVY} if m in sys.modules]
    report.append([line, result.exit_code, len(result.output), heavy])
print(json.dumps(report))
"""
    report = json.loads(python(code))
    commands = {line[0] for line, *_ in report if len(line) == 2}
    assert {"generate", "project", "train", "evaluate"} <= commands
    for line, exit_code, length, heavy in report:
        assert heavy == [], line
        assert length > 5, line
        wrong = not line or "--nonsense" in line
        assert exit_code == (2 if wrong else 0), line


def test_a_model_is_loaded_and_used_without_torchs_compiler() -> None:
    # It takes as long to import as torch itself, and some innocent calls drag it in.
    code = """
import json, sys
import make_it_real
f = make_it_real.load("mnist", "cpu")
make_it_real.project(f, make_it_real.generate(f, [0]))
print(json.dumps([m for m in ("torch._dynamo", "sympy") if m in sys.modules]))
"""
    assert json.loads(python(code)) == []
