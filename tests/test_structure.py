"""The shape of the package: imports go downward, and --help answers without torch."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import make_it_real
from make_it_real.cli import app

PACKAGE = Path(make_it_real.__file__).parent
# Ten neighbourhoods, from the top: a module imports from its own folder or from floors below.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("app",),
    ("training",),
    ("evaluation",),
    ("inference", "weights", "data"),
    ("models", "images"),
    ("degradations", "files", "devices", "distributed", "installation", "memory", "threads"),
    ("errors", "_version"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
# The package's own __init__ imports its public names when they are asked for.
PUBLIC = {"__init__"}
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


def place(name: str) -> str:
    """The folder, or the single module, that a module belongs to."""
    return name.split(".")[0]


def test_the_import_reader_sees_every_kind_of_import() -> None:
    source = """
import torch
import make_it_real
from make_it_real import devices, __version__
if TYPE_CHECKING:
    from make_it_real.models.ign import IGN
def f():
    import make_it_real.cli.train
    from make_it_real.cli.console import say
"""
    known = {"devices", "models", "models.ign", "cli", "cli.train", "cli.console"}
    found = {"__init__", "devices", "models.ign", "cli.train", "cli.console"}
    assert set(imported(source, known)) == found


def test_every_module_has_a_floor() -> None:
    assert {place(name) for name in IMPORTS} - PUBLIC == set(FLOOR)


@pytest.mark.parametrize("name", sorted(set(IMPORTS) - PUBLIC))
def test_a_module_imports_from_its_own_folder_or_from_below(name: str) -> None:
    own = place(name)
    others = {place(other) for other in IMPORTS[name] - PUBLIC} - {own}
    assert {other for other in others if FLOOR[other] <= FLOOR[own]} == set()


@pytest.mark.parametrize("name", sorted(set(IMPORTS) - PUBLIC))
def test_only_the_command_line_imports_the_command_line(name: str) -> None:
    if place(name) not in ("cli", "__main__"):
        assert not {other for other in IMPORTS[name] if place(other) in ("cli", "__main__")}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/__init__.py")), ids=lambda p: p.parent.name)
def test_a_folders_init_is_a_docstring(path: Path) -> None:
    if path.parent.name != "cli":
        assert [type(node) for node in ast.parse(path.read_text("utf-8")).body] == [ast.Expr]


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
    ("importer", "others"),
    [("weights.model_file", {"models.ign"}), ("cli.train", {"training.run", "distributed"})],
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


def test_images_and_framing_are_offered_by_name() -> None:
    code = (
        "import make_it_real as m; i = m.images; print(*(f.__name__ for f in ("
        "i.pixels.to_images, i.decode.read, i.encode.encode, m.framing.fit_all)))"
    )
    assert python(code).split() == ["to_images", "read", "encode", "fit_all"]


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


def test_models_are_loaded_without_the_compiler() -> None:
    # On the meta device, where files are checked, torch imports it for some layers, in a second.
    code = (
        "import sys, make_it_real as m; [m.load(n, 'cpu') for n in ('faces', 'mnist', 'photos')];"
        "print(*(name for name in ('torch._dynamo', 'sympy') if name in sys.modules))"
    )
    assert python(code).split() == []


def test_every_command_has_the_flags_that_all_share() -> None:
    def names(command: Any) -> dict[str, set[str]]:
        """The options of a command, or of each of a group's, by its name."""
        if not hasattr(command, "commands"):
            return {command.name: {o for p in command.params for o in p.opts}}
        found: dict[str, set[str]] = {}
        for inner in command.commands.values():
            found |= names(inner)
        return found

    options = names(typer.main.get_command(app))
    assert {"generate", "train", "push"} <= set(options)
    for command, own in options.items():
        assert {"--quiet", "-q", "--verbose", "-v", "--debug"} <= own, command


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
