"""The house: who may import whom, docstrings, sizes, what is in the wheel, what is imported late.

All is read from the sources, but for the last two.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "text2live_cli"
BASE = ("config", "device", "progress", "errors", "endings", "texts")
LOWER = ("media", *BASE)
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "cli": ("batch", "pipelines", "video", "report", "runs", "atlas", "engine", "guide", *LOWER),
    "batch": ("pipelines", "video", "report", "runs", "atlas", "engine", "guide", *LOWER),
    "pipelines": ("video", "report", "runs", "lifting", "atlas", "engine", "guide", *LOWER),
    "video": ("report", "runs", "atlas", "engine", "guide", *LOWER),
    "report": ("atlas", "engine", "guide", *LOWER),
    "runs": ("atlas", "engine", "guide", *LOWER),
    "atlas": ("engine", "guide", *LOWER),
    "lifting": LOWER,
    "engine": ("guide", *LOWER),
    "guide": LOWER,
    "media": BASE,
    **dict.fromkeys(BASE, BASE),
}
"""The folders and modules of the package, from the top down, and what each may import.

The package's own face, `__init__` and `__main__`, may import all.
"""
MAX_FUNCTION, MAX_FILE = 60, 400  # lines


class Import(NamedTuple):
    """One import: of which module, from which line of which."""

    module: str
    line: int
    target: str
    """Dotted; "." in front of a module of the package itself."""


class Definition(NamedTuple):
    """A public function, method or class; `where` is for the complaint."""

    where: str
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@cache
def trees(folder: Path = PACKAGE) -> dict[str, ast.Module]:
    """Every module below a folder, by its path in it."""
    paths = sorted(folder.rglob("*.py"))
    return {str(path.relative_to(folder)): ast.parse(path.read_text("utf-8")) for path in paths}


def imports(name: str, tree: ast.Module) -> Iterator[Import]:
    """All imports of a module, those within functions too."""
    here = Path(name).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(name, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = [*here[: len(here) - node.level + 1], *(node.module or "").split(".")]
            base = [part for part in base if part]
            ends = [""] if base else [alias.name for alias in node.names]
            yield from (Import(name, node.lineno, "." + ".".join([*base, e])) for e in ends)
        elif isinstance(node, ast.ImportFrom):
            yield Import(name, node.lineno, node.module or "")


def every_import() -> Iterator[Import]:
    return (one for name, tree in trees().items() for one in imports(name, tree))


def top(module: str) -> str:
    return Path(module).with_suffix("").parts[0]


def breaks_the_table(one: Import) -> bool:
    """Whether an import goes up, or from `atlas` into its own `fit`."""
    source, target = top(one.module), one.target.lstrip(".").split(".")
    if source.startswith("__") or not one.target.startswith("."):
        return False
    if source == target[0]:
        return target[:2] == ["atlas", "fit"] and not one.module.startswith("atlas/fit/")
    return target[0] in MAY_IMPORT and target[0] not in MAY_IMPORT[source]


# Who may import whom


def test_nobody_imports_upwards() -> None:
    assert {top(name) for name in trees() if not top(name).startswith("__")} == set(MAY_IMPORT)
    assert [one for one in every_import() if breaks_the_table(one)] == []


@pytest.mark.parametrize(
    ("module", "line", "allowed"),
    [
        ("engine/a.py", "from ..atlas.layers import Side", False),
        ("engine/a.py", "from ..guide.clip import ClipGuide", True),
        ("atlas/a.py", "from .fit.flow import Flow", False),
        ("atlas/fit/a.py", "from ..layers import Side", True),
        ("atlas/fit/a.py", "from ...runs.clock import CheckpointClock", False),
        ("video/a.py", "from ..report import page", True),
        ("report/a.py", "def late():\n    from .. import video", False),
        ("errors.py", "from .media import files", False),
    ],
)
def test_the_table_is_read_as_it_is_meant(module: str, line: str, allowed: bool) -> None:
    given = list(imports(module, ast.parse(line)))
    assert given
    assert any(map(breaks_the_table, given)) is not allowed


def test_only_the_command_line_knows_typer_and_rich() -> None:
    knowing = {
        one.module for one in every_import() if one.target.split(".")[0] in ("typer", "rich")
    }
    assert knowing
    assert {top(name) for name in knowing} == {"cli"}


# Docstrings and sizes


def public(folder: Path) -> Iterator[Definition]:
    """All that has a public name, in modules and in public classes, as far as those are public."""
    for name, tree in trees(folder).items():
        yield from _public_in(tree, name)


def _public_in(scope: ast.Module | ast.ClassDef, where: str) -> Iterator[Definition]:
    for node in scope.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if node.name.startswith("_"):
                continue
            yield Definition(f"{where}:{node.lineno} {node.name}", node)
            if isinstance(node, ast.ClassDef):
                yield from _public_in(node, where)


def test_all_that_is_public_has_a_docstring() -> None:
    bare = [one.where for one in public(PACKAGE) if not ast.get_docstring(one.node)]
    assert bare == []


SHAPE = re.compile(r"\((?:[^()\n]{1,30},[^()]{0,60}|[a-zA-Z],)\)|scalar|shape|size|like|See `")


def takes_arrays(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether an argument is an array or a tensor, not a record or table of them."""
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    kinds = [ast.unparse(one.annotation) for one in given if one.annotation]
    return any(re.match(r"(torch\.)?(Tensor|NDArray)\b", kind) for kind in kinds)


def names_a_shape(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return bool(SHAPE.search(ast.get_docstring(node) or ""))


def test_what_takes_arrays_names_their_shape() -> None:
    functions = [one for one in public(PACKAGE) if not isinstance(one.node, ast.ClassDef)]
    silent = [
        one.where
        for one in functions
        if isinstance(one.node, ast.FunctionDef)
        and takes_arrays(one.node)
        and not names_a_shape(one.node)
    ]
    assert silent == []


def functions_of(folder: Path) -> Iterator[tuple[str, int]]:
    """Every function by path and name, and its number of lines."""
    for name, tree in trees(folder).items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{name}:{node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_functions_are_short() -> None:
    lengths = dict(functions_of(PACKAGE))
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION} == {}


def test_files_are_short() -> None:
    lengths = {
        str(path.relative_to(PACKAGE)): len(path.read_text("utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE} == {}


# Tests that could not fail


def test_what_is_raised_is_looked_at() -> None:
    """`pytest.raises` has a `match`, or what it caught is kept; an interrupt says nothing."""
    bare = []
    for name, tree in trees(ROOT / "tests").items():
        for node in ast.walk(tree):
            for item in node.items if isinstance(node, ast.With) else []:
                call = item.context_expr
                if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.raises"):
                    continue
                silent = ast.unparse(call.args[0]) == "KeyboardInterrupt"
                if not (silent or item.optional_vars or call.keywords):
                    bare.append(f"{name}:{call.lineno}")
    assert bare == []


# What a user gets


@pytest.mark.slow
def test_the_wheel_holds_the_program_and_nothing_else() -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel")
    builder = wheel.WheelBuilder(str(ROOT))
    names = {file.distribution_path for file in builder.recurse_included_files()}
    assert names, "nothing is built"
    assert {name.split("/")[0] for name in names} == {"text2live_cli"}
    swatch = "text2live_cli/guide/swatch/"
    assert {swatch + "swatch.safetensors", swatch + "locator.safetensors"} <= names
    assert "text2live_cli/py.typed" in names
    pages = {
        str(p.relative_to(ROOT / "src")) for p in (PACKAGE / "report").iterdir() if p.is_file()
    }
    assert pages <= names
    modules = {str(path.relative_to(ROOT / "src")) for path in PACKAGE.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    trained = ("painter", "train.py", "captions", "augment", "landscapes", "tests", "judge")
    assert [name for name in names if any(word in name for word in trained)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import text2live_cli",
        "from text2live_cli.__main__ import main; sys.argv[1:] = ['--help']; main()",
    ],
)
def test_help_needs_no_torch(code: str) -> None:
    program = f"""import atexit, sys
late = ("torch", "numpy", "cv2", "av", "open_clip")
atexit.register(lambda: print("LATE", *sorted(set(late) & set(sys.modules))))
{code}"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LATE", done.stdout


def test_the_docs_name_modules_that_exist() -> None:
    """By their path, or by the end of it; CHANGELOG.md tells of former ones too."""
    folders = [ROOT / name for name in ("src", "bench", "tests", "examples")]
    paths = [path.as_posix() for folder in folders for path in folder.rglob("*.py")]
    for page in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md"):
        named = set(re.findall(r"[\w/]*\w\.py\b", page.read_text("utf-8")))
        gone = [name for name in named if not any(path.endswith("/" + name) for path in paths)]
        assert gone == [], page.name
