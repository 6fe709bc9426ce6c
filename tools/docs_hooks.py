"""What mkdocs does beyond Markdown, called by mkdocs.yml.

Generated pages: the model cards from the card.json of every bundled model, the command line from
its own --help, the changes from CHANGELOG.md. A link that leaves docs/ becomes the file's name. A
page that would load anything from another server stops the build.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.main import get_command
from typer.testing import CliRunner

from napari_mri7t.cli.commands import app
from napari_mri7t.engine.evaluation.robustness import KINDS
from napari_mri7t.engine.models.card import DEFAULT_MARKS, DEFAULT_MODEL, ModelCard, models
from napari_mri7t.engine.preparation.domain import voxels_in_words

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HELP_WIDTH = "78"
SHOWN = {"psnr": ("PSNR, dB", 2), "ssim": ("SSIM", 3), "mae": ("MAE", 4)}
METHODS = {"source": "3T", "estimate": "this model"}
PLACES = {"brain": "in the brain", "whole": "whole volume"}
LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(?:#[^)]*)?\)")
PICTURE = re.compile(r'<img [^>]*src="([^"]+)"[^>]*>')
FOOTNOTE = re.compile(r"\.\. (?=\[\d+\])|(?<=\d\])_")
PARAMETERS = re.compile(r"<table>(?:(?!</table>).)*<th>Default</th>.*?</table>", re.DOTALL)
DEFAULT = re.compile(
    r"<th>Default</th>|<td>\s*(?:<code>[^\n]*</code>|<em>required</em>)\s*</td>(?=\s*</tr>)"
)
REMOTE = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\ssrc=[\"']?(?:https?:)?//[^\"'\s>]+"
    r"|<link\b[^>]*\shref=[\"']?(?:https?:)?//[^\"'\s>]+"
    r"|(?:url\(|@import\s)\s*[\"']?(?:https?:)?//[^\"')\s]+",
    re.IGNORECASE,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for name, text in (
        ("models.md", cards_page(models())),
        ("reference/cli.md", cli_page()),
        ("changelog.md", changes.replace("](docs/", "](")),
    ):
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Keep the links within docs/; replace those that leave it by the file's name."""
    folder = (DOCS / page.file.src_uri).parent

    def keep_or_name(link: re.Match[str]) -> str:
        text, target = link.groups()
        place = (folder / target).resolve()
        if place.is_relative_to(DOCS):
            return link.group(0)
        if not place.exists():
            raise PluginError(f"{page.file.src_uri}: {target} does not exist")
        name = place.relative_to(ROOT).as_posix()
        return f"`{text}`" if text in name else f"{text} (`{name}`)"

    return LINK.sub(keep_or_name, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Correct what mkdocstrings gets wrong, and let a click enlarge a picture.

    It takes the first of several choices for the default, and one default for two names; the
    signature above has the true ones. It leaves references as they are in reStructuredText.
    """
    html = PARAMETERS.sub(lambda table: DEFAULT.sub("", table.group(0)), html)
    html = FOOTNOTE.sub("", html)
    return PICTURE.sub(r'<a href="\1">\g<0></a>', html)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a page that would load something from another server."""
    site = Path(config.site_dir)
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        found = REMOTE.search(path.read_text(encoding="utf-8"))
        if found:
            raise PluginError(f"{path.relative_to(site)} loads from elsewhere: {found.group(0)}")


def cli_page() -> str:
    """Return the help of every command."""
    run = CliRunner()
    parts = [
        "# Command line",
        "The output of `mri7t COMMAND --help`. Bad input gives a message on stderr and exit code "
        "1, an unknown command or option exit code 2.",
    ]
    for name in ("", *get_command(app).commands):
        arguments = [name, "--help"] if name else ["--help"]
        shown = run.invoke(app, arguments, env={"COLUMNS": HELP_WIDTH, "TERM": "dumb"})
        if shown.exit_code:
            raise PluginError(f"mri7t {name} --help: {shown.output}")
        lines = [line.rstrip() for line in shown.stdout.strip("\n").split("\n")]
        parts.append(f"## mri7t {name}".rstrip() + "\n\n```text\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts) + "\n"


def cards_page(cards: list[ModelCard]) -> str:
    """Return the cards of the bundled models, the default first."""
    cards = sorted(cards, key=lambda card: (card.name != DEFAULT_MODEL, card.name))
    head = [
        "# Model cards",
        "The bundled models, from the `card.json` beside the weights of each; `mri7t models "
        "--json` prints the full cards. A model trained with `mri7t train` has such a card, too.",
        "> **A synthetic image may add or remove lesions. It is for research, not for diagnosis.**",
    ]
    return "\n\n".join([*head, *(card_section(card) for card in cards)]) + "\n"


def card_section(card: ModelCard) -> str:
    """Return one card: intended use, scores, training."""
    training, expected = card.training, card.preprocessing
    subjects = training.get("subjects", [])
    facts = {
        "Network": f"`{card.network}`, {card.n_parameters:,} parameters",
        "For": card.intended_use,
        "Not for": card.not_for,
        "Expects": ", ".join(
            [
                f"{voxels_in_words(card)} mm",
                "the brain extracted" if expected["brain_extracted"] else "with the skull",
                f"{expected['plane']} slices",
            ]
        ),
        "Trained on": f"{len(subjects)} subjects. {training.get('data', '')}",
        "Held out": training.get("held_out") or "none: trained on all subjects",
        "Trained with": f"`{training['command']}`",
        "Scores from": f"`{training['held_out_command']}`"
        if training.get("held_out_command")
        else "",
        "Date and hardware": f"{training.get('date', '')}, {training.get('hardware', '')}",
        "Uncertainty": intervals(card.uncertainty),
        "SHA-256 of the weights": f"`{card.sha256}`",
    }
    head, *rows = [f"| {name} | {text} |" for name, text in facts.items() if text]
    default = DEFAULT_MARKS.get(card.name, "")
    return "\n\n".join(
        [
            f"## {card.name}{default}",
            card.title,
            "\n".join([head, "|---|---|", *rows]),
            figures(card.metrics),
            *scores_on_scans(card.metrics),
            *stress(card.metrics),
        ]
    )


def intervals(uncertainty: Mapping[str, Any]) -> str:
    """Return what part of held-out brains the intervals hold; empty for a model without any."""
    if not uncertainty:
        return ""
    held, percent = uncertainty["held_out"].values(), 100 * uncertainty["interval"]
    return (
        f"The [{percent:g} % interval](uncertainty.md) covers {100 * uncertainty['coverage']:.1f} "
        f"% of the voxels of held-out brains: {100 * min(held):.1f} to {100 * max(held):.1f} %"
    )


def figures(metrics: Mapping[str, Any]) -> str:
    """Return the held-out scores as a table, the brain first."""
    if not all(method in metrics for method in METHODS):
        return "" if metrics.get("scans") else "No scores on held-out brains."
    n_brains = metrics["n_held_out"]
    names = ", ".join(str(name).partition("_")[0] for name in metrics.get("subjects", []))
    lines = [
        f"On {n_brains} held-out {'brain' if n_brains == 1 else 'brains'} ({names}):",
        "",
        "| | " + " | ".join(title for title, _ in SHOWN.values()) + " |",
        "|---|" + "---|" * len(SHOWN),
    ]
    for place, where in PLACES.items():
        for method, what in METHODS.items():
            cells = [spread(metrics[method][place][key], n) for key, (_, n) in SHOWN.items()]
            lines.append(f"| {what}, {where} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def scores_on_scans(metrics: Mapping[str, Any]) -> list[str]:
    """Return the figures on real scans as a table, if measured ([results](results.md))."""
    title = "[On real scans](results.md#real-scans), PSNR, dB"
    lines = [f"| {title} | as is | this model |", "|---|---|---|"]
    for entry in metrics.get("scans", {}).values():
        pair = zip(entry["levels"], entry["source"], entry["estimate"], strict=True)
        lines += [f"| {entry['what']}, {level} | {a:.2f} | {b:.2f} |" for level, a, b in pair]
    return ["\n".join(lines)] if len(lines) > 2 else []


def stress(metrics: Mapping[str, Any]) -> list[str]:
    """Return what is left of lesions, and the gain under noise, blur and shading, if measured."""
    texts = []
    if stressed := metrics.get("stressed"):
        texts.append(
            f"On {stressed['brain']}, by {stressed['model']} of the same recipe, with "
            f"{stressed.get('held_out') or 'no subject'} held out:"
        )
    if lesions := metrics.get("lesions"):
        sizes = [f"{entry['diameter_mm']:g} mm" for entry in lesions["bright"]]
        rows = [["Remaining share of a lesion's contrast", *sizes], ["---"] * (len(sizes) + 1)]
        for kind, entries in lesions.items():
            rows.append([f"{kind} spheres", *(spread(entry, 2) for entry in entries)])
        texts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    for kind, what in KINDS.items():
        levels = metrics.get("robustness", {}).get(kind, {}).get("levels", [])
        gains = ", ".join(
            f"{level['estimate_psnr'] - level['source_psnr']:+.2f} at {level['level']:g}"
            for level in levels
        )
        if gains:
            texts.append(f"PSNR gain over the 3T inside the brain, dB, by {what}: {gains}.")
    return texts


def spread(figure: Mapping[str, float | None], digits: int) -> str:
    """Return mean ± standard deviation; a single brain has no deviation."""
    mean, std = figure["mean"], figure.get("std")
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")
