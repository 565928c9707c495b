"""The packaging holds together: folders, links, imports, declared dependencies, shipped examples."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
TOP = {"scorer": "scorer", "data": "scorer.data", "inference": "scorer.inference"}
TOP["training"] = "scorer.training"
LINKED = ("data", "inference", "training")

# Where the name to import is not the name to install.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml"}


def requirements(lines: list[str]) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


@pytest.mark.parametrize(
    "lines", [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
)
def test_no_dependency_is_declared_twice(lines: list[str]) -> None:
    assert len(requirements(lines)) == len(lines)


def package_folders() -> Iterator[tuple[str, Path]]:
    """Yield every (package name, folder) of the tree, each folder once and not through a link."""
    for top, package in TOP.items():
        for init in sorted((ROOT / top).rglob("__init__.py")):
            inside = init.parent.relative_to(ROOT / top)
            if top == "scorer" and inside.parts[:1] and inside.parts[0] in LINKED:
                continue  # Python before 3.13 follows links in rglob
            yield ".".join((package, *inside.parts)), init.parent


def source_files() -> list[Path]:
    files = {path.resolve() for top in TOP for path in (ROOT / top).rglob("*.py")}
    return sorted(files)


def imported_names(path: Path) -> Iterator[str]:
    """Yield the full name of every absolute import of a file, lazy ones too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None
            yield node.module


def folder_of(package: str) -> Path:
    """Return where setuptools looks for a package, by package-dir and its parents."""
    parts, rest = package.split("."), []
    while parts:
        if (folder := SETUPTOOLS["package-dir"].get(".".join(parts))) is not None:
            return ROOT.joinpath(folder, *rest)
        rest.insert(0, parts.pop())
    return ROOT.joinpath(*rest)


def test_every_package_folder_is_listed_and_every_listed_one_exists() -> None:
    # setuptools leaves an unlisted folder out of the wheel without a word.
    found = dict(package_folders())
    assert sorted(SETUPTOOLS["packages"]) == sorted(found)
    assert {name: folder_of(name) for name in SETUPTOOLS["packages"]} == found


def test_every_folder_with_code_is_a_package() -> None:
    folders = {folder for _, folder in package_folders()}
    assert {path.parent for path in source_files()} <= folders


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an sdist cannot carry links to folders")
@pytest.mark.parametrize("name", LINKED)
def test_link_points_where_package_dir_says(name: str) -> None:
    link = ROOT / "scorer" / name
    assert link.is_symlink()
    assert str(link.readlink()) == f"../{SETUPTOOLS['package-dir'][f'scorer.{name}']}"
    assert link.resolve() == folder_of(f"scorer.{name}").resolve()


def test_imports_stay_inside_scorer() -> None:
    # A bare `import data` would find the user's own data.py.
    bare = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in source_files()
        for name in imported_names(path)
        if name.split(".")[0] in LINKED
    ]
    assert bare == []


def test_every_third_party_import_is_declared() -> None:
    extras = {
        name: lines for name, lines in PROJECT["optional-dependencies"].items() if name != "dev"
    }
    declared = set(requirements(sum(extras.values(), PROJECT["dependencies"])))
    known = sys.stdlib_module_names | {"scorer"}
    undeclared = {
        (str(path.relative_to(ROOT)), name)
        for path in source_files()
        for name in imported_names(path)
        if (top := name.split(".")[0]) not in known
        and canonicalize_name(DISTRIBUTIONS.get(top, top)) not in declared
    }
    assert undeclared == set()


def test_scoring_path_loads_run_time_dependencies_alone() -> None:
    program = (
        "import sys\n"
        "import scorer, scorer.api, scorer.cli\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    optional = {
        requirement
        for lines in PROJECT["optional-dependencies"].values()
        for requirement in requirements(lines)
    } - {"setuptools", "packaging"}
    loaded = {canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in run.stdout.split()}
    assert loaded & optional == set()


def test_pins_live_in_constraints_alone() -> None:
    declared = PROJECT["dependencies"] + [
        line for lines in PROJECT["optional-dependencies"].values() for line in lines
    ]
    assert [line for line in declared if re.search(r"[^><!~]==", line.split(";")[0])] == []
    pins = [
        line
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    ranges = requirements(declared)
    for name, pin in requirements(pins).items():
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert ranges[name].specifier.contains(specifier.version), f"{pin} is outside the range"


def test_version_is_the_installed_one() -> None:
    import scorer

    assert scorer.__version__ == importlib.metadata.version("harmlessness-scorer")
    assert scorer.__version__ == PROJECT["version"]


def test_examples_are_native_test_rows_without_labels() -> None:
    # The demo must not show rows that the released checkpoint was trained on.
    from scorer.data.splits import split_key, split_of

    lines = (ROOT / "scorer/examples/answers.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    native = (ROOT / "data/bundled/native.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {row["id"]: (row["prompt"], row["response"]) for row in map(json.loads, native)}
    assert len(rows) >= 72
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert list(row) == ["id", "prompt", "response"]
        assert texts[row["id"]] == (row["prompt"], row["response"])
        assert split_of(split_key(row["prompt"], row["response"])) == "test"
