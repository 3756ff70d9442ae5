"""How many sentences of models, methods and runs have no Chinese, counted in the source: the number may only fall."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import microtune
from microtune.cli.chinese import translated
from microtune.cli.chinese.schema import SCHEMA

PACKAGE = Path(microtune.__file__).parent
PARTS = ("run", "nn", "families", "adapt", "classic")
ERRORS = {"MicrotuneError", "InputError", "LimitError", "RunError", "CheckError"}
ONE = "Qq"  # stands for a value
MOST_PLACES = 1  # in run/automata.py, where the library for constraints says why in its own words
TO_PROGRAMMERS = {  # what no command can ask for: arguments of Python calls, states and specs handed in
    "families/base.py": 3,
    "run/adapters.py": 2,
    "run/load.py": 2,
    "run/classic/ngram.py": 1,
}

PUT_TOGETHER = {  # places whose sentence the source cannot show whole: one that they make, for each of them
    "adapt/several.py": [
        "method: two methods for one role: a and b both change decoder.blocks.0.mlp.up; take one of them.",
        "method: norms adds nothing: full trains all of that already; leave it out.",
    ],
    "families/base.py": ['m.safetensors: tensor "a" is a second version of "b"; keep one of them.'],
    "families/files.py": [
        'm.safetensors: tensor "a" cannot be read (Permission denied).',
        'm.safetensors: tensor "b" cannot be read (Input/output error).',
        'm.safetensors: tensor "a" stands twice in the header; export the model again.',
    ],
    "families/twins.py": ['m: tensor "a" has no place in this family; was the file made for another head?'],
    "run/added.py": ["model.added_tokens: this model has no tokenizer that a token could be added to."],
    "run/classic/base.py": ["ng: an n-gram model has no vectors."],
    "run/compare/heats.py": [
        "curve: no size is left; 500 examples in all: left out, the training split has 32 rows.",
    ],
    "run/compare/place.py": [
        "c: this comparison is finished; choose another folder with --out, or replace it with --overwrite.",
    ],
    "run/export/readers.py": [
        'transformers misses the tensor "a" in the exported files; nothing was written.',
    ],
    "run/hub/cache.py": [
        "m/a: has 3 bytes, but a has 4 on the hub; delete the file a and load the model again.",
        "m/a: is not the a that the hub publishes (SHA-1 0a... instead of 0b...), so it is not used; delete the file a "
        "and load the model again.",
    ],
    "run/invariants.py": [
        "a.jsonl, line 3: An answer does not end with a stop token: the model would never learn to stop. Let the chat "
        "template write one after the assistant's turn.",
        'a.jsonl, line 3: The text begins with "<s>" twice: tokenizer, chat template and text must not write it more '
        "than once together.",
    ],
    "run/peft/modules.py": [
        'ad: "a" has an update and is no linear layer inside the blocks of this base; merge the adapter into its base '
        "with peft (`merge_and_unload`) and load the result.",
    ],
    "run/peft/virtual.py": [
        "ad: this adapter has a label head that reads the first token of a text; under a prompt peft reads the first "
        "virtual token instead, which is another model. Use a prefix, or the run itself.",
    ],
    "run/scratch.py": [
        "recipe: model.family: A llama file cannot express decoder.window: 8: save in our own form.",
    ],
}


def texts(node: ast.expr, known: Mapping[str, list[str]]) -> list[str]:
    """The texts that an expression may be, values as ONE."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        made = [""]
        for part in node.values:
            more = texts(part.value if isinstance(part, ast.FormattedValue) else part, known)
            made = [begun + text for begun in made for text in more][:32]
        return made
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [one + two for one in texts(node.left, known) for two in texts(node.right, known)]
    if isinstance(node, ast.IfExp):
        return texts(node.body, known) + texts(node.orelse, known)
    if isinstance(node, ast.Call):
        return {"shown": [f'"{ONE}"'], "suggest": [f"Known: {ONE}."]}.get(ast.unparse(node.func), [ONE])
    return known.get(node.id, [ONE]) if isinstance(node, ast.Name) else [ONE]


def raised(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line and texts of every error that a module makes; sentences that only pass through it are not its own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    shared: dict[str, list[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            shared[node.targets[0].id] = texts(node.value, {})
    for scope in [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]:
        own: dict[str, list[str]] = {}
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                own.setdefault(node.targets[0].id, []).extend(texts(node.value, shared))
        known = shared | own
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ERRORS and node.args:
                found = texts(node.args[0], known)
                if all(re.search("[a-z]{3}", text.replace(ONE, "")) for text in found):
                    yield node.lineno, found


def unsaid() -> tuple[int, dict[str, set[int]]]:
    """How many places there are, and by file the lines of those of which no text is said in Chinese."""
    places, found = 0, {}
    for part in PARTS:
        for path in sorted((PACKAGE / part).rglob("*.py")):
            made = dict(raised(path))
            places += len(made)
            english = {n for n, said in made.items() if not any(translated(text) != text for text in said)}
            if english:
                found[path.relative_to(PACKAGE).as_posix()] = english
    return places, found


def test_what_stays_english() -> None:
    """Eight are for programmers alone, and one quotes a library."""
    places, found = unsaid()
    assert places > 450
    counted = {file: len(lines) - len(PUT_TOGETHER.get(file, ())) for file, lines in found.items()}
    assert {file: count for file, count in counted.items() if file in TO_PROGRAMMERS} == TO_PROGRAMMERS
    others = {file: sorted(found[file]) for file, count in counted.items() if count and file not in TO_PROGRAMMERS}
    assert sum(counted[file] for file in others) <= MOST_PLACES, others


def test_sentences_put_together() -> None:
    for english in (sentence for some in PUT_TOGETHER.values() for sentence in some):
        said = translated(english)
        assert re.search("[\u4e00-\u9fff]", said), english
        assert not re.search("[a-z]{3,} [a-z]{3,} [a-z]{3,}", said), said  # nothing is half said


def test_mistakes_of_a_schema() -> None:
    for english, chinese in SCHEMA.items():
        names = set(re.findall(r"\{([a-z]+)\}", english))
        assert names - {"least"} <= set(re.findall(r"\{([a-z]+)\}", chinese)) <= names
        assert not re.search(r"[\u4e00-\u9fff][,.;:?]", chinese)
        said = translated("recipe: " + english.format(**{name: name[0] * 3 for name in names}))
        assert said == "配方：" + chinese.format(**{name: name[0] * 3 for name in names})
