"""`mri7t evaluate`, `report` and `reproduce`: from finished folds to tables and one HTML page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mri7t.cli.console import drive
from napari_mri7t.cli.options import Device, Preset, Settings
from napari_mri7t.engine.synthesis.config import SynthesisConfig

if TYPE_CHECKING:
    from napari_mri7t.engine.evaluation.results import SubjectResult
    from napari_mri7t.engine.evaluation.stress import Stress
    from napari_mri7t.engine.workflows.studies import Studies

Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder, or a folder of several to compare.")
]
Robustness = Annotated[
    bool,
    typer.Option("--robustness", help="Noise, blur, bias field and lesions as well; takes long."),
]


def evaluate(
    run: Run, robustness: Robustness = False, device: Device = SynthesisConfig.device
) -> None:
    """Score every held-out estimate of RUN, and the classical baselines beside it.

    Results, tables (CSV, Markdown, LaTeX) and JSON go to RUN/results. Stopped, it goes on from
    where it was when run again.
    """
    from napari_mri7t.engine.workflows.studies import open_studies

    outcome = open_studies(run)
    _tell(outcome, _scores(outcome))
    if robustness:
        _stress(outcome, device, run_all=True)


def report(
    run: Run,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The page.", show_default="RUN/report.html"),
    ] = None,
    robustness: Robustness = False,
    device: Device = SynthesisConfig.device,
) -> None:
    """Write one self-contained HTML page about RUN; what is not evaluated yet is evaluated."""
    from napari_mri7t.engine.workflows.studies import open_studies

    outcome = open_studies(run)
    results = _scores(outcome)
    _write(outcome, results, output, _stress(outcome, device, run_all=robustness))


def reproduce(
    dataset: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of 7T volumes, of pairs, or BIDS.")
    ],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Gets a run folder per network.")],
    preset: Preset = "report",
    networks: Annotated[str, typer.Option(help="Names, with commas.")] = "basic_cnn,watnet",
    settings: Settings = None,
    robustness: Robustness = False,
    device: Device = SynthesisConfig.device,
) -> None:
    """Do the report's whole study: simulate, train by leave-one-out, evaluate, report.

    Stopped anywhere, the same command goes on from there.
    """
    from napari_mri7t.cli.train import train
    from napari_mri7t.engine.workflows.studies import open_studies

    for network in (name.strip() for name in networks.split(",")):
        train(dataset, run / network, network, preset, device=device, settings=settings)
    outcome = open_studies(run)
    results = _scores(outcome)
    _tell(outcome, results)
    _write(outcome, results, None, _stress(outcome, device, run_all=robustness))


def _scores(outcome: "Studies") -> "list[SubjectResult]":
    """Evaluate what is not evaluated yet."""
    from napari_mri7t.engine.evaluation.evaluate import evaluate
    from napari_mri7t.engine.workflows.studies import RESULTS_FOLDER, cases_of, pairs_of

    steps = evaluate(pairs_of(outcome), cases_of(outcome), outcome.folder / RESULTS_FOLDER)
    return drive(steps, "evaluate")


def _tell(outcome: "Studies", results: "Sequence[SubjectResult]") -> None:
    """Write the tables and print the one that the study is known by."""
    from napari_mri7t.engine.report.report import TABLES_FOLDER, write_tables
    from napari_mri7t.engine.report.table import as_markdown
    from napari_mri7t.engine.report.tables import result_table
    from napari_mri7t.engine.workflows.studies import RESULTS_FOLDER

    folder = outcome.folder / RESULTS_FOLDER / TABLES_FOLDER
    write_tables(results, folder)
    typer.echo(as_markdown(result_table(results)))
    typer.echo(f"all tables: {folder}")


def _stress(outcome: "Studies", device: str, *, run_all: bool) -> "dict[str, Stress]":
    """Put every network through noise, shift and lesions, or only read what is known of that."""
    from napari_mri7t.engine.atomic import scores_to_json, write_content
    from napari_mri7t.engine.evaluation.results import file_name
    from napari_mri7t.engine.evaluation.stress import is_known, stress_steps, summarize_stress
    from napari_mri7t.engine.workflows.stress import stress_case
    from napari_mri7t.engine.workflows.studies import ROBUSTNESS_FOLDER

    folder = outcome.folder / ROBUSTNESS_FOLDER
    if not run_all and not folder.exists():
        return {}
    found = {}
    for method in outcome.studies:
        case = stress_case(outcome, method, device)
        if not run_all and not is_known(case, folder / "records"):
            continue
        found[method] = drive(stress_steps(case, folder / "records"), f"robustness of {method}")
        summary = scores_to_json(summarize_stress(found[method]))
        write_content(folder / file_name(method), summary)
        if run_all:
            typer.echo(f"robustness of {method}: {folder / file_name(method)}")
    return found


def _write(
    outcome: "Studies",
    results: "Sequence[SubjectResult]",
    output: Path | None,
    stress: "dict[str, Stress]",
) -> None:
    """Write the page, and say where it is."""
    from napari_mri7t.engine.report.report import REPORT_FILE, ReportData, write_report
    from napari_mri7t.engine.volumes.provenance import NOTICE
    from napari_mri7t.engine.workflows.studies import (
        RESULTS_FOLDER,
        facts_of,
        histories_of,
        report_subjects,
    )

    data = ReportData(
        title=f"7T-like brains from 3T: {outcome.folder.resolve().name}",
        facts=facts_of(outcome),
        results=results,
        subjects=report_subjects(outcome),
        histories=histories_of(outcome),
        robustness={method: found.points for method, found in stress.items()},
        lesions={method: found.lesions for method, found in stress.items()},
    )
    page = outcome.folder / REPORT_FILE if output is None else output
    typer.echo(str(drive(write_report(data, outcome.folder / RESULTS_FOLDER, page), "report")))
    typer.echo(NOTICE)
