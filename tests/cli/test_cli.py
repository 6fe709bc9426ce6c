"""The command line: what it prints, what it writes, and how it fails."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from rich.progress import Progress as Bar

from napari_mri7t import __version__
from napari_mri7t.engine.metrics.basic import compare
from napari_mri7t.engine.models import card as cards
from napari_mri7t.engine.models.card import read_card
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.networks import NETWORKS
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import load_volume, save_volume
from napari_mri7t.engine.workflows.demo import run_demo

HEAVY = {"torch", "numpy", "scipy", "nibabel", "napari", "matplotlib", "rich"}


@pytest.fixture
def run(run_cli):
    return run_cli


def sentence_of(result, path):
    """Check the form of a refusal and give its text."""
    code, out, error = result
    assert code == 1
    assert out == ""
    assert error.startswith(f"{path}: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


def test_version_is_that_of_the_package(run):
    assert run("--version") == (0, f"mri7t {__version__}\n", "")


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in ("synthesize", "simulate", "compare", "models", "demo"):
        assert command in out


@pytest.mark.parametrize("command", ["synthesize", "simulate", "compare", "models", "demo"])
def test_help_of_a_command_loads_no_heavy_library(command):
    program = (
        "import sys\n"
        "from napari_mri7t import cli\n"
        f"sys.argv = ['mri7t', {command!r}, '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_loads_next_to_nothing_of_the_engine():
    """So it answers at once."""
    program = (
        "import sys\n"
        "from napari_mri7t import cli\n"
        "sys.argv = ['mri7t', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.split())
    assert {"typer", "napari_mri7t.cli.train"} <= loaded
    engine = {name for name in loaded if name.startswith("napari_mri7t.engine.")}
    light = ("errors", "progress", "synthesis", "synthesis.config", "system", "texts", "typed")
    assert engine <= {f"napari_mri7t.engine.{name}" for name in light}
    assert loaded.isdisjoint(HEAVY)


def test_wrong_usage_exits_with_2(run):
    assert run("compare")[0] == 2
    assert run("no-such-command")[0] == 2
    assert run("simulate", "a.nii", "b.nii", "--variance", "much")[0] == 2


@pytest.mark.parametrize("variance", ["0.003", "0.01"])
def test_a_variance_that_a_preset_does_not_use_is_refused(run, phantom_file, tmp_path, variance):
    words = ("--variance", variance, "--preset", "realistic")
    code, _, error = run("simulate", phantom_file, tmp_path / "out.nii", *words)
    assert code == 1
    assert "variance is of the preset report; realistic draws its own noise" in error
    assert not (tmp_path / "out.nii").exists()


def test_simulate_writes_what_the_engine_makes(run, phantom_file, tmp_path):
    source_out, target_out = tmp_path / "source.nii.gz", tmp_path / "target.nii"
    code, _, error = run(
        "simulate", phantom_file, source_out, "--target-out", target_out,
        "--variance", 0.01, "--seed", 7,
    )  # fmt: skip
    assert (code, error) == (0, "")
    source, target = simulate_3t(
        load_volume(phantom_file), config=SimulationConfig(variance=0.01, seed=7)
    )
    np.testing.assert_array_equal(load_volume(source_out).array, source.array)
    np.testing.assert_array_equal(load_volume(target_out).array, target.array)


def test_simulate_says_how_to_get_the_7t_on_the_scale_of_the_pseudo_3t(
    run, phantom, phantom_file, tmp_path
):
    bright = save_volume(phantom.with_array(phantom.array * 255), tmp_path / "bright.nii")
    words = "--target-out writes its 7T on that scale"
    for source, options, is_told in (
        (bright, (), True),
        (bright, ("--target-out", tmp_path / "7T.nii", "--overwrite"), False),
        (phantom_file, ("--overwrite",), False),
    ):
        assert (words in run("simulate", source, tmp_path / "3T.nii", *options)[1]) is is_told


def test_step_that_a_model_does_not_take_is_told(run, phantom_file, tiny_model, tmp_path):
    options = ("--model", tiny_model, "--prepare", "none", "--overwrite")
    for step in (1, 99):
        error = run("synthesize", phantom_file, tmp_path / "7T.nii", *options, "--step", step)[2]
        assert ("step 99 became" in error) is (step == 99)


@pytest.mark.usefixtures("small_demo")
def test_simulate_and_demo_report_so_that_they_can_be_stopped(
    run, phantom_file, model_folder, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(Bar, "update", lambda _, task, **changes: seen.append(changes))
    assert run("simulate", phantom_file, tmp_path / "source.nii")[0] == 0
    assert any("pseudo-3T: " in str(changes.get("description")) for changes in seen)
    seen.clear()
    config = SynthesisConfig("cpu", step=3)
    run_demo(tmp_path / "demo", load_model(model_folder), config, seen.append)
    shares = [now.done / now.total for now in seen]
    assert shares == sorted(shares)
    assert seen[0].message == "simulating the 3T scan"
    assert shares[-1] == 1


def test_simulate_takes_the_realistic_preset(run, phantom_file, tmp_path):
    output = tmp_path / "source.nii.gz"
    code, _, error = run("simulate", phantom_file, output, "--preset", "realistic", "--seed", 7)
    assert (code, error) == (0, "")
    config = SimulationConfig(seed=7, preset="realistic")
    expected, _ = simulate_3t(load_volume(phantom_file), config=config)
    np.testing.assert_array_equal(load_volume(output).array, expected.array)
    noise = json.loads((tmp_path / "source.json").read_text())["Settings"]["noise"]
    assert noise["preset"] == "realistic"


def test_simulate_makes_pairs_of_a_folder(run, phantom_file, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("sub-01.nii", "sub-02.nii"):
        save_volume(load_volume(phantom_file), tmp_path / "in" / name)
    code, out, error = run("simulate", tmp_path / "in", tmp_path / "pairs", "--seed", 4)
    assert code == 0, error
    assert "pairs: 2 pairs written" in out
    source, _ = simulate_3t(tmp_path / "in/sub-02.nii", config=SimulationConfig(seed=5))
    made = load_volume(tmp_path / "pairs/3T_images/sub-02.nii.gz")
    np.testing.assert_array_equal(made.array, source.array)
    code, _, error = run("simulate", tmp_path / "in", tmp_path / "pairs")
    assert code == 1
    assert error.rstrip().endswith("(--overwrite)")
    code, _, error = run("simulate", tmp_path / "in", tmp_path / "other", "--index", 0)
    assert code == 1
    assert "a folder takes neither" in error


def test_simulate_keeps_the_orientation_of_the_file(run, phantom_file, tmp_path):
    output = tmp_path / "source.nii.gz"
    run("simulate", phantom_file, output)
    before, after = nibabel.load(phantom_file), nibabel.load(output)
    assert nibabel.aff2axcodes(after.affine) == ("L", "A", "S")
    np.testing.assert_array_equal(after.affine, before.affine)


def test_simulate_says_in_the_sidecar_what_it_did(run, phantom_file, tmp_path):
    run("simulate", phantom_file, tmp_path / "source.nii.gz", "--seed", 3)
    sidecar = json.loads((tmp_path / "source.json").read_text())
    assert sidecar["Synthetic"] is True
    assert sidecar["Seed"] == 3
    assert sidecar["Settings"]["noise"]["variance"] == SimulationConfig().variance
    assert [source["File"] for source in sidecar["Sources"]] == [phantom_file.name]


def test_simulate_matches_the_histogram_of_a_reference(run, phantom, phantom_file, tmp_path):
    """The darkest and the brightest voxel of both outputs are those of the reference."""
    reference = save_volume(phantom.with_array(phantom.array**2), tmp_path / "reference.nii.gz")
    run("simulate", phantom_file, tmp_path / "s.nii", "--reference", reference)
    made = load_volume(tmp_path / "s.nii").array
    wanted = load_volume(reference).array / load_volume(reference).array.max()
    assert abs(np.percentile(made, 99) - np.percentile(wanted, 99)) < 0.02


def test_compare_prints_json(run, phantom, phantom_file, tmp_path):
    """An estimate 0.1 too bright everywhere: MAE 0.1, PSNR 20 dB, by hand."""
    estimate = save_volume(phantom.with_array(phantom.array + np.float32(0.1)), tmp_path / "e.nii")
    code, out, error = run("compare", phantom_file, estimate, "--json")
    scores = json.loads(out)
    assert (code, error) == (0, "")
    assert list(scores) == ["whole", "brain", "data_range"]
    assert scores.pop("data_range")["span"] == 1
    for region in scores.values():
        assert list(region)[:4] == ["mae", "psnr", "ssim", "nrmse"]
        assert region["mae"] == pytest.approx(0.1, abs=1e-6)
        assert region["psnr"] == pytest.approx(20, abs=1e-4)


def test_compare_tells_what_is_odd_in_any_of_its_files(run, phantom, phantom_file, tmp_path):
    holes = phantom.array.copy()
    holes[0, 0, 0] = np.nan
    path = tmp_path / "holes.nii.gz"
    nibabel.save(nibabel.Nifti1Image(holes, phantom.affine), path)
    code, _, error = run("compare", phantom_file, path)
    assert code == 0
    assert "warning: holes: 1 of 61440 voxels were NaN" in error


def test_simulate_warns_of_a_scan_that_is_no_7t(run, phantom_file, tmp_path):
    (phantom_file.parent / f"{phantom_file.name.split('.')[0]}.json").write_text(
        '{"MagneticFieldStrength": 3}'
    )
    told = f"warning: {phantom_file.name.split('.')[0]}: this is no 7T scan by its name or JSON"
    assert told in run("simulate", phantom_file, tmp_path / "a.nii")[2]
    assert told not in run("simulate", phantom_file, tmp_path / "b.nii", "--preset", "noise")[2]


def test_compare_takes_mask_and_data_range(run, phantom, phantom_file, tmp_path):
    """Only the masked half is wrong, by 1 of 10: PSNR 20 dB there."""
    half = np.zeros(phantom.shape, np.float32)
    half[:20] = 1
    mask = save_volume(phantom.with_array(half), tmp_path / "mask.nii")
    estimate = save_volume(phantom.with_array(phantom.array + half), tmp_path / "estimate.nii")
    arguments = ("compare", phantom_file, estimate, "--mask", mask, "--data-range", 10, "--json")
    scores = json.loads(run(*arguments)[1])
    assert scores["brain"]["psnr"] == pytest.approx(20, abs=1e-4)
    assert scores["whole"]["mae"] == pytest.approx(0.5, abs=1e-6)


def test_compare_prints_a_table(run, phantom_file):
    code, out, _ = run("compare", phantom_file, phantom_file)
    assert code == 0
    scores, detail, span = out.split("\n\n")
    assert span == "Data range 1: the reference lies in 0 to 1.\n"
    assert [line.split()[0] for line in scores.splitlines()] == ["MAE", "whole", "brain"]
    assert "3-D SSIM, brain                            1.00000\n" in detail


def test_compare_warns_of_intensities_beyond_the_data_range(run, phantom, phantom_file, tmp_path):
    bright = save_volume(phantom.with_array(phantom.array * 255), tmp_path / "bright.nii")
    assert "--data-range" in run("compare", bright, bright, "--data-range", 1)[2]
    assert run("compare", bright, bright, "--data-range", 255)[2] == ""
    unlike = run("compare", bright, phantom_file)[2]
    assert "to one scale" in unlike
    assert "--data-range" not in unlike


def test_compare_takes_the_range_of_the_reference_in_any_unit(run, phantom, tmp_path):
    """The PSNR does not depend on the unit: the widget shows the same figures."""
    made = []
    for unit in (255, 4000):
        pair = [phantom.array * unit, phantom.array * unit * np.float32(0.9)]
        files = [
            save_volume(phantom.with_array(array), tmp_path / f"{unit}_{n}.nii")
            for n, array in enumerate(pair)
        ]
        code, out, error = run("compare", *files)
        assert (code, error) == (0, "")
        assert "from the background of the reference to its 99.8th percentile" in out
        made.append(json.loads(run("compare", *files, "--json")[1])["brain"]["psnr"])
    assert made[0] == pytest.approx(made[1], abs=0.01)
    assert 20 < made[0] < 40


def test_compare_refuses_volumes_on_two_grids(run, phantom, phantom_file, tmp_path):
    moved = nibabel.load(phantom_file)
    moved = nibabel.Nifti1Image(np.asarray(moved.dataobj), moved.affine + 0.5 * np.eye(4, k=3))
    nibabel.save(moved, tmp_path / "moved.nii")
    code, out, error = run("compare", phantom_file, tmp_path / "moved.nii", "--json")
    assert (code, out) == (1, "")
    assert "grid" in error


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"version https://git-lfs"])
def test_damaged_input_ends_in_one_sentence(run, tmp_path, content):
    path = tmp_path / "brain.nii.gz"
    path.write_bytes(content)
    sentence_of(run("simulate", path, tmp_path / "out.nii.gz"), path)
    assert [file.name for file in tmp_path.iterdir()] == ["brain.nii.gz"]


def test_missing_input_ends_in_one_sentence(run, tmp_path):
    path = tmp_path / "nowhere.nii"
    sentence_of(run("simulate", path, tmp_path / "out.nii.gz"), path)


def test_several_volumes_need_an_index(run, tmp_path):
    rng = np.random.default_rng(0)
    path, output = tmp_path / "series.nii", tmp_path / "out.nii"
    nibabel.save(nibabel.Nifti1Image(rng.random((12, 12, 12, 3), np.float32), np.eye(4)), path)
    assert "--index" in sentence_of(run("simulate", path, output), path)
    assert run("simulate", path, output, "--index", 2)[0] == 0


def test_existing_output_is_replaced_only_on_demand(run, phantom_file, tmp_path):
    output = tmp_path / "out.nii"
    output.write_bytes(b"precious")
    assert "exists" in sentence_of(run("simulate", phantom_file, output), output)
    assert output.read_bytes() == b"precious"
    assert run("simulate", phantom_file, output, "--overwrite")[0] == 0
    assert load_volume(output).shape == load_volume(phantom_file).shape


def test_one_name_for_two_outputs_is_refused(run, phantom_file, tmp_path):
    output = tmp_path / "out.nii"
    twice = run("simulate", phantom_file, output, "--target-out", tmp_path / "out.nii.gz")
    sentence_of(twice, tmp_path / "out.nii.gz")
    assert not output.exists()


def test_output_without_a_folder_or_extension_is_refused_before_the_work(run, tmp_path):
    nowhere = tmp_path / "missing" / "out.nii"
    sentence_of(run("simulate", "not even read", nowhere), nowhere)
    sentence_of(run("simulate", "not even read", tmp_path / "out.txt"), tmp_path / "out.txt")


def test_input_as_output_needs_overwrite(run, phantom_file):
    before = Path(phantom_file).read_bytes()
    sentence_of(run("simulate", phantom_file, phantom_file), phantom_file)
    assert Path(phantom_file).read_bytes() == before
    assert run("simulate", phantom_file, phantom_file, "--overwrite")[0] == 0


def test_names_with_spaces_and_other_scripts_are_taken(run, phantom_file, tmp_path):
    output = tmp_path / "mon cerveau 脳.nii.gz"
    assert run("simulate", phantom_file, output)[0] == 0
    assert output.exists()


def test_synthesize_writes_what_the_engine_makes(run, phantom_file, model_folder, tmp_path):
    output = tmp_path / "estimate.nii.gz"
    code, out, _ = run(
        "synthesize", phantom_file, output, "--model", model_folder, "--device", "cpu",
        "--step", 3, "--end-slices", 2,
    )  # fmt: skip
    assert code == 0
    assert out.startswith(f"{output}: untrained on cpu")
    assert "not for diagnosis" in out
    config = SynthesisConfig(device="cpu", step=3, end_slices=2)
    expected = estimate(load_volume(phantom_file), load_model(model_folder), config).volume
    np.testing.assert_array_equal(load_volume(output).array, expected.array)


def test_synthesize_without_a_model_takes_the_default_and_turns_its_noise(
    run, phantom_file, tmp_path
):
    images = []
    for factor in (0, 3):
        output = tmp_path / f"estimate{factor}.nii"
        assert run("synthesize", phantom_file, output, "--noise-factor", factor)[0] == 0
        sidecar = json.loads(output.with_suffix(".json").read_text())
        assert sidecar["Model"]["Name"] == cards.DEFAULT_MODEL
        assert sidecar["Settings"]["noise_factor"] == factor
        assert sidecar["Settings"]["planes"] == list(cards.PLANES)
        images.append(load_volume(output).array)
    assert not np.array_equal(*images)


def test_one_plane_is_chosen_on_the_command_line(run, phantom_file, tmp_path):
    output = tmp_path / "estimate.nii"
    code, _, error = run("synthesize", phantom_file, output, "--planes", "oblique")
    assert (code, output.exists()) == (1, False)
    assert "planes must be some of axial, coronal, sagittal" in error
    assert run("synthesize", phantom_file, output, "--planes", "coronal, axial")[0] == 0
    settings = json.loads(output.with_suffix(".json").read_text())["Settings"]
    assert settings["planes"] == ["coronal", "axial"]
    code, _, error = run("repeat", output.with_suffix(".json"))
    assert code == 0, error


def test_models_says_which_are_the_defaults(run):
    marked = [line.split()[0] for line in run("models")[1].splitlines() if "default" in line]
    assert marked == [cards.DEFAULT_MODEL, cards.REPORT_MODEL]


def test_synthesize_keeps_the_grid_and_tells_how_it_was_made(
    run, phantom_file, model_folder, tmp_path
):
    output = tmp_path / "estimate.nii"
    run("synthesize", phantom_file, output, "--model", model_folder)
    before, after = nibabel.load(phantom_file), nibabel.load(output)
    assert after.shape == before.shape
    np.testing.assert_array_equal(after.affine, before.affine)
    sidecar = json.loads((tmp_path / "estimate.json").read_text())
    assert sidecar["Synthetic"] is True
    assert sidecar["Model"] == {"Name": "untrained", "SHA256": read_card(model_folder).sha256}
    assert sidecar["Settings"]["step"] == SynthesisConfig().step
    assert [source["File"] for source in sidecar["Sources"]] == [phantom_file.name]


def test_synthesize_warns_of_a_volume_unlike_the_training_data(
    run, phantom_file, model_folder, tmp_path
):
    """The phantom's brain is 4 cm long: far too small for an adult's."""
    _, _, error = run("synthesize", phantom_file, tmp_path / "e.nii", "--model", model_folder)
    assert error.startswith("warning: ")
    assert "litres" in error
    assert "litres" in json.loads((tmp_path / "e.json").read_text())["Warnings"][0]


def test_synthesize_draws_no_progress_bar_into_a_file(run, phantom_file, model_folder, tmp_path):
    _, _, error = run("synthesize", phantom_file, tmp_path / "e.nii", "--model", model_folder)
    assert "%" not in error
    assert "\x1b" not in error


def test_unknown_model_and_device_end_in_one_sentence(run, phantom_file, model_folder, tmp_path):
    output = tmp_path / "e.nii"
    assert "watnet" in sentence_of(
        run("synthesize", phantom_file, output, "--model", "nonet"), "nonet"
    )
    code, out, error = run(
        "synthesize", phantom_file, output, "--model", model_folder, "--device", "abacus"
    )
    assert (code, out) == (1, "")
    assert "abacus" in error
    assert not output.exists()


def test_failed_synthesis_leaves_no_file(run, model_folder, tmp_path):
    """Two slices are too few for a network that takes three."""
    path = tmp_path / "thin.nii"
    rng = np.random.default_rng(0)
    nibabel.save(nibabel.Nifti1Image(rng.random((16, 16, 2), np.float32), np.eye(4)), path)
    code, out, error = run("synthesize", path, tmp_path / "e.nii", "--model", model_folder)
    assert (code, out) == (1, "")
    assert "Traceback" not in error
    assert [file.name for file in tmp_path.iterdir()] == ["thin.nii"]


def test_models_lists_the_bundled_ones_with_their_parameters(run):
    """The counts are the report's, section 3 and 4."""
    listed = {card["name"]: card for card in json.loads(run("models", "--json")[1])}
    assert listed["basic_cnn"]["n_parameters"] == 672_963
    assert listed["watnet"]["network"] in NETWORKS
    assert run("models")[1].count("\n") == len(listed)


def test_models_of_single_folds_stand_apart_and_are_found_by_name(run, model_folder, monkeypatch):
    place = model_folder.parent / "bundled"
    shutil.copytree(model_folder, place / "untrained")
    shutil.copytree(model_folder, place / "untrained-loo" / "fold-03")
    monkeypatch.setattr(cards, "BUNDLED", place)
    assert [card["name"] for card in json.loads(run("models", "--json")[1])] == ["untrained"]
    assert len(json.loads(run("models", "--folds", "--json")[1])) == 1
    assert cards.find_model("untrained-loo/fold-03") == place / "untrained-loo" / "fold-03"


@pytest.fixture
def small_demo(monkeypatch, phantom, model_folder):
    """The demonstration on the phantom, with an untrained model: quick, and the same files."""
    from napari_mri7t.engine.models import card as cards
    from napari_mri7t.engine.workflows import demo

    template = phantom.with_array(phantom.array, name=demo.TEMPLATE_NAME)
    monkeypatch.setattr(demo, "load_template", lambda: template)
    monkeypatch.setattr(cards, "REPORT_MODEL", str(model_folder))


@pytest.mark.usefixtures("small_demo")
def test_demo_writes_volumes_figures_and_a_picture(run, tmp_path):
    folder = tmp_path / "a demo"
    code, out, _ = run("demo", "--no-gui", "--output", folder)
    assert code == 0
    volumes = ("source", "estimate", "target")
    expected = {f"{name}.{kind}" for name in volumes for kind in ("nii.gz", "json")}
    assert {path.name for path in folder.iterdir()} == expected | {"metrics.json", "demo.png"}
    assert "not for diagnosis" in out
    scores = json.loads((folder / "metrics.json").read_text())
    target, source = load_volume(folder / "target.nii.gz"), load_volume(folder / "source.nii.gz")
    assert scores["source"] == compare(target, source)
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("small_demo")
def test_demo_replaces_the_files_of_an_earlier_run(run, tmp_path):
    assert run("demo", "--no-gui", "--output", tmp_path)[0] == 0
    assert run("demo", "--no-gui", "--output", tmp_path)[0] == 0


@pytest.mark.usefixtures("small_demo")
def test_demo_opens_no_window_without_a_display(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    code, out, _ = run("demo", "--output", tmp_path)
    assert code == 0
    assert "No display" in out


def test_template_is_an_extracted_brain_in_place():
    """The origin of MNI space, the anterior commissure, lies inside; the corners are empty."""
    template = load_template()
    i, j, k = np.linalg.inv(template.affine)[:3, 3].round().astype(int)
    assert template.array[i, j, k] > 0
    assert template.array[0, 0, 0] == 0
    assert template.orientation == "RAS"
    assert template.voxel_size == (1, 1, 1)
    assert (template.array.min(), template.array.max()) == (0, 1)


@pytest.mark.parametrize("command", ["synthesize", "simulate"])
@pytest.mark.parametrize("name", ["e.nii.gz", "e.json"])
@pytest.mark.parametrize("is_here", [True, False])
def test_no_command_writes_through_a_link_of_git_annex(
    run_cli, phantom_file, tmp_path, command, name, is_here
):
    output, key = tmp_path / "e.nii.gz", tmp_path / ".git/annex/objects/key"
    key.parent.mkdir(parents=True)
    assert run_cli("simulate", phantom_file, output)[0] == 0
    before = (tmp_path / name).read_bytes()
    (tmp_path / name).replace(key)
    (tmp_path / name).symlink_to(key)
    if not is_here:
        key.unlink()
    code, _, error = run_cli(command, phantom_file, output, "--overwrite")
    assert code == 1
    told = "locked by git-annex: unlock it" if is_here else "not here: fetch it with 'datalad get'"
    assert f"{tmp_path / name}: is " in error
    assert told in error
    assert (key.read_bytes() if key.exists() else before) == before
    assert sorted(path.name for path in key.parent.iterdir()) == ["key"] * is_here
