"""What names hold does not act on the terminal, and no screen stops a command."""

import ast
import io
import json
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from napari_mri7t import cli
from napari_mri7t.cli import console
from napari_mri7t.engine.models.card import read_card
from napari_mri7t.engine.models.model import load_model, save_model
from napari_mri7t.engine.progress import Progress
from napari_mri7t.engine.volumes.volume import save_volume

EVIL = "\x1b[2J\x1b]0;x\x07\u202eevil\udcff\nline"
SHOWN = "\\u001b[2J\\u001b]0;x\\u0007\\u202eevil\\udcff\\u000aline"


def test_every_command_prints_through_one_function():
    folder = Path(cli.__file__).parent
    for path in folder.glob("*.py"):
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        printing = [
            ast.unparse(call.func)
            for call in calls
            if ast.unparse(call.func) in ("print", "typer.echo", "typer.secho", "sys.stdout.write")
        ]
        assert printing == (["typer.echo"] if path.name == "console.py" else []), path.name


def test_lines_sentences_warnings_and_logs_show_what_names_hold(capsys):
    def command():
        console.say(EVIL, "next")
        console.warn([EVIL])
        logging.getLogger("napari_mri7t.engine.atomic").warning("%s: odd", EVIL)
        raise ValueError(EVIL)

    with pytest.raises(SystemExit), console.sentences_for_errors():
        command()
    out, error = capsys.readouterr()
    assert out == f"{SHOWN}\nnext\n"
    in_words = SHOWN.replace("\\u000a", " ")  # a sentence takes one line
    assert error.splitlines() == [f"warning: {SHOWN}", f"warning: {SHOWN}: odd", in_words]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_shows_what_names_hold(monkeypatch, capsys, is_terminal):
    screen = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console",
        lambda **_: Console(file=screen, force_terminal=is_terminal, width=300),
    )
    monkeypatch.setattr(console, "LOG_SECONDS", -1.0)
    with console.progress_bar(EVIL) as report:
        report(Progress(1, 2, EVIL))
    shown = screen.getvalue() if is_terminal else capsys.readouterr().err
    assert f"{SHOWN}: {SHOWN}" in shown
    assert not {"\u202e", "\udcff", "\x07"} & set(shown)
    assert "\x1b[2J" not in shown


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [(0.66, 1, "work: slices, 66 %"), (3, 34, "work: slices, 3 of 34"), (0, 0, "work: slices")],
)
def test_line_of_a_log_tells_how_far_the_work_is(monkeypatch, capsys, done, total, shown):
    monkeypatch.setattr(console, "LOG_SECONDS", -1.0)
    with console.progress_bar("work") as report:
        report(Progress(done, total, "slices"))
    assert capsys.readouterr().err.splitlines() == [shown]


def test_screen_without_unicode_stops_no_command(monkeypatch):
    """As in a batch system, or where the output goes into an old log."""
    screen = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", screen)
    with console.sentences_for_errors():
        console.say("Müller 张 \udcff ±")
    screen.flush()
    assert screen.buffer.getvalue() == b"M\xfcller \\u5f20 \\udcff \xb1\n"


def test_file_and_card_with_escapes_go_through_synthesis_and_comparison(
    run_cli, phantom, tiny_model, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    model = load_model(tiny_model)
    card = read_card(tiny_model)
    object.__setattr__(card, "name", EVIL)
    object.__setattr__(card, "title", EVIL)
    save_model(tmp_path / "model", model.network, card)
    source = f"{EVIL.replace('/', '')}.nii"
    save_volume(phantom, source)
    code, out, error = run_cli("synthesize", source, "out.nii", "--model", "model", "--step", 3)
    assert code == 0, error
    assert SHOWN in out
    assert not set(out + error) & set("\x1b\x07\u202e\udcff")
    code, out, error = run_cli("repeat", "out.json", "--model", "model")
    assert (code, "equal, bit for bit" in out) == (0, True), error
    code, out, _ = run_cli("compare", source, source, "--json")
    assert np.isfinite(json.loads(out)["brain"]["mae"])
    assert os.listdir(os.fsencode(tmp_path))
