"""Prose that a reader does not have to read twice: how docstrings open, what they explain, and words that are not used.

The rules are those of a textbook: whole sentences, the field's words. `docs/glossary.md` defines the words of our own.
"""

import ast
import builtins
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = ("physics", "schemas", "generators", "training", "inference", "drybeam", "benchmarks")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "workflows").rglob("README.md")])
TEMPLATES = sorted((ROOT / "inference").rglob("*.html"))

OPENERS = {"What", "Whether", "Of", "Where", "How", "Who", "Whose", "Why", "Which", "That", "Those", "When", "With"}
SECTIONS = ("Args:", "Returns:", "Raises:", "Yields:", "Attributes:")
SHARE = 0.6  # of the public functions that take two arguments or more

# Words that are not wanted, and what to write. Former names that metadata and options still understand are no prose.
UNWANTED = {
    r"gauges?": "ambiguities",
    r"knobs?": "settings",
    r"beware": "say what is wrong and what to do",
    r"so-manieth": "every N-th",
    r"amid": "in the middle",
    r"thereof|wherein|whereof|hereby|hence|whilst": "plain words",
    r"unit-samples": "shard-samples",
    r"is told of|are told of": "a verb in the active voice",
    r"what is no number|what are no numbers": "NaN or infinite values",
    r"finished units|whole units": "finished shards",
}
FORMER = {"schemas/manifest.py", "schemas/task.py", "schemas/predictions.py", "generators/cli.py"}

# Words in capitals that are no constants of the module: abbreviations, names of others, and names of every task's file.
ABBREVIATIONS = {
    "ASCII",
    "BLAS",
    "CODATA",
    "ELBO",
    "GDAL",
    "HSPY",
    "HTML",
    "HTTP",
    "IEEE",
    "IMOD",
    "JPEG",
    "JSON",
    "MATLAB",
}
ABBREVIATIONS |= {"PRISM", "RAAR", "README", "SIAM", "SIMD", "SIRT", "TIFF", "TVIPS"}
OTHERS = {"EX_TEMPFAIL", "MAPC", "MAPR", "MAPS", "SKIP", "FOLDER", "LEARN", "RECIPES", "TASK", "VERSION"}
LIBRARIES = {"jax", "numba", "scipy"}
SUFFIXES = {"html", "json", "npy", "py", "sh", "zarr"}


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Names and docstrings of a module, its classes and functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield getattr(node, "name", "module"), text


def public(path: Path) -> Iterator[ast.FunctionDef]:
    """Functions and methods that others call, and that take two arguments or more."""

    def inside(node: ast.AST) -> Iterator[ast.FunctionDef]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
                yield from inside(child)
            elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
                arguments = [*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs]
                if len([a for a in arguments if a.arg not in ("self", "cls")]) >= 2:
                    yield child

    yield from inside(ast.parse(path.read_text()))


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of comments, docstrings and other texts of a program; all lines of a page."""
    if path.suffix != ".py":
        yield from enumerate(path.read_text().splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING, tokenize.FSTRING_MIDDLE):
            yield from enumerate(token.string.splitlines(), token.start[0])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_open_with_a_verb_or_the_thing_itself(path: Path) -> None:
    assert [(name, text.splitlines()[0]) for name, text in docstrings(path) if text.split()[0] in OPENERS] == []


@pytest.mark.parametrize("path", [*FILES, *PAGES, *TEMPLATES], ids=lambda path: str(path.relative_to(ROOT)))
def test_words_that_are_not_wanted(path: Path) -> None:
    unwanted = {} if str(path.relative_to(ROOT)) in FORMER else UNWANTED
    lines = list(prose(path))
    found = {
        (number, word): better
        for pattern, better in unwanted.items()
        for number, line in lines
        for word in re.findall(rf"(?<![\w-])(?:{pattern})(?![\w-])", line, re.IGNORECASE)
    }
    assert found == {}


@pytest.mark.parametrize("room", ROOMS[:-1])
def test_public_functions_explain_their_arguments(room: str) -> None:
    functions = [node for path in (ROOT / room).rglob("*.py") for node in public(path)]
    explained = [node for node in functions if any(word in (ast.get_docstring(node) or "") for word in SECTIONS)]
    assert len(explained) >= SHARE * len(functions), [node.name for node in functions if node not in explained]


def without_prose(path: Path) -> str:
    """Return a program without docstrings and comments."""
    return re.sub(r'""".*?"""|#[^\n]*', "", path.read_text(), flags=re.DOTALL)


@cache
def names_by_module() -> dict[str, set[str]]:
    """Return all words in the code of modules, by the last part of a module's name; those of packages are modules."""
    found: dict[str, set[str]] = {}
    for path in FILES:
        module = path.parent.name if path.stem == "__init__" else path.stem
        found.setdefault(module, set()).update(re.findall(r"\w+", without_prose(path)))
        for folder in path.relative_to(ROOT).parents:
            found.setdefault(folder.name, set()).update(path.relative_to(ROOT / folder).with_suffix("").parts)
    return found


@cache
def every_name() -> set[str]:
    """Return all words in the code of all modules."""
    return set().union(*names_by_module().values())


@cache
def definitions() -> set[str]:
    """Return the names of functions, classes and attributes."""
    pattern = r"(?:def|class) (\w+)|^    (\w+): "
    return {a or b for path in FILES for a, b in re.findall(pattern, without_prose(path), re.MULTILINE)}


@pytest.mark.parametrize("path", [*FILES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_names_in_prose_exist(path: Path) -> None:
    """Names of modules with what they hold (`module.name`), functions (`name(...)`) and constants (NAME)."""
    modules, words, text = names_by_module(), every_name(), path.read_text()
    dotted = [name.split(".") for name in re.findall(r"`([a-z_]\w*(?:\.\w+)+)`", text)]
    pairs = [
        pair
        for parts in dotted
        if parts[-1] not in SUFFIXES and parts[0] in words - LIBRARIES
        for pair in pairwise(parts)
    ]
    missing = [".".join(pair) for pair in pairs if pair[1] not in modules.get(pair[0], words)]
    functions = definitions() | set(dir(builtins))
    missing += [name for name in re.findall(r"`(\w+)\((?!(?:N|0)\))[^`]*\)`", text) if name not in functions]
    if path.suffix == ".py":
        comments = "\n".join(re.findall(r'""".*?"""|  # [^\n]*', text, re.DOTALL))
        capitals = re.findall(r"(?<![\w.*/=-])[A-Z][A-Z_]{3,}(?![\w/*-])", comments)
        here = set(re.findall(r"\w+", without_prose(path)))
        missing += [name for name in capitals if name not in here | ABBREVIATIONS | OTHERS]
        missing += [".".join(parts) for parts in dotted if parts[0] not in words | LIBRARIES]
    assert missing == []


def test_the_glossary_defines_the_words_of_our_own() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text()
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", page, re.MULTILINE)
    assert words == sorted(words)
    assert {"shard", "receipt", "digest", "setting", "ambiguity", "recipe", "slice", "window"} <= set(words)
