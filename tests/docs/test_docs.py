"""What README and docs say is true: links, files, commands, options, names in configs, the model zoo."""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import importlib.util
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob('*.md'), *ROOT.glob('docs/*.md'), *ROOT.glob('checkpoints/*.md'), *ROOT.glob('configs/*/*.md')]
)
ZOO = ROOT / 'checkpoints' / 'model_zoo.yml'
FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
OWN_PATH = re.compile(r'(?<![\w/.-])(?:configs|tools|denseclip|tests|checkpoints|docs|requirements)/[\w./-]*[\w]')
# Scripts that hand their options on to a tool.
LAUNCHERS = {'dist_train.sh': 'train.py', 'slurm_train.sh': 'train.py', 'dist_test.sh': 'test.py'}

every_page = pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code of one language."""
    return [code for kind, code in FENCE.findall(page.read_text(encoding='utf-8')) if kind == language]


def prose(page: Path) -> str:
    """A page without its fenced code."""
    return FENCE.sub('', page.read_text(encoding='utf-8'))


def spans(page: Path) -> list[str]:
    """Inline code."""
    return re.findall(r'`([^`\n]+)`', prose(page))


# --- links and files --------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r'^#+ (.+)$', prose(page), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@every_page
def test_links_lead_somewhere(page):
    broken = []
    for link in re.findall(r'\]\(([^)\s]+)\)', prose(page)):
        target, _, anchor = link.partition('#')
        if target.startswith(('http://', 'https://', 'mailto:')):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert not broken


@every_page
def test_files_that_are_named_exist(page):
    named = set(OWN_PATH.findall(page.read_text(encoding='utf-8')))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_no_number_is_left_open():
    pages = [page for page in [*PAGES, ZOO] if '@@' in page.read_text(encoding='utf-8')]
    assert pages == []


# --- commands ---------------------------------------------------------------------------------------------------------


class _Caught(BaseException):
    """Carries a parser and its arguments out of a tool before the tool does anything."""

    def __init__(self, parser: argparse.ArgumentParser, argv: list[str]) -> None:
        super().__init__()
        self.parser, self.argv = parser, argv


@cache
def tool_module(path: str) -> ModuleType:
    """A tool's file as a module, its ``main`` not run."""
    spec = importlib.util.spec_from_file_location(f'documented_{Path(path).stem}', ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parser_of(program: str, argv: list[str]) -> argparse.ArgumentParser:
    """The real parser that a program would use for these arguments."""
    return parser_and_arguments(program, argv)[0]


def parser_and_arguments(program: str, argv: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The real parser, and what it gets of the arguments (a tool may take its first word off)."""
    modules = {'denseclip': 'denseclip.cli.main'}
    if program in modules or program.startswith('studies.'):
        main = importlib.import_module(modules.get(program, program)).main
    else:
        main = tool_module(program).main

    def caught(parser: argparse.ArgumentParser, args: list[str] | None = None, namespace: object = None) -> None:
        raise _Caught(parser, list(sys.argv[1:] if args is None else args))

    with mock.patch.object(argparse.ArgumentParser, 'parse_args', caught), mock.patch('sys.argv', [program, *argv]):
        try:
            main()
        except _Caught as found:
            return found.parser, found.argv
    raise AssertionError(f'{program} does not read its arguments with argparse')


def options_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Options of a parser and its sub-commands."""
    found: dict[str, argparse.Action] = {}
    for action in parser._actions:
        found.update(dict.fromkeys(action.option_strings, action))
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                found.update(options_of(child))
    return found


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every command line in the page's shell code, variables of the same block put in."""
    for code in blocks(page, 'bash'):
        variables: dict[str, str] = {}
        for line in code.replace('\\\n', ' ').splitlines():
            assignment = re.fullmatch(r'(\w+)=(\S+|"[^"]*"|\'[^\']*\')', line.strip())
            if assignment:
                variables[assignment[1]] = assignment[2].strip('\'"')
                continue
            line = re.sub(r'\$(\w+)', lambda m, known=variables: known.get(m[1], m[0]), line)
            for part in line.split(' && '):
                words = shlex.split(part, comments=True)
                if words:
                    yield words


def split_tool(words: list[str]) -> tuple[str, list[str]] | None:
    """A program of ours in a command line, and its arguments."""
    if words[0] == 'denseclip':
        return 'denseclip', words[1:]
    if words[:2] == ['python', '-m'] and words[2].startswith('studies.'):
        return f'{words[2]}.__main__', words[3:]
    for place, word in enumerate(words):
        if word.startswith('tools/') and word.endswith(('.py', '.sh')):
            return word, words[place + 1 :]
    return None


@every_page
def test_command_lines_parse(page, capsys):
    for words in commands(page):
        tool = split_tool(words)
        if tool is None:
            continue
        program, argv = tool
        assert program.startswith(('denseclip', 'studies.')) or (ROOT / program).is_file(), f'{program} does not exist'
        if program.endswith('.sh'):
            known = options_of(parser_of(f'tools/{LAUNCHERS[Path(program).name]}', []))
            assert {w for w in argv if w.startswith('--')} <= set(known), words
            continue
        if program == 'tools/demo.py':
            program, argv = 'denseclip', ['segment', *(argv or ['picture.jpg', '--out', 'out'])]
        try:
            parser, rest = parser_and_arguments(program, argv)
            parser.parse_args(rest)
        except SystemExit:
            pytest.fail(f'{shlex.join(words)}\n{capsys.readouterr().err}')


@every_page
def test_make_targets_and_extras_exist(page):
    targets = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.MULTILINE))
    extras = set(re.findall(r"'(\w+)': [A-Z]", (ROOT / 'setup.py').read_text(encoding='utf-8')))
    text = page.read_text(encoding='utf-8')
    made = {words[1] for words in commands(page) if words[0] == 'make'}
    made |= {span.split()[1] for span in spans(page) if span.startswith('make ')}
    asked = {extra for group in re.findall(r"(?:'\.|denseclip-suite)\[([\w,]+)\]", text) for extra in group.split(',')}
    assert made <= targets
    assert asked <= extras


@cache
def known_options() -> frozenset[str]:
    """Every option of every program of ours."""
    programs = ['denseclip', *(str(p.relative_to(ROOT)) for p in sorted((ROOT / 'tools').rglob('*.py')))]
    programs += [f'studies.{p.parent.name}.__main__' for p in sorted((ROOT / 'studies').glob('*/__main__.py'))]
    programs += [
        '.'.join(p.relative_to(ROOT).with_suffix('').parts)
        for p in sorted((ROOT / 'studies').rglob('*.py'))
        if 'ArgumentParser' in p.read_text() and '\ndef main(' in p.read_text() and p.stem != '__main__'
    ]
    found: set[str] = set()
    for program in programs:
        if program == 'tools/demo.py':  # hands its arguments to `denseclip segment`
            continue
        found |= set(options_of(parser_of(program, [])))
    return frozenset(found)


@every_page
def test_options_in_the_text_exist(page):
    ours = [s for s in spans(page) if not re.match(r'(pip|git|torchrun|apt-get|hf) ', s)]
    named = {option for span in ours for option in re.findall(r'(?<![\w-])--[a-z][\w-]+', span)}
    assert sorted(named - known_options()) == []


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_training_page_has_every_option(tool):
    text = (ROOT / 'docs' / 'train.md').read_text(encoding='utf-8')
    options = options_of(parser_of(f'tools/{tool}.py', []))
    missing = [o for o, action in options.items() if o not in text and action.help != 'set by the launcher']
    assert [o for o in missing if o not in ('-h', '--help')] == []


# --- Python and configs -----------------------------------------------------------------------------------------------


@cache
def registries() -> list:
    """MMEngine's and MMSegmentation's registries, filled."""
    for module in ('denseclip', 'mmseg.datasets', 'mmseg.models'):  # in this order: the suite repairs the others
        importlib.import_module(module)
    from mmengine import registry
    from mmseg import registry as seg

    names = ('MODELS', 'DATASETS', 'TRANSFORMS', 'HOOKS', 'LOOPS', 'OPTIM_WRAPPERS', 'OPTIMIZERS', 'DATA_SAMPLERS')
    names += ('PARAM_SCHEDULERS', 'METRICS', 'VISUALIZERS', 'VISBACKENDS', 'OPTIM_WRAPPER_CONSTRUCTORS')
    return [getattr(where, name) for name in names for where in (seg, registry) if hasattr(where, name)]


def registered(name: str) -> type | None:
    return next((found for registry in registries() if (found := registry.get(name)) is not None), None)


@every_page
def test_python_code_uses_names_that_exist(page):
    for code in blocks(page, 'python'):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('denseclip'):
                module = importlib.import_module(node.module)
                assert [a.name for a in node.names if not hasattr(module, a.name)] == []
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'dict':
                check_config_call(node)


def check_config_call(node: ast.Call) -> None:
    """``dict(type='X', ...)``: X is registered, and if it is ours it takes these arguments."""
    given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    kind = given.pop('type', None)
    if not isinstance(kind, ast.Constant) or kind.value.startswith('mmengine.'):
        return
    found = registered(kind.value)
    assert found is not None, f"type='{kind.value}' is not registered"
    parameters = inspect.signature(found.__init__).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if found.__module__.startswith('denseclip.') and not takes_any:
        assert set(given) - {'_delete_'} <= set(parameters), f'{kind.value} takes no {set(given) - set(parameters)}'


def test_plug_in_page_lists_every_registered_part():
    text = (ROOT / 'docs' / 'plug_in.md').read_text(encoding='utf-8')
    kinds = {
        'model', 'dataset', 'transform', 'hook', 'metric', 'loop', 'data sampler', 'optimizer wrapper constructor',
        'parameter scheduler',
    }  # fmt: skip
    for registry in registries():
        registry.import_from_location()
    parts = {
        name
        for registry in registries()
        if registry.name in kinds
        for name, item in registry.module_dict.items()
        if item.__module__.startswith('denseclip.')
    }
    assert parts
    assert sorted(name for name in parts if f'`{name}`' not in text) == []
    rows = re.search(r'\n\| [^\n]*\n\|[-| ]+\n((?:\|[^\n]*\n)+)', text)
    assert rows is not None
    assert sorted(set(re.findall(r'`([A-Z]\w+)`', rows[1])) - parts) == []


# --- the model zoo ----------------------------------------------------------------------------------------------------


@cache
def zoo() -> dict:
    return yaml.safe_load(ZOO.read_text(encoding='utf-8'))


def test_zoo_names_are_unique_and_hold_the_default():
    names = [model['name'] for model in zoo()['models']]
    assert len(names) == len(set(names))
    assert zoo()['default'] in names


@pytest.mark.parametrize('model', zoo()['models'], ids=lambda m: m['name'])
def test_zoo_entry(model):
    from denseclip.weights.convert import CONVERTERS

    fields = {'name', 'config', 'model', 'file', 'url', 'size', 'sha256', 'converter', 'licence', 'dataset', 'expected'}
    assert fields <= set(model) <= fields | {'card'}
    assert (ROOT / model['config']).is_file()
    assert model['converter'] in {None, *CONVERTERS}
    assert set(model['expected']) == {'ss', 'ms', 'source'}
    if model['file'] is None:
        return
    content = (ROOT / model['file']).read_bytes()
    assert (ROOT / model['card']).is_file()
    assert len(content) == model['size']
    assert hashlib.sha256(content).hexdigest() == model['sha256']


def test_zoo_and_metafiles_expect_the_same():
    expected = {m['config']: m['expected'] for m in zoo()['models']}
    for metafile in ROOT.glob('configs/*/metafile.yml'):
        for model in yaml.safe_load(metafile.read_text(encoding='utf-8'))['Models']:
            metrics = (model.get('Results') or {}).get('Metrics')
            if metrics and model['Config'] in expected:
                theirs = expected[model['Config']]
                assert (metrics.get('mIoU'), metrics.get('mIoU(ms+flip)')) == (theirs['ss'], theirs['ms']), model[
                    'Name'
                ]
