"""What the documents tell a reader to type exists: commands, options, settings, menus, links."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from napari_mri7t.cli.commands import app
from napari_mri7t.engine.simulation.pseudo_3t import SIMULATIONS
from napari_mri7t.engine.training.config import find_preset, with_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROMPT = re.compile(r"^\s*(?:\$ )?((?:[A-Z_]+=\S+ )*mri7t .*)$")
INLINE = re.compile(r"`(mri7t [a-z][^`]*)`")
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
pytestmark = pytest.mark.skipif(not (ROOT / "mkdocs.yml").exists(), reason="needs the checkout")


def text_of(page):
    return page.read_text(encoding="utf-8")


def code_lines(page):
    """Yield the lines of code blocks, fenced or indented, those with a backslash joined."""
    joined = text_of(page).replace("\\\n", " ")
    is_fenced = False
    for line in joined.splitlines():
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            yield line


def commands(page):
    """Return the command lines of a page's code blocks."""
    return [found.group(1) for line in code_lines(page) if (found := PROMPT.match(line))]


def mentions(page):
    """Return the commands that running text names, often without what they need."""
    return INLINE.findall(text_of(page).replace("\n", " "))


def arguments_of(command):
    words = [word for word in shlex.split(command, comments=True) if word not in ("...", "[...]")]
    if ">" in words:  # what the shell does with the output
        words = words[: words.index(">")]
    return words[words.index("mri7t") + 1 :]


@pytest.fixture
def command_line():
    """The real command line, whose commands do nothing: only what is typed is checked."""
    group = typer.main.get_command(app)
    for command in group.commands.values():
        command.callback = lambda **options: None
    return group


def complaint(command_line, words):
    """Return why the command line refuses these words; None if it takes them."""
    try:
        command_line.main(words, standalone_mode=False)
    except Exception as error:  # the parser's own classes are private to typer
        return f"{type(error).__name__}: {error}"
    return None


every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


@every_page
def test_every_command_of_a_page_can_be_typed(page, command_line):
    typed = {text: complaint(command_line, arguments_of(text)) for text in commands(page)}
    assert {text: why for text, why in typed.items() if why} == {}
    named = {text: complaint(command_line, arguments_of(text)) for text in mentions(page)}
    wrong = {t: why for t, why in named.items() if why and not why.startswith("MissingParameter")}
    assert wrong == {}


@every_page
def test_every_training_of_a_page_has_preset_and_settings_that_exist(page):
    for command in [*commands(page), *mentions(page)]:
        words = arguments_of(command)
        options = list(zip(words, words[1:], strict=False))
        preset = dict(options).get("--preset")
        if words[0] == "simulate":
            assert preset is None or preset in SIMULATIONS, command
        elif words[0] in ("train", "reproduce"):
            settings = [value for option, value in options if option == "--set" and "=" in value]
            pairs = dict(pair.split("=", 1) for pair in settings)
            with_settings(find_preset(preset or "best"), pairs)


def test_the_readme_names_every_command(command_line):
    typed = {arguments_of(command)[0] for command in commands(ROOT / "README.md")}
    assert set(command_line.commands) <= typed


def test_a_command_that_does_not_exist_is_found(command_line):
    assert complaint(command_line, ["train", "A", "B", "--folds", "0"]) is None
    assert "NoSuchOption" in complaint(command_line, ["train", "A", "B", "--speed", "3"])
    assert "No such command" in complaint(command_line, ["paint", "A"])
    assert complaint(command_line, ["train"]).startswith("MissingParameter")
    assert complaint(command_line, ["simulate", "A", "B", "--seed", "many"])


@every_page
def test_every_make_target_of_a_page_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    typed = set(re.findall(r"`make ([a-z-]+)", text_of(page)))
    typed |= {
        found.group(1) for line in code_lines(page) if (found := re.match(r"make ([a-z-]+)", line))
    }
    assert typed <= targets


@every_page
def test_every_link_to_a_file_leads_somewhere(page):
    made = {"models.md", "changelog.md", "reference/cli.md"}  # by tools/docs_hooks.py
    for target in LINK.findall(text_of(page)):
        place = (page.parent / target).resolve()
        if (
            place.is_relative_to(ROOT / "docs")
            and place.relative_to(ROOT / "docs").as_posix() in made
        ):
            continue
        assert place.exists(), target


def test_every_menu_of_the_pages_is_in_the_manifest():
    manifest = yaml.safe_load(text_of(ROOT / "napari.yaml"))
    plugin, offered = manifest["display_name"], manifest["contributions"]
    widgets = {entry["display_name"] for entry in offered["widgets"]}
    samples = {entry["display_name"] for entry in offered["sample_data"]}
    text = " ".join(word for page in PAGES for word in text_of(page).split())
    named = set(re.findall(rf"Plugins > {plugin} > ([^*]+?)\.?\*\*", text))
    opened = set(re.findall(rf"Open Sample > {plugin} > ([^*]+?)\.?\*\*", text))
    assert named == widgets, "every widget is shown somewhere, and none that does not exist"
    assert opened == samples


@pytest.mark.parametrize("name", ["first_synthesis", "own_pairs"])
def test_every_label_of_a_tutorial_is_a_label_of_a_widget(name):
    sources = sorted((ROOT / "napari_mri7t" / "widgets").rglob("*.py"))
    labels = " ".join(text_of(path) for path in [ROOT / "napari.yaml", *sources])
    lines = text_of(ROOT / "docs" / "tutorial" / f"{name}.md").splitlines()
    text = " ".join(line for line in lines if not line.startswith(">"))
    bold = set(re.findall(r"\*\*([A-Z][^*>]+)\*\*", text))
    assert len(bold) > 10
    assert {label for label in bold if label not in labels} == set()


@every_page
def test_every_name_that_a_page_imports_exists(page):
    for block in re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("napari_mri7t"):
                module = importlib.import_module(node.module)
                assert [n.name for n in node.names if not hasattr(module, n.name)] == []
