"""All that is chosen in the widget "Synthesize 7T", and what is asked of the engine with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.layers import Layer

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.models.card import bundled_folders
from napari_mri7t.engine.synthesis.uncertainty import why_uncalibrated
from napari_mri7t.widgets.shared.model_chooser import ModelChooser
from napari_mri7t.widgets.synthesize.command import (
    AskedOfLayers,
    lines_of_folder,
    lines_of_layers,
)
from napari_mri7t.widgets.synthesize.computation import ComputationFields
from napari_mri7t.widgets.synthesize.fields import FOLDER, SourceFields
from napari_mri7t.widgets.synthesize.folder_jobs import FolderRequest
from napari_mri7t.widgets.synthesize.pace import Passes
from napari_mri7t.widgets.synthesize.preparation import PreparationFields
from napari_mri7t.widgets.synthesize.preview_session import Request

ONLY_AVERAGED = "only with the quality Averaged, for which it was calibrated"


@dataclass(frozen=True, eq=False)
class Choices:
    """The groups of fields, read together."""

    source: SourceFields
    model_chooser: ModelChooser
    preparation: PreparationFields
    computation: ComputationFields

    @property
    def is_folder(self) -> bool:
        """Whether a folder is synthesised."""
        return self.source.mode == FOLDER

    def why_not(self) -> str | None:
        """Return what is missing before anything can start."""
        why_not = self.source.why_not()
        if why_not is None and self.model_chooser.card is None:
            why_not = "Choose a model."
        if why_not is None and not self.is_folder:
            why_not = self.preparation.why_not(self.source.layers())
        return why_not

    def offer_what_the_model_has(self) -> None:
        """Offer the noise where the model is told it, and the uncertainty where calibrated."""
        card = self.model_chooser.card
        is_told = card is not None and card.is_told_noise
        by_step = card is None or not card.is_of_one_slice
        by_plane = card is not None and len(card.planes) > 1
        if self.model_chooser.choice is None and (self.is_folder or len(self.source.layers()) > 1):
            is_told = by_step = by_plane = True  # some of the scans may get such a model
        self.computation.offer_noise(None if is_told else "this model does not use it")
        self.computation.offer_fast(by_step=by_step, by_plane=by_plane)
        if card is None or self.is_folder:
            why_not = "choose a model" if card is None else "for layers, not for a folder"
        else:
            why_not = why_uncalibrated(card) or (
                why_uncalibrated(card, self.computation.config()) and ONLY_AVERAGED
            )
        self.computation.offer_uncertainty(why_not)

    def places(self) -> tuple[object, ...]:
        """Return what everything shown is about, the layers apart."""
        folders = self.source.folder_field.folder, self.source.output_field.folder
        return self.source.mode, self.model_chooser.choice, *folders

    def values(self) -> dict[str, Any]:
        """Return the choices to restore in the next session."""
        values = self.computation.values() | self.preparation.values() | self.source.values()
        kept = {
            "noise_factor": self.computation.noise_box.value(),
            "step": self.computation.step_box.currentData(),
        }
        values.pop("planes")  # the step tells
        return values | kept | self._own_model()

    def _own_model(self) -> dict[str, str]:
        """Return the user's own model, if one is chosen; else the last one is offered on."""
        folder = self.model_chooser.choice
        is_own = folder is not None and folder not in bundled_folders()
        return {"chosen_model": str(folder)} if is_own else {}

    def recall_model(self, remembered: dict[str, Any]) -> None:
        """Offer the model that was chosen or trained last, if it is still there."""
        folder = Path(str(remembered.get("chosen_model", "")))
        if remembered.get("chosen_model") and folder.is_dir():
            self.model_chooser.offer(folder)

    def passes(self, shape: tuple[int, int, int], n_voxels: int) -> Passes:
        """Return what goes through the model."""
        chooser, config = self.model_chooser, self.computation.config()
        return Passes(chooser.card, chooser.folder, config, shape, n_voxels)

    def folder_request(self) -> FolderRequest:
        """Return what is asked for a folder."""
        asked = self.preparation.asked()
        return FolderRequest(
            self.source.folder_field.folder,
            self.source.output_field.folder,
            self.model_chooser.choice,
            self.computation.config(),
            asked.preparation,
            asked.output,
            self.source.overwrite_box.isChecked(),
            self.source.selection.wanted,
            self.source.selection.index,
        )

    def preview_request(self) -> Request | None:
        """Return what a preview is of: the layer to synthesise, the first of several."""
        sources = self.source.sources()
        if self.why_not() is not None or not sources:
            return None
        self.preparation.begin_session()  # the full run reuses what is prepared for a preview
        asked = self.preparation.asked()
        return Request(sources[0], self.model_chooser.choice, self.computation.config(), asked)

    def lines(self) -> list[str]:
        """Return the `mri7t` lines of what a start would do.

        Raises
        ------
        Mri7tError
            If nothing can start.
        """
        why_not = self.why_not()
        if why_not is not None:
            raise Mri7tError(why_not)
        if self.is_folder:
            return lines_of_folder(self.folder_request())
        asked = AskedOfLayers(
            self.source.sources(),
            self.model_chooser.choice,
            self.computation.config(),
            self.preparation.asked(),
            self.preparation.keep,
            self.preparation.mask_layer,
        )
        return lines_of_layers(asked)


def title_of(layers: list[Layer]) -> str:
    """Return what layers are called in a sentence."""
    return layers[0].name if len(layers) == 1 else f"{len(layers)} layers"
