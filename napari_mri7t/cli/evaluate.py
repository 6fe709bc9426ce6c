"""`mri7t evaluate`, `report` and `reproduce`: finished folds into tables and one HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t.cli.console import progress_bar, say
from napari_mri7t.cli.options import Device, Preset, Settings
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.synthesis.config import SynthesisConfig

if TYPE_CHECKING:
    from napari_mri7t.engine.evaluation.results import StudyResults
    from napari_mri7t.engine.evaluation.stress import Stress
    from napari_mri7t.engine.workflows.studies import Studies

Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder, or a folder of several to compare.")
]
Robustness = Annotated[
    bool,
    typer.Option("--robustness", help="Also test noise, blur, bias fields and lesions (slow)."),
]
Baselines = Annotated[
    bool,
    typer.Option(help="Also tune and score the classical denoisers (minutes, the first time)."),
]


def evaluate(
    run: Run,
    baselines: Baselines = True,
    robustness: Robustness = False,
    device: Device = SynthesisConfig.device,
) -> None:
    """Score the held-out estimates of RUN and the baselines.

    Results, tables (CSV, Markdown, LaTeX) and JSON go to RUN/results. Run again to resume.
    """
    from napari_mri7t.engine.workflows.studies import open_studies

    _check_device(robustness, device)
    studies = open_studies(run)
    _print_scores(studies, _evaluate(studies, baselines))
    if robustness:
        _stress(studies, device)


def report(
    run: Run,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The HTML page.", show_default="RUN/report.html"),
    ] = None,
    baselines: Baselines = True,
    robustness: Robustness = False,
    device: Device = SynthesisConfig.device,
) -> None:
    """Write one self-contained HTML page about RUN.

    Missing scores are computed first.
    """
    from napari_mri7t.engine.report.report import REPORT_FILE, check_page
    from napari_mri7t.engine.workflows.studies import open_studies

    _check_device(robustness, device)
    studies = open_studies(run)
    check_page(studies.folder / REPORT_FILE if output is None else output)
    results = _evaluate(studies, baselines)
    _write(studies, results, output, _stress(studies, device) if robustness else None)


def reproduce(
    dataset: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder of 7T volumes or pairs, or BIDS dataset."),
    ],
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder for one run folder per network.")
    ],
    preset: Preset = "report",
    networks: Annotated[str, typer.Option(help="Comma-separated names.")] = "basic_cnn,watnet",
    settings: Settings = None,
    robustness: Robustness = False,
    device: Device = SynthesisConfig.device,
) -> None:
    """Repeat the report's whole study.

    Simulate, train by leave-one-out, evaluate, report. Run again to resume.
    """
    from napari_mri7t.cli.train import train
    from napari_mri7t.engine.evaluation.results import STUDY_FILE
    from napari_mri7t.engine.report.report import REPORT_FILE, check_page
    from napari_mri7t.engine.workflows.studies import open_studies

    if run.exists():
        check_page(run / REPORT_FILE)
    if (run / STUDY_FILE).exists():
        raise Mri7tError(f"{run}: is the run folder of one network: choose another folder")
    names = _networks(networks, preset)
    for network in names:
        _check_study(dataset, run / network, network, preset, settings)
    for network in names:
        train(dataset, run / network, network, preset, device=device, settings=settings)
    studies = open_studies(run)
    results = _evaluate(studies)
    _print_scores(studies, results)
    _write(studies, results, None, _stress(studies, device) if robustness else None)


def _check_device(robustness: bool, device: str) -> None:
    """Refuse a device before the scoring, or where nothing is computed on it."""
    from napari_mri7t.engine.devices import resolve_device

    if robustness:
        resolve_device(device)
    elif device != SynthesisConfig.device:
        raise Mri7tError("the device is that of the robustness test: add --robustness, or omit it")


def _check_study(
    dataset: Path, run: Path, network: str, preset: str, settings: list[str] | None
) -> None:
    """Refuse a run folder of another study before the first network is trained."""
    from napari_mri7t.cli.train import study_settings
    from napari_mri7t.engine.evaluation.results import STUDY_FILE
    from napari_mri7t.engine.training.study import plan_study

    if not (run / STUDY_FILE).exists():
        return
    asked = study_settings(network, preset, settings)
    with progress_bar("subjects") as report:
        plan_study(dataset, run, asked, report)


def _networks(text: str, preset: str) -> list[str]:
    """Read --networks, and refuse one that cannot be trained before the first one is."""
    from napari_mri7t.engine.networks import build_network
    from napari_mri7t.engine.training.config import network_settings

    names = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) < len(names):
        raise Mri7tError(
            f"networks {text!r}: expected different names, such as basic_cnn,watnet (--networks)"
        )
    for name in names:
        build_network(name, **network_settings(name, preset))
    return names


def _evaluate(studies: "Studies", baselines: bool = True) -> "StudyResults":
    with progress_bar("evaluate") as report:
        return studies.evaluate(baselines=None if baselines else {}, report=report)


def _print_scores(studies: "Studies", results: "StudyResults") -> None:
    """Write all tables, and print the main one."""
    from napari_mri7t.engine.report.report import TABLES_FOLDER, write_tables
    from napari_mri7t.engine.report.tables import as_markdown, result_table

    folder = studies.results_folder / TABLES_FOLDER
    write_tables(results, folder)
    say(*as_markdown(result_table(results)).split("\n"))
    say(f"all tables: {folder}")


def _stress(studies: "Studies", device: str) -> "dict[str, Stress]":
    from napari_mri7t.engine.evaluation.results import file_name

    with progress_bar("robustness") as report:
        found = studies.stress(device, run_all=True, report=report)
    for method in found:
        say(f"robustness of {method}: {studies.robustness_folder / file_name(method)}")
    return found


def _write(
    studies: "Studies",
    results: "StudyResults",
    page: Path | None,
    stress: "dict[str, Stress] | None",
) -> None:
    from napari_mri7t.engine.volumes.provenance import NOTICE

    with progress_bar("report") as report:
        written = studies.write_report(results, page=page, stress=stress, report=report)
    say(str(written))
    say(NOTICE)
