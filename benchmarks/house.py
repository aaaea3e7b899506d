"""How the code is kept: rooms, lengths, `Any`, docstrings. ``--check`` ends with 1 where a bound is passed.

    python benchmarks/house.py            # a table by room
    python benchmarks/house.py --check    # what `make check` runs

Reads the Python files that git knows; runs nothing of them. `Any` is counted as a word of the code, a function's length
in lines from ``def`` to its end, without its docstring.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import subprocess
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Function = ast.FunctionDef | ast.AsyncFunctionDef

MOST_FILES_IN_A_ROOM = 15
LONGEST_FILE = 300
ONE_THOUGHT = {
    "local_account/functions/workers.py": "a worker process from its start to its end",
    "local_account/moto_services/s3.py": "moto's long signatures, which an override repeats",
    "local_account/server/control.py": "starting, asking and stopping one server",
}
"""Files that are longer, and why."""
MOST_ANY_PER_1000_LINES = 12.0
MEDIAN_FUNCTION, LONG_FUNCTION = 8, 20
"""Lines: the median, and what nine of ten functions stay within."""
LEAST_DOCUMENTED = 0.85
"""Of public classes, functions and methods."""


@dataclass
class Room:
    """What was counted in one folder."""

    lines: int = 0
    any_words: int = 0
    public: int = 0
    documented: int = 0
    lengths: list[int] = field(default_factory=list)

    def add(self, other: Room) -> None:
        """Count another room's files in."""
        self.lines, self.any_words = self.lines + other.lines, self.any_words + other.any_words
        self.public, self.documented = self.public + other.public, self.documented + other.documented
        self.lengths += other.lengths

    @property
    def any_per_1000_lines(self) -> float:
        """`Any` per 1,000 lines."""
        return 1000 * self.any_words / max(self.lines, 1)

    @property
    def share_documented(self) -> float:
        """Of the public names, 0 to 1."""
        return self.documented / max(self.public, 1)

    @property
    def median_length(self) -> float:
        """Lines of the function in the middle."""
        return statistics.median(self.lengths or [0])

    @property
    def long_length(self) -> float:
        """Lines that nine of ten functions stay within."""
        return statistics.quantiles(self.lengths, n=10)[-1] if len(self.lengths) > 1 else self.median_length


def main() -> int:
    """Print the table, and with ``--check`` what passes a bound; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="print what passes a bound only, and end with 1 if any does"
    )
    arguments = parser.parse_args()
    files = tracked_files()
    code = [path for path in files if path.parts[0] not in {"tests", "benchmarks"} and len(path.parts) > 1]
    rooms = count(code)
    whole = Room()
    for room in rooms.values():
        whole.add(room)
    if not arguments.check:
        print_table({**rooms, "all": whole})
    problems = [*crowded(files), *long_files(files), *beyond(whole)]
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if arguments.check and problems else 0


def tracked_files() -> list[Path]:
    """The Python files of the repository, relative to its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [Path(name) for name in listed if (ROOT / name).is_file()]


def count(files: list[Path]) -> dict[str, Room]:
    """Every room by its folder."""
    rooms: dict[str, Room] = defaultdict(Room)
    for path in files:
        text = (ROOT / path).read_text(encoding="utf-8")
        rooms[str(path.parent)].add(count_file(text))
    return dict(sorted(rooms.items()))


def count_file(text: str) -> Room:
    """One file's counts."""
    tree = ast.parse(text)
    words = tokenize.generate_tokens(io.StringIO(text).readline)
    public = list(public_definitions(tree))
    return Room(
        lines=text.count("\n"),
        any_words=sum(word.type == tokenize.NAME and word.string == "Any" for word in words),
        public=len(public),
        documented=sum(ast.get_docstring(node) is not None for node in public),
        lengths=[length(node) for node in ast.walk(tree) if isinstance(node, Function)],
    )


def public_definitions(tree: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    """Classes and functions of a module, and the methods of its public classes; no name that begins with ``_``.

    Of an overloaded function the last definition, which does the work and says so.
    """
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_") and not is_overload(node):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node)


def is_overload(node: Function | ast.ClassDef) -> bool:
    """Whether a definition only tells types apart."""
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)


def length(function: Function) -> int:
    """Lines of a function, without its docstring."""
    end = function.end_lineno or function.lineno
    first = function.body[0]
    has_docstring = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if has_docstring else 0
    return end - function.lineno + 1 - docstring


def crowded(files: list[Path]) -> list[str]:
    """Rooms with too many files at their top."""
    found = Counter(path.parent for path in files)
    return [
        f"{room}: {number} files, at most {MOST_FILES_IN_A_ROOM}: are there rooms inside?"
        for room, number in sorted(found.items())
        if number > MOST_FILES_IN_A_ROOM
    ]


def long_files(files: list[Path]) -> list[str]:
    """Files of more than one thought, by their length. A test file may be as long as what it tests needs."""
    lines = {path: (ROOT / path).read_text(encoding="utf-8").count("\n") for path in files if path.parts[0] != "tests"}
    return [
        f"{path}: {number} lines, at most {LONGEST_FILE}: one thought, or two?"
        for path, number in lines.items()
        if number > LONGEST_FILE and str(path) not in ONE_THOUGHT
    ]


def beyond(whole: Room) -> list[str]:
    """Bounds that the whole passes."""
    bounds = {
        f"Any per 1,000 lines: {whole.any_per_1000_lines:.1f}, at most {MOST_ANY_PER_1000_LINES:g}": (
            whole.any_per_1000_lines > MOST_ANY_PER_1000_LINES
        ),
        f"functions: median {whole.median_length:g} lines, at most {MEDIAN_FUNCTION}": (
            whole.median_length > MEDIAN_FUNCTION
        ),
        f"functions: nine of ten within {whole.long_length:g} lines, at most {LONG_FUNCTION}": (
            whole.long_length > LONG_FUNCTION
        ),
        f"public names with a docstring: {whole.share_documented:.0%}, at least {LEAST_DOCUMENTED:.0%}": (
            whole.share_documented < LEAST_DOCUMENTED
        ),
    }
    return [text for text, passed in bounds.items() if passed]


def print_table(rooms: dict[str, Room]) -> None:
    """A row a room."""
    print(f"{'room':42} {'lines':>6} {'Any/1000':>9} {'docstrings':>11} {'median':>7} {'p90':>5}")
    for name, room in rooms.items():
        print(
            f"{name:42} {room.lines:6} {room.any_per_1000_lines:9.1f} {room.share_documented:11.0%} "
            f"{room.median_length:7.1f} {room.long_length:5.1f}"
        )


if __name__ == "__main__":
    sys.exit(main())
