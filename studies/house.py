"""Count the house: lines, files, functions, imports that go up, circles of imports, equal functions.

python studies/house.py [FOLDER] [--imports]

Imports are those that run when a module is imported: those inside functions and for type checkers alone do not count.
"""

import argparse
import ast
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

PACKAGE = 'denseclip'
LAYERS = (
    ('version', 'files', 'recipes'),
    ('compat',),
    ('structures', 'core.placement', 'core.precision', 'core.regions', 'core.values'),
    ('weights',),
    ('clip',),
    ('core',),
    ('models.functional',),
    ('visualization',),
    ('datasets', 'evaluation'),
    ('models',),
    ('engine',),
    ('apis',),
    ('runtime',),
    ('export', 'browser'),
    ('serving',),
    ('cli',),
)
"""Rooms of the package from the ground up. A module imports from its own layer and from those below."""
FRONT = (PACKAGE, f'{PACKAGE}.__main__')  # the entrance looks into every room
SMALLEST = 4  # lines of a function whose double is counted


@dataclass(frozen=True)
class Import:
    """One import that runs when a module is imported.

    Attributes:
        importer: Module that imports.
        imported: Module of the package that it imports.
    """

    importer: str
    imported: str

    @property
    def goes_up(self) -> bool:
        """Whether the imported module lives in a higher layer."""
        return self.importer not in FRONT and layer(self.imported) > layer(self.importer)


@dataclass(frozen=True)
class House:
    """What was counted.

    Attributes:
        lines: Lines of each Python file.
        functions: Lines of each function, docstrings included.
        imports: Imports between modules.
        circles: Groups of modules that import each other in a circle.
        doubles: Pairs of functions with equal bodies.
    """

    lines: dict[str, int]
    functions: list[int]
    imports: list[Import]
    circles: list[list[str]]
    doubles: list[tuple[str, str]]

    @property
    def upward(self) -> list[Import]:
        """Imports from a higher layer."""
        return [one for one in self.imports if one.goes_up]

    def render(self) -> str:
        """A Markdown table."""
        rows = {
            'Python files': len(self.lines),
            'lines': sum(self.lines.values()),
            'lines of a file, median / largest': f'{spread(list(self.lines.values()))}',
            'functions': len(self.functions),
            'lines of a function, median / largest': f'{spread(self.functions)}',
            'imports between modules': len(self.imports),
            'imports that go up': len(self.upward),
            'circles of imports': len(self.circles),
            f'pairs of equal functions of {SMALLEST} lines and more': len(self.doubles),
        }
        return '\n'.join(
            ['| what | count |', '| --- | ---: |', *(f'| {name} | {value} |' for name, value in rows.items())]
        )


def spread(numbers: list[int]) -> str:
    """Median and largest of some numbers."""
    return f'{statistics.median(numbers):.0f} / {max(numbers)}' if numbers else '0 / 0'


def layer(module: str) -> int:
    """Number of the layer that a module lives in; rooms within rooms first.

    Raises:
        ValueError: It lives in none.
    """
    room = module.removeprefix(f'{PACKAGE}.')
    names = {name: number for number, names in enumerate(LAYERS) for name in names}
    for name in sorted(names, key=len, reverse=True):
        if room == name or room.startswith(f'{name}.'):
            return names[name]
    raise ValueError(f"'{module}' lives in no layer: name its room in LAYERS (studies/house.py) and in CONTRIBUTING.md")


def count(folder: Path) -> House:
    """Read the package.

    Args:
        folder: The package's folder.
    """
    files = {module_name(path, folder): path for path in sorted(folder.rglob('*.py'))}
    texts = {name: path.read_text(encoding='utf-8') for name, path in files.items()}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    imports = sorted({
        (name, target)
        for name, tree in trees.items()
        for target in imported_modules(tree, name, files[name].stem == '__init__', set(files))
        if target != name
    })  # fmt: skip
    found = list(functions(trees))
    return House(
        lines={name: text.count('\n') for name, text in texts.items()},
        functions=[length(node) for _, node in found],
        imports=[Import(*pair) for pair in imports],
        circles=circles(imports),
        doubles=doubles(found),
    )


def module_name(path: Path, folder: Path) -> str:
    """Dotted name of a file of the package."""
    parts = (PACKAGE, *path.relative_to(folder).with_suffix('').parts)
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def running(nodes: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports among statements that run at import: not inside functions, not for type checkers."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test):
            yield from running(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ('body', 'orelse', 'finalbody'):
                yield from running(getattr(node, part, []))
            for handler in getattr(node, 'handlers', []):
                yield from running(handler.body)


def imported_modules(tree: ast.Module, name: str, is_package: bool, known: set[str]) -> Iterator[str]:
    """Modules of the package that a module imports by name."""
    for node in running(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
            continue
        base = node.module or ''
        if node.level:
            parts = name.split('.')
            above = parts[: len(parts) - node.level + is_package]
            base = '.'.join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            inner = f'{base}.{alias.name}'
            if inner in known or base in known:
                yield inner if inner in known else base


def circles(imports: list[tuple[str, str]]) -> list[list[str]]:
    """Groups of modules, each of which reaches every other one through imports (strongly connected, two or more)."""
    forward: dict[str, set[str]] = defaultdict(set)
    for importer, imported in imports:
        forward[importer].add(imported)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for other in forward[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    reach = {name: reached(name) for name in list(forward)}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach.get(other, ())))
        for name in reach
        if name in reach[name]
    }
    return [list(group) for group in sorted(groups)]


def functions(trees: dict[str, ast.Module]) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """All functions and methods."""
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f'{name}:{node.name}', node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def doubles(found: list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]) -> list[tuple[str, str]]:
    """Pairs of functions whose statements are the same, docstrings and annotations of arguments aside."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name, node in found:
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        if body and (body[-1].end_lineno or 0) - body[0].lineno + 1 >= SMALLEST:
            arguments = [argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)]
            alike[f'{arguments}\n' + '\n'.join(map(ast.unparse, body))].append(name)
    return [pair for names in alike.values() for pair in combinations(names, 2)]


def main() -> int:
    """Count and print; exit code 1 if an import goes up or in a circle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).parents[1] / PACKAGE
    parser.add_argument('folder', nargs='?', type=Path, default=default, help='of the package (default: this one)')
    parser.add_argument('--imports', action='store_true', help='name what goes up, goes in circles, or stands twice')
    args = parser.parse_args()
    house = count(args.folder)
    print(house.render())
    if args.imports:
        rooms = Counter((one.importer.split('.')[1], one.imported.split('.')[1]) for one in house.upward)
        print('\nup: ' + ', '.join(f'{low} -> {high} ({number})' for (low, high), number in rooms.most_common()))
        for one in house.upward:
            print(f'  {one.importer} -> {one.imported}')
        for group in house.circles:
            print(f'circle: {", ".join(group)}')
        for first, second in house.doubles:
            print(f'equal: {first}, {second}')
    return int(bool(house.upward or house.circles))


if __name__ == '__main__':
    sys.exit(main())
