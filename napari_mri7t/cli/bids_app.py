"""`mri7t bids-app`: `mri7t batch` with the command line that all BIDS Apps share.

https://bids-apps.neuroimaging.io
"""

import json
import os
import re
import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from napari_mri7t import __version__
from napari_mri7t.cli.batch import batch
from napari_mri7t.cli.console import say, warn
from napari_mri7t.cli.options import AllowOutOfDomain, Device, Model, Prepare
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.synthesis.config import SynthesisConfig

VALIDATOR = "bids-validator-deno"
SHOWN_ERRORS = 5
LABELS = ("--participant-label", "--session-label")  # take several values


class Level(StrEnum):
    """Of the analysis, as BIDS Apps have it."""

    PARTICIPANT = "participant"
    GROUP = "group"


class BidsAppCommand(TyperCommand):
    """A command whose labels may follow one flag, and whose flags may have underscores."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat a flag before each of its labels."""
        return super().parse_args(ctx, spread(args))


def spread(arguments: list[str]) -> list[str]:
    """Return arguments as click reads them: one label a flag, hyphens in the names of flags.

    Examples
    --------
    >>> spread(["in", "out", "participant", "--participant_label", "01", "02", "-w", "work"])[3:]
    ['--participant-label', '01', '--participant-label', '02', '-w', 'work']
    """
    found: list[str] = []
    flag = ""
    for each in map(_with_hyphens, arguments):
        name, sign, value = each.partition("=")
        if each.startswith("-"):
            _check_labels(found)
            flag = name if name in LABELS else ""
            found += [name, value] if flag and sign else [each]
        elif flag and found[-1] != flag:
            found += [flag, each]
        else:
            found.append(each)
    _check_labels(found)
    return found


def _check_labels(found: list[str]) -> None:
    """Refuse a flag that no label follows: click would take the next flag for one."""
    if found and found[-1] in LABELS:
        raise typer.BadParameter("name at least one label", param_hint=found[-1])


def _with_hyphens(argument: str) -> str:
    name, sign, value = argument.partition("=")
    is_flag = re.fullmatch(r"--[a-z_-]+", name) is not None
    return name.replace("_", "-") + sign + value if is_flag else argument


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"mri7t {__version__}")
        raise typer.Exit


def bids_app(
    source: Annotated[Path, typer.Argument(metavar="BIDS_DIR", help="BIDS dataset of 3T scans.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT_DIR", help="BIDS derivative.")],
    level: Annotated[
        Level,
        typer.Argument(
            help="participant: synthesise; group: quality.html and group_quality.tsv of all."
        ),
    ],
    participant_label: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL...", help="Only these participants, without sub-."),
    ] = None,
    session_label: Annotated[
        list[str] | None, typer.Option(metavar="LABEL...", help="Only these sessions.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work-dir",
            "-w",
            metavar="WORK",
            help="Folder for masks, bias fields and transforms, which the next run reuses.",
        ),
    ] = None,
    derivatives: Annotated[
        list[Path] | None,
        typer.Option(
            "--derivatives",
            "-d",
            metavar="DIR",
            help="BIDS derivative, DIR or NAME=DIR, with masks and transforms to use; may be "
            "repeated.",
            show_default="those in BIDS_DIR/derivatives",
        ),
    ] = None,
    skip_bids_validation: Annotated[
        bool,
        typer.Option(
            "--skip-bids-validation",
            "--skip-bids-validator",
            help="Take BIDS_DIR as it is. The validator runs only where it is installed.",
        ),
    ] = False,
    model: Model = None,
    device: Device = SynthesisConfig.device,
    prepare: Prepare = None,
    allow_out_of_domain: AllowOutOfDomain = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace estimates made from another scan, mask, model or settings."
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Run as a BIDS App: `mri7t batch` with the arguments that all BIDS Apps share.

    Several labels may follow one flag. Participants may run in parallel into one OUTPUT_DIR. The
    exit code is 0 if every scan has its estimate.
    """
    from napari_mri7t.engine.datasets.bids import check_dataset

    check_dataset(source)
    if level is Level.GROUP:
        from napari_mri7t.engine.workflows.group import write_group

        if participant_label or session_label:
            warn(["the group level always covers all participants and sessions in OUTPUT_DIR"])
        say(*write_group(output))
        return
    if not skip_bids_validation:
        _validate(source, participant_label or [])
    batch(
        source,
        output,
        model=model,
        device=device,
        prepare=prepare,
        keep=work,
        derivatives=derivatives or None,
        allow_out_of_domain=allow_out_of_domain,
        participant=participant_label,
        session=session_label,
        overwrite=overwrite,
    )


def _validate(source: Path, participants: list[str]) -> None:
    """Refuse a dataset in which the BIDS validator finds an error, unless in others' folders."""
    here = Path(sys.executable).parent
    path = f"{here}{os.pathsep}{os.environ.get('PATH', '')}"
    program = shutil.which(VALIDATOR, path=path)
    if program is None:
        say(f"{VALIDATOR} is not installed: {source} is not validated", err=True)
        return
    done = subprocess.run(
        [program, "--format", "json", str(source)],
        env=os.environ | {"PATH": path},
        capture_output=True,
    )
    errors = _errors(done.stdout, [label.removeprefix("sub-") for label in participants])
    if errors is None:
        say(f"{VALIDATOR} ended without a result: {source} is not validated", err=True)
    elif errors:
        more = f" and {len(errors) - SHOWN_ERRORS} more" if len(errors) > SHOWN_ERRORS else ""
        raise Mri7tError(
            f"{source}: is not valid BIDS: {'; '.join(errors[:SHOWN_ERRORS])}{more}: mend it, or "
            "skip the validation",
            argument="skip_bids_validation",
        )


def _errors(output: bytes, participants: list[str]) -> list[str] | None:
    """Return what the validator calls errors; None where it gave no result."""
    try:
        issues: list[dict[str, Any]] = json.loads(output)["issues"]["issues"]
        return [
            f"{issue['code']} {issue.get('location', '')}".strip()
            for issue in issues
            if issue["severity"] == "error" and _concerns(issue.get("location", ""), participants)
        ]
    except (ValueError, LookupError, TypeError):
        return None


def _concerns(location: str, participants: list[str]) -> bool:
    """Return whether a place is of the dataset as a whole, or of one of the participants."""
    of = re.match(r"/sub-([^/]+)/", location)
    return of is None or not participants or of[1] in participants
