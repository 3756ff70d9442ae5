"""The shape of the package: who may import whom, how long a file may be, what may never stand in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from offenders import offenders

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "microtune"
LINES, FUNCTION = 400, 50

# What each part may import besides itself. `nn` and `data` do not know each other (batches.py lays tokens side by
# side, so it may use ragged); families, adapt, tasks and classic do not know each other.
PARTS = {"errors", "recipe", "registry", "nn", "data"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "version": set(),
    "ragged": set(),
    "registry": {"errors"},
    "plain": {"errors"},
    "forms": set(),
    "recipe": {"errors", "plain"},
    "nn": {"errors", "ragged"},
    "data": {"errors", "recipe"},
    "data.batches": {"ragged"},
    "data.steps.base": {"registry"},
    "families": {"errors", "registry", "nn", "data"},
    "adapt": {"errors", "recipe", "registry", "nn"},
    "tasks": PARTS,
    "classic": {*PARTS, "ragged"},
    "run": {*PARTS, "plain", "version", "ragged", "forms", "families", "adapt", "tasks", "classic"},
    "cli": {*PARTS, "version", "forms", "families", "adapt", "tasks", "classic", "run"},
    "assets": set(),
    "__main__": {"cli"},
    "": {"errors", "version", "recipe", "nn", "run"},
}
FAMILIES_FROM_DATA = {"microtune.data.objects"}  # reads a JSON object; families know no rows and no text


@cache
def modules() -> dict[str, Path]:
    """Name without `microtune.` -> file; "" is the package itself."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """Millions of nodes, among which every run of a later test would look for garbage."""
    yield
    parsed.cache_clear()


def tree(name: str) -> ast.Module:
    return parsed(modules()[name])


@cache
def imports(name: str, *, top_only: bool = False) -> set[str]:
    """The modules of the package that a module imports; top_only: when it is imported itself."""
    found = set()
    nodes: list[ast.AST] = list(tree(name).body) if top_only else list(ast.walk(tree(name)))
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("microtune.")
                outer = (node.module or "").removeprefix("microtune").removeprefix(".")
                if (node.module or "").split(".")[0] == "microtune":
                    found.add(inner if inner in modules() else outer)
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("microtune.") for a in node.names if a.name.startswith("microtune.")}
    return found - {name}


def looks_one_way(name: str) -> None:
    part = name.split(".")[0]
    assert part in ALLOWED, f"{part}: a new part of the package; say in ALLOWED what it may import"
    allowed = {part, *ALLOWED[part], *ALLOWED.get(name, ())}
    for other in imports(name):
        assert other.split(".")[0] in allowed, f"{name} imports {other}"
        if part == "families" and other.startswith("data"):
            assert f"microtune.{other}" in FAMILIES_FROM_DATA


def test_imports_run_one_way() -> None:
    assert offenders(looks_one_way, modules()) == {}


def test_nobody_imports_the_package_from_inside() -> None:
    """`from microtune import tune` inside the package would close a circle; its verbs are for users and the console."""
    for name in modules():
        if name.split(".")[0] != "cli":
            assert "" not in imports(name), name


def test_no_circles() -> None:
    """At module level imports form no circle, inside `run` too, so that every module can be read and loaded first."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in sorted(imports(name, top_only=True) & modules().keys()):
                visit(other, (*path, name))
            done.add(name)

    for name in modules():
        visit(name, ())


def test_registries_are_filled_in_one_place() -> None:
    """A method, a task, a family, a classic model: one file each, entered in its package's table."""
    from microtune.adapt import methods
    from microtune.classic import classics
    from microtune.families import families
    from microtune.tasks import tasks

    assert all(
        isinstance(name, str) and record
        for table in (methods, families, tasks, classics)
        for name, record in table.items()
    )


def is_one_sitting(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LINES
    module = parsed(path)
    assert not text.strip() or ast.get_docstring(module), "the first lines say what the file is"
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION, node.name


def test_a_file_is_one_sitting() -> None:
    files = [path for folder in (PACKAGE, ROOT / "tests") for path in sorted(folder.rglob("*.py"))]
    assert len(files) > 500
    assert offenders(is_one_sitting, files) == {}


def says_what_is_there(name: str) -> None:
    for node in tree(name).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            names = ast.literal_eval(node.value)
            assert names == sorted(set(names))
            there = {n.id for n in ast.walk(tree(name)) if isinstance(n, ast.Name)}
            there |= {n.name for n in ast.walk(tree(name)) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
            there |= {
                a.asname or a.name for n in ast.walk(tree(name)) if isinstance(n, ast.ImportFrom) for a in n.names
            }
            assert set(names) <= there


def test_all_is_sorted_and_complete() -> None:
    """`__all__`, where a module has one, is sorted, and names only what is there."""
    assert offenders(says_what_is_there, modules()) == {}


CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
ATTRIBUTES = {
    *("torch.load", "torch.save", "torch.hub.load", "np.loads", "os.system", "os.popen", "yaml.unsafe_load"),
    *("yaml.full_load", "yaml.load_all", "pandas.read_pickle", "tempfile.mktemp", "builtins.eval", "builtins.exec"),
}
MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "subprocess",
    "transformers",
    "peft",
}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def runs_nothing(name: str) -> None:
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            assert not MODULES & {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in MODULES
            if name != "data.templates":
                assert not (node.module or "").startswith("jinja2")
        elif isinstance(node, ast.Call):
            called = dotted(node.func)
            assert called not in CALLS | ATTRIBUTES, f"line {node.lineno}: {called}"
            words = {keyword.arg: keyword.value for keyword in node.keywords}
            assert "trust_remote_code" not in words
            assert not (isinstance(words.get("shell"), ast.Constant) and words["shell"].value)  # type: ignore[union-attr]
            if called == "yaml.load":
                assert dotted(words["Loader"]) in ("_Loader", "_FastLoader")
            if called in ("np.load", "numpy.load"):
                pickles = words["allow_pickle"]
                assert isinstance(pickles, ast.Constant)
                assert pickles.value is False


def test_nothing_in_a_file_can_become_code() -> None:
    """No pickle, no torch.load, no eval; YAML only with our own safe loader; jinja2 only in the sandbox."""
    assert offenders(runs_nothing, modules()) == {}


@pytest.mark.parametrize("name", ["_Loader", "_FastLoader"])
def test_the_loaders_of_yaml_are_safe(name: str) -> None:
    import yaml
    from yaml.constructor import FullConstructor, SafeConstructor, UnsafeConstructor

    from microtune import plain

    loader = getattr(plain, name, yaml.SafeLoader)  # the second is missing where PyYAML was built without libyaml
    assert issubclass(loader, SafeConstructor)
    assert not issubclass(loader, (FullConstructor, UnsafeConstructor))
    assert loader.yaml_constructors == yaml.SafeLoader.yaml_constructors


def test_the_library_never_prints() -> None:
    """`cli` does, and nothing else."""
    for name in modules():
        if name.split(".")[0] not in ("cli", "__main__"):
            assert not any(isinstance(n, ast.Call) and dotted(n.func) == "print" for n in ast.walk(tree(name))), name
