"""Names, sizes and words that this project does not accept; `python -m tests.lint.names [PATH ...]`, without a path the whole repository.

Python files: no banned identifier (pyproject.toml, [tool.mals.lint.names]), no file above 500 lines, no function above 60.
Docstrings, comments, sentences in strings and Markdown: no banned word ([tool.mals.lint.words]), code between backticks and links aside.
A line that ends in `# lint: data` holds captions or prompts, whose words are their own.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RULES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mals"]["lint"]
FILE_LINES, FUNCTION_LINES = 500, 60
FREE = set(RULES["free"])  # files whose words are free: the log keeps those of its day

Message = tuple[int, str]  # line number, sentence
Function = ast.FunctionDef | ast.AsyncFunctionDef


def check(path: Path) -> list[Message]:
    """Every complaint about one file, by line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return sorted(prose(text))
    tree = ast.parse(text, str(path))
    data = {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# lint: data")}
    words = [*docstrings(tree), *comments(text), *(() if "tests" in path.parts else sentences(tree))]
    return sorted({*sizes(text, tree), *identifiers(tree), *(word for word in words if word[0] not in data)})


def sizes(text: str, tree: ast.AST) -> Iterator[Message]:
    """The file and the functions that are too long."""
    if (lines := len(text.splitlines())) > FILE_LINES:
        yield 1, f"the file has {lines} lines; at most {FILE_LINES}"
    for node in ast.walk(tree):
        if isinstance(node, Function) and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES:
            yield node.lineno, f"{node.name} has {lines} lines; at most {FUNCTION_LINES}"


def identifiers(tree: ast.AST) -> Iterator[Message]:
    """The banned identifiers that a file binds: variables, parameters, attributes, functions, classes, imports."""
    for node in ast.walk(tree):
        for name in bound(node):
            if instead := RULES["names"].get(name.strip("_").lower()):
                yield getattr(node, "lineno", 1), f"the name {name} says nothing; use {instead}"


def bound(node: ast.AST) -> list[str]:
    """The names that this node of the syntax tree introduces."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
            return [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.alias(asname=str(asname)):  # without one the name is of the module that defines it
            return [asname]
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return [name]
    return []


def docstrings(tree: ast.AST) -> Iterator[Message]:
    """The banned words in docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and (text := ast.get_docstring(node, clean=False)):
            first = node.body[0].lineno
            yield from ((first + line - 1, message) for line, message in prose(text))


def comments(text: str) -> Iterator[Message]:
    """The banned words in comments."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield from ((token.start[0], message) for _, message in prose(token.string))


def sentences(tree: ast.AST) -> Iterator[Message]:
    """The banned words in strings of several words: messages, help texts, templates."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield from ((node.lineno + line - 1, message) for line, message in prose(node.value))


def prose(text: str) -> Iterator[Message]:
    """The banned words in a text, code and link targets aside."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if fenced:
            continue
        line = re.sub(r"`[^`]*`|\]\([^)]*\)|https?://\S+|<[^>]*>", " ", line)
        for word in re.findall(r"[A-Za-z]+", line):
            if instead := RULES["words"].get(word.lower()):
                yield number, f"the word {word!r}; write {instead}"


def files(arguments: list[str]) -> list[Path]:
    """The tracked (or not yet added) Python and Markdown files under the paths, or of the whole repository."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *arguments]
    listed = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    names = [name for name in listed if name.endswith((".py", ".md")) and name not in FREE]
    return [path for name in sorted(set(names)) if (path := ROOT / name).is_file()]


def main(arguments: list[str]) -> int:
    """Print every complaint; 1 if there is any."""
    count = 0
    for path in files([str(Path(argument).resolve()) for argument in arguments]):
        for line, message in check(path):
            print(f"{path.relative_to(ROOT)}:{line}: {message}")
            count += 1
    if count:
        print(f"{count} complaints")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
