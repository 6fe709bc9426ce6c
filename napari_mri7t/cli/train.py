"""`mri7t train` and `mri7t export`: leave-one-out studies and their models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_mri7t.cli.console import progress_bar, say, warn
from napari_mri7t.cli.options import (
    Cluster,
    Device,
    DryRun,
    Preset,
    Scheduler,
    Settings,
    find_place,
    show_script,
)
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.synthesis.config import SynthesisConfig

if TYPE_CHECKING:
    from napari_mri7t.engine.training.study import Study, StudySettings
    from napari_mri7t.engine.workflows.cluster import Place


def train(
    dataset: Annotated[
        Path,
        typer.Argument(metavar="DATASET", help="Folder of 7T volumes or pairs, or BIDS dataset."),
    ],
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder; the same command resumes it.")
    ],
    network: Annotated[
        str,
        typer.Option(
            help="slice_unet, watnet, watnet_qu2020, basic_cnn, or the network of another "
            "package, listed by `mri7t models`."
        ),
    ] = "slice_unet",
    preset: Preset = "best",
    folds: Annotated[
        str, typer.Option(help="all, none, or numbers such as 0,3,7; fold k holds out subject k.")
    ] = "all",
    final: Annotated[bool, typer.Option("--final", help="Also train on all subjects.")] = False,
    device: Device = SynthesisConfig.device,
    settings: Settings = None,
    changed: Annotated[
        list[str] | None,
        typer.Option("--set-network", metavar="KEY=VALUE", help="Set an argument of the network."),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            help="Subject to whose histogram all volumes are matched.",
            show_default="the report's, else the first",
        ),
    ] = "",
    start_from: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Start from the weights of this model, or of the same fold of a run folder; "
            "`slice_unet` fine-tunes the bundled model.",
            show_default="random weights",
        ),
    ] = "",
    trained: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Copy the weights of this run, which differs in inference.* settings only, and "
            "redo the estimates.",
        ),
    ] = None,
    scheduler: Scheduler = "",
    cluster: Cluster = "",
    dry_run: DryRun = False,
) -> None:
    """Train a network by leave-one-out.

    Every held-out subject of DATASET is estimated by the model that was trained without it.
    """
    place = find_place(scheduler, cluster, device)
    if dry_run:
        show_script(place)

    from napari_mri7t.engine.training.start import start_training
    from napari_mri7t.engine.training.study import adopt_training, open_study
    from napari_mri7t.engine.volumes.provenance import NOTICE

    asked = study_settings(network, preset, settings, changed, reference, start_from)
    chosen = _folds(folds)
    with progress_bar("subjects") as report:
        study, wanted = start_training(dataset, run, asked, chosen, final=final, report=report)
    if trained is not None:
        open_study(trained)  # refused before anything is said to be done
    open_folds = _not_done(study, wanted)
    if not open_folds:
        return
    for k in open_folds:
        if trained is not None and not adopt_training(study, trained, k):
            warn([f"{study.label(k)}: started here and keeps its own weights (--trained)"])
    if place is not None:
        _train_elsewhere(study, open_folds, place)
    else:
        _train_here(study, open_folds, device)
    say(NOTICE)


def study_settings(
    network: str,
    preset: str,
    settings: list[str] | None,
    changed: list[str] | None = None,
    reference: str = "",
    start_from: str = "",
) -> "StudySettings":
    """Return the settings of a study from the options of its command."""
    from napari_mri7t.engine.training.config import (
        find_preset,
        network_arguments,
        network_settings,
        pairs_of,
        with_settings,
    )
    from napari_mri7t.engine.training.study import StudySettings

    config = with_settings(find_preset(preset), pairs_of(settings or [], "--set"))
    built = network_settings(network, preset) | network_arguments(changed or [], "--set-network")
    return StudySettings(network, preset, config, built, reference, start_from)


def _not_done(study: "Study", folds: list[int]) -> list[int]:
    for k in folds:
        if study.is_done(k):
            say(f"{study.label(k)}: already done")
    return [k for k in folds if not study.is_done(k)]


def _train_here(study: "Study", folds: list[int], device: str) -> None:
    from napari_mri7t.engine.devices import resolve_device
    from napari_mri7t.engine.training.run import prepare_study, run_fold

    resolve_device(device)
    with progress_bar("subjects") as report:
        pairs = prepare_study(study, report=report)
    for k in folds:
        try:
            with progress_bar(study.settings.network) as report:
                card = run_fold(study, k, device, pairs, report=report)
        except KeyboardInterrupt:
            say(f"{study.label(k)}: stopped; the same command resumes it", err=True)
            raise
        say(f"{study.label(k)}: done{_figures(card.metrics)}")


def _train_elsewhere(study: "Study", folds: list[int], place: "Place") -> None:
    from napari_mri7t.engine.workflows.cluster import open_client
    from napari_mri7t.engine.workflows.tasks import run_folds

    with open_client(place) as client, progress_bar("folds") as report:
        cards = run_folds(study, folds, client, place, report=report)
    for k, card in cards.items():
        say(f"{study.label(k)}: done{_figures(card.metrics)}")


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Run folder; with --onnx also a model, by name or folder."
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Folder of the model; with --onnx a file .onnx.")
    ],
    fold: Annotated[
        str | None, typer.Option(help="Number of the fold, or final.", show_default="final")
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name of the model.", show_default="the folder's name")
    ] = "",
    title: Annotated[
        str, typer.Option(help="One line for lists of models.", show_default="the training's")
    ] = "",
    data: Annotated[str, typer.Option(help="Origin and licence of the training data.")] = "",
    half: Annotated[bool, typer.Option("--half", help="Save the weights as bfloat16.")] = False,
    robustness: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Output of `mri7t robustness` for this model, added to its card."
        ),
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write the network as an ONNX file, not a model folder.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model or a file that exists.")
    ] = False,
) -> None:
    """Copy a trained model out of a run folder.

    Any `--model` accepts the new folder. Programs without torch read the file of --onnx.
    """
    from napari_mri7t.engine.training.export import export_model

    if onnx:
        _refuse_with_onnx(name=name, title=title, data=data, half=half, robustness=robustness)
        _export_onnx(run, folder, fold, overwrite=overwrite)
        return
    if folder.suffix.lower() == ".onnx":
        raise Mri7tError(f"{folder}: is the name of an ONNX file: add --onnx, or name a folder")
    stress = None if robustness is None else _measured(robustness)
    card = export_model(
        run,
        folder,
        fold="final" if fold is None else fold,
        name=name,
        title=title,
        data=data,
        half=half,
        stress=stress,
        overwrite=overwrite,
    )
    say(f"{folder}: {card.title}{_figures(card.metrics)}")


def _refuse_with_onnx(**options: object) -> None:
    """Refuse the options of a model folder, which an ONNX file has no place for."""
    for name, value in options.items():
        if value:
            raise Mri7tError(f"--{name} is for a model folder: omit it, or omit --onnx")


def _export_onnx(source: Path, path: Path, fold: str | None, *, overwrite: bool) -> None:
    from napari_mri7t.engine.models.onnx import NOTICE, export_onnx
    from napari_mri7t.engine.training.export import find_trained

    model = find_trained(source, fold)
    say(f"{export_onnx(model, path, overwrite=overwrite)}: {model.card.title}", NOTICE)


def _measured(path: Path) -> dict[str, Any]:
    """Read the output of `mri7t robustness`, which names the model that it measured."""
    from napari_mri7t.engine.atomic import read_object

    advice = "use the output of `mri7t robustness`"
    found = read_object(path, advice)
    stressed = found.get("stressed")
    if not isinstance(stressed, dict) or not isinstance(stressed.get("sha256"), str):
        raise Mri7tError(f"{path}: names no model that was measured: {advice}")
    return found


def _folds(text: str) -> list[int] | None:
    """Read --folds; None for all of them."""
    if text in ("all", "none"):
        return None if text == "all" else []
    numbers = [part.strip() for part in text.split(",")]
    if not all(number.isdecimal() for number in numbers):
        raise Mri7tError(f"folds {text!r}: expected all, none, or numbers such as 0,3,7")
    return [int(number) for number in numbers]


def _figures(metrics: dict[str, dict[str, dict[str, dict[str, float]]]]) -> str:
    """Return the PSNR of the held-out subjects as text, if there are any."""
    if "estimate" not in metrics:
        return ""
    before = metrics["source"]["brain"]["psnr"]["mean"]
    after = metrics["estimate"]["brain"]["psnr"]["mean"]
    return f", brain PSNR {after:.2f} dB (3T: {before:.2f} dB)"
