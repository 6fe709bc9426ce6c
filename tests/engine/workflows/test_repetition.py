"""What a repetition takes for its sources and its image, and how far it tells them apart."""

import json
import shutil

import numpy as np
import pytest

from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.engine.workflows.record import SidecarRecord, read_record
from napari_mri7t.engine.workflows.repetition import (
    SourcePaths,
    check_digests,
    compare_bits,
    find_sources,
)


@pytest.fixture
def made(phantom_file, tiny_model, tmp_path):
    """The sidecar of a synthesis on disk."""
    config = SynthesisConfig(device="cpu", precision="float32", step=3)
    image = estimate(load_volume(phantom_file), load_model(tiny_model), config).save(
        tmp_path / "estimate.nii.gz"
    )
    return image.with_name("estimate.json")


def test_largest_difference_counts_in_both_directions(phantom):
    changed = phantom.array.copy()
    changed[20, 20, 16] -= 0.5
    changed[20, 20, 17] += 0.125
    n_differing, largest, _ = compare_bits(phantom.with_array(changed), phantom)
    assert n_differing == 2
    assert largest == pytest.approx(0.5, abs=1e-6)


def test_minus_0_is_no_0(phantom):
    """Bits are compared, not numbers."""
    changed = phantom.array.copy()
    assert changed[0, 0, 0] == 0
    changed[0, 0, 0] = -0.0
    assert compare_bits(phantom.with_array(changed), phantom)[:2] == (1, 0.0)


def test_sidecar_with_more_sources_than_a_repetition_takes_is_refused(made):
    facts = json.loads(made.read_text())
    made.write_text(json.dumps(facts | {"Sources": 3 * facts["Sources"]}))
    with pytest.raises(StateError, match="lists more sources than a repetition takes"):
        find_sources(read_record(made), SourcePaths())


def test_source_is_told_from_others_of_its_name_in_a_folder(made, phantom_file, tmp_path):
    place = tmp_path / "folder"
    (place / "a" / phantom_file.name).mkdir(parents=True)
    (place / "b").mkdir()
    (place / "b" / phantom_file.name).write_bytes(b"another")
    (place / "c").mkdir()
    expected = load_volume(phantom_file)
    shutil.move(phantom_file, place / "c")
    (scan,) = find_sources(read_record(made), SourcePaths(folder=place))
    np.testing.assert_array_equal(scan.array, expected.array)


def test_source_that_ends_too_early_in_the_record_is_refused(made, phantom_file):
    """A pair of files of which the sidecar names one."""
    entries = [{"File": phantom_file.name, "SHA256": "0" * 64}]
    with pytest.raises(StateError, match="is not the original input"):
        check_digests(phantom_file, ["0" * 64, "1" * 64], entries, "input")


def test_sidecar_of_the_first_version_beside_two_images_asks_for_one(made):
    facts = json.loads(made.read_text())
    del facts["Image"]
    made.write_text(json.dumps(facts))
    assert read_record(made).find_image().name == "estimate.nii.gz"
    made.with_name("estimate.nii").write_bytes(b"another")
    with pytest.raises(StateError, match="move the other image away"):
        read_record(made).find_image()


def test_image_that_was_renamed_with_its_sidecar_is_known_by_its_bytes(made):
    for path in (made, made.with_name("estimate.nii.gz")):
        path.rename(path.with_name(path.name.replace("estimate", "renamed")))
    renamed = made.with_name("renamed.json")
    assert read_record(renamed).find_image().name == "renamed.nii.gz"
    with renamed.with_name("renamed.nii.gz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(StateError, match=r"describes estimate\.nii\.gz, which renamed\.nii\.gz"):
        read_record(renamed).find_image()


def test_another_version_of_the_converter_is_named(tmp_path):
    record = SidecarRecord(tmp_path / "a.json", ({"dcm2niix": "0.0"},), {}, None)
    (told,) = record.other_versions
    assert told.startswith("made with dcm2niix 0.0, ")
