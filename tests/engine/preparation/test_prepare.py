"""Raw scans: what is recognised, what is refused, and where the result lies."""

import threading
from dataclasses import replace

import nibabel
import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_mri7t.engine.errors import GridError, Mri7tError, VolumeError
from napari_mri7t.engine.preparation import checks, optional, registration
from napari_mri7t.engine.preparation import prepare as module
from napari_mri7t.engine.preparation.bias_field import estimate_bias_field, strength_of
from napari_mri7t.engine.preparation.extraction import check_mask, mask_of
from napari_mri7t.engine.preparation.prepare import (
    PreparationConfig,
    PreparationPlan,
    plan_preparation,
    prepare,
)
from napari_mri7t.engine.preparation.registration import load_transform, save_transform
from napari_mri7t.engine.preparation.steps import EXTRACTION, REGISTRATION, Decision
from napari_mri7t.engine.progress import Cancelled, Progress, ignore
from napari_mri7t.engine.synthesis.blending import SEAM_MM, blend, seam_weight
from napari_mri7t.engine.synthesis.config import OutputConfig
from napari_mri7t.engine.volumes.brain import brain_litres, looks_extracted, shows_skull
from napari_mri7t.engine.volumes.grids import resample
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

HEAD_SHAPE = (44, 54, 42)
HEAD_MM = 4.0  # as conftest draws it
NOW = Progress(0, 1, "work")


def run(scan, **choices):
    config = PreparationConfig(allow_out_of_domain=True, **choices)
    return prepare(scan, plan_preparation(scan, config))


@pytest.fixture
def on_template(monkeypatch, head_brain):
    """Let the phantom be its own template: nothing is loaded, and alignment is known."""
    for user in (checks, module):
        monkeypatch.setattr(user, "load_template", lambda: head_brain)


def test_zeros_around_no_more_than_a_brain_are_an_extraction(head, head_brain):
    assert looks_extracted(head_brain)
    noisy = np.random.default_rng(0).random(HEAD_SHAPE) * 9
    assert not looks_extracted(head[0].with_array(head[0].array + noisy))


def test_folder_that_nothing_can_be_kept_in_is_refused_before_the_work(head, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "extract_brain", lambda *_, **__: pytest.fail("was begun"))
    (tmp_path / "file").touch()
    with pytest.raises(Mri7tError, match="file/kept: cannot be written into: Not a directory"):
        run(head[0], keep=tmp_path / "file" / "kept")


@pytest.mark.usefixtures("on_template")
def test_brain_that_fits_needs_nothing(head_brain, monkeypatch):
    monkeypatch.setattr(checks, "MODEL_VOXEL_MM", HEAD_MM)
    config = PreparationConfig(allow_out_of_domain=True)
    assert not plan_preparation(head_brain, config).is_needed


def test_less_than_a_brain_goes_the_straight_way(phantom):
    assert not plan_preparation(phantom, PreparationConfig()).is_needed
    np.testing.assert_array_equal(prepare(phantom).brain.array, phantom.array)


def test_nothing_is_done_where_nothing_is_asked_for(head):
    config = PreparationConfig(prepare="none", allow_out_of_domain=True)
    assert not plan_preparation(head[0], config).is_needed


@pytest.mark.parametrize("size", [(1, 1, 3), (2.5, 2.5, 2.5), (0.5, 0.5, 1.2)])
def test_coarse_scan_is_refused_unless_allowed(phantom, size):
    scan = replace(phantom, affine=np.diag([*size, 1.0]))
    with pytest.raises(VolumeError, match="use another scan") as caught:
        checks.check_resolution(scan)
    assert caught.value.argument == "allow_out_of_domain"
    (note,) = checks.check_resolution(scan, allowed=True)
    assert "outside the models' domain" in note


@pytest.mark.parametrize("size", [(2, 2, 2), (0.9, 0.9, 1.8)])
def test_largest_voxels_are_accepted_also_as_an_oblique_file_rounds_them(phantom, tmp_path, size):
    """Turned, and in float32: 2.00000004 mm."""
    turned = Rotation.from_euler("xyz", (17, 11, 6), degrees=True).as_matrix() @ np.diag(size)
    affine = nib.affines.from_matvec(turned, (-100.3, 7, 20))
    nib.save(nib.Nifti1Image(phantom.array, affine), tmp_path / "scan.nii")
    scan = load_volume(tmp_path / "scan.nii")
    sizes = scan.voxel_size
    assert max(sizes) > max(size) or max(sizes) / min(sizes) > 2
    assert checks.check_resolution(scan) == ()


def test_implausible_mask_stops_with_a_reason(head, tmp_path):
    scan, mask = head
    mask[:30] = False
    small = save_volume(scan.with_array(mask), tmp_path / "small.nii.gz")
    with pytest.raises(VolumeError, match="litres"):
        run(scan, mask=small)


def test_mask_of_more_than_a_brain_is_refused(head):
    scan, _ = head
    with pytest.raises(VolumeError, match=r"the brain mask holds 6\.\d\d litres"):
        check_mask(scan, np.ones(scan.shape, bool))


def test_whatever_is_above_0_in_a_mask_is_brain(head):
    scan, inside = head
    found = mask_of(scan.with_array(np.where(inside, 0.3, -1)), scan)
    np.testing.assert_array_equal(found, inside)


def test_mask_on_another_grid_is_refused(head, phantom_file):
    with pytest.raises(GridError, match="one grid"):
        run(head[0], mask=phantom_file)


@pytest.mark.usefixtures("on_template")
@pytest.mark.parametrize("axis", [1, 2])
def test_mirrored_brain_stops_with_a_reason(head_brain, axis):
    mirrored = head_brain.with_array(np.flip(head_brain.array, axis))
    with pytest.raises(VolumeError, match="mirrored or rotated"):
        checks.check_alignment(mirrored, checks.alignment(mirrored, np.eye(4)))


@pytest.mark.parametrize("score", [0.0, 0.549, float("nan")])
def test_low_score_or_none_stops(head_brain, score):
    with pytest.raises(VolumeError, match="registration to MNI space failed"):
        checks.check_alignment(head_brain, score)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_real_brain_turned_by_90_degrees_stops_after_its_registration(axis):
    """The template's own brain at 2 mm, its voxels turned under a header that does not say so."""
    pytest.importorskip("SimpleITK")
    template = load_template()
    sides = [(1, 2), (0, 2), (0, 1)][axis]
    turned = np.rot90(template.array[::2, ::2, ::2], axes=sides)
    affine = template.affine @ np.diag([2.0, 2, 2, 1])
    scan = replace(template, array=np.ascontiguousarray(turned), affine=affine, name="turned")
    with pytest.raises(VolumeError, match="turned: registration to MNI space failed"):
        run(scan)


def a_degraded(brain, rng):
    """Noise on every voxel, and the darkest tenth of the brain lost, as a pseudo-3T has it."""
    inside = brain.array > 0
    noisy = brain.array + rng.normal(0, 0.15 * brain.array.max(), brain.shape) * inside
    return brain.with_array(np.where(noisy > np.percentile(noisy[inside], 10), noisy, 0) * inside)


@pytest.mark.usefixtures("on_template")
def test_brain_that_lies_in_mni_space_is_known_whatever_its_noise(head_brain):
    brain = a_degraded(head_brain, np.random.default_rng(0))
    assert checks.lies_in_mni(head_brain)
    assert checks.lies_in_mni(brain)


@pytest.mark.usefixtures("on_template")
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize(("degrees", "mm"), [(10, 0), (90, 0), (180, 0), (0, 10), (0, 60)])
def test_brain_that_is_moved_does_not_lie_in_mni_space(head_brain, axis, degrees, mm):
    move = np.eye(4)
    angles = np.eye(3)[axis] * degrees
    move[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    centre = registration.centre_of(head_brain)
    move[:3, 3] = centre - move[:3, :3] @ centre
    move[axis, 3] += mm
    assert not checks.lies_in_mni(replace(head_brain, affine=move @ head_brain.affine))


def test_ragged_surface_of_a_noisy_brain_is_no_scalp():
    """Noise that is cut off leaves holes up to a dark core, which must not pass for a skull."""
    ball = a_ball()
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in ball.shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    holes = (np.random.default_rng(0).random(ball.shape) < 0.4) & (radius > 0.35)
    ragged = ball.with_array(np.where(holes, 0, np.where(radius < 0.35, 0.4, ball.array)))
    assert not shows_skull(ragged, ragged.array > 0)


@pytest.mark.usefixtures("on_template")
def test_score_of_a_brain_far_from_the_template_is_0(head_brain):
    far = np.eye(4)
    far[0, 3] = 1000
    assert checks.alignment(head_brain, far) == 0


def a_ball(scalp=0.0, shape=(60, 60, 60)):
    """Grey around white, 2 mm; with a scalp, its outermost 4 mm are as bright as told."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    array = np.select([radius < 0.5, radius < 0.95], [1.0, 0.6], 0)
    if scalp:
        array[(radius > 0.7) & (radius < 0.85)] = 0.1
        array[(radius > 0.85) & (radius < 0.95)] = scalp
    return Volume(array, np.diag([2.0, 2, 2, 1]), "ball")


@pytest.mark.parametrize(("scalp", "is_head"), [(0, False), (0.9, True)])
def test_head_whose_air_is_0_is_no_extracted_brain(scalp, is_head):
    ball = a_ball(scalp)
    assert shows_skull(ball, ball.array > 0) is is_head
    assert looks_extracted(ball) is not is_head


@pytest.mark.parametrize(
    ("cut", "how", "reason"),
    [
        (False, {REGISTRATION: Decision.GIVEN}, "the transform does not fit"),
        (True, {}, "cut off at its inferior end: use a scan of the whole brain"),
        (False, {EXTRACTION: Decision.EXTRACTED}, "request the full preparation or provide a"),
        (False, {EXTRACTION: Decision.COMPUTE}, "the header's orientation"),
    ],
)
def test_each_reason_of_a_failed_registration_has_its_message(cut, how, reason):
    ball = a_ball()
    if cut:
        ball.array[:, :, :25] = 0
    with pytest.raises(VolumeError, match=reason):
        checks.check_alignment(ball, 0.3, how)


@pytest.mark.usefixtures("on_template")
def test_zero_that_was_guessed_is_a_warning_of_the_preparation(head_brain):
    scores = np.where(head_brain.array > 0, head_brain.array - head_brain.array.mean() * 4, 0)
    (warning,) = prepare(
        head_brain.with_array(scores), PreparationConfig("none", allow_out_of_domain=True)
    ).warnings[1:]
    assert "both sides of the background" in warning


@pytest.mark.usefixtures("on_template")
def test_small_brain_is_enlarged_to_find_its_place(head_brain, monkeypatch):
    calls = []

    def found(brain, *_, **__):
        calls.append(brain)
        wrong = np.eye(4)
        wrong[0, 3] = 60.0 if len(calls) == 1 else 0.0
        return wrong

    monkeypatch.setattr(module, "register", found)
    small = Volume(head_brain.array, np.diag([0.7, 0.7, 0.7, 1]) @ head_brain.affine, "small")
    plan = PreparationPlan(PreparationConfig(), {REGISTRATION: Decision.COMPUTE})
    to_mni = module._to_mni(small, plan, lambda _: None)
    assert np.array_equal(to_mni, np.eye(4))
    sizes = [brain_litres(each, each.array > 0) for each in (calls[1], head_brain)]
    assert sizes[0] == pytest.approx(sizes[1])


def test_registration_undoes_a_known_turn(head_brain):
    """By hand: 8 degrees about the inferior-superior axis, and a shift."""
    pytest.importorskip("SimpleITK")
    angle = np.radians(8)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = (5, -7, 3)
    turned = replace(head_brain, affine=turn @ head_brain.affine)
    found = registration.register(turned, head_brain) @ turn
    corners = np.array([[60, 0, 0, 1], [0, 70, 0, 1], [0, 0, 60, 1], [-50, 0, -30, 1]]).T
    # a quarter of the phantom's voxel
    assert np.abs((found @ corners - corners)[:3]).max() < HEAD_MM / 4


def test_bias_field_is_found_up_to_a_factor(head_brain):
    pytest.importorskip("SimpleITK")
    mask = head_brain.array > 0
    y = np.linspace(-1, 1, HEAD_SHAPE[1])[None, :, None]
    shading = np.broadcast_to(np.exp(0.3 * y), HEAD_SHAPE)
    flat = head_brain.with_array(np.where(mask, 500 + head_brain.array % 97, 0))
    found = estimate_bias_field(flat.with_array(flat.array * shading), mask)
    assert found[mask].mean() == pytest.approx(1, abs=1e-4)
    assert strength_of(found, mask) > 0.25
    ratio = (found / shading)[mask]
    assert ratio.std() / ratio.mean() < 0.03  # the shading varied by 14 %


def test_bias_field_of_long_voxels_is_that_of_the_brain_alone():
    pytest.importorskip("SimpleITK")
    sizes, shape = (1.0, 2.0, 4.0), (96, 56, 32)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    mask = sum(axis**2 for axis in axes) < 0.8
    shading = np.exp(0.3 * axes[0] - 0.2 * axes[2])
    texture = np.random.default_rng(0).integers(-40, 41, shape)
    array = np.where(mask, (500 + texture) * shading, 500 / shading**3)  # the head's is another
    found = estimate_bias_field(Volume(array, np.diag([*sizes, 1])), mask)
    ratio = (found / shading)[mask]
    assert ratio.std() / ratio.mean() < 0.03


def test_missing_library_is_named_with_what_to_install():
    with pytest.raises(Mri7tError, match=r"deep sleep needs nosuchlibrary.*napari-mri7t\[native\]"):
        optional.optional("nosuchlibrary.inside", "deep sleep")


def test_cancel_of_background_work_stops_it_at_once():
    stopped = threading.Event()

    def cancel(progress):
        raise Cancelled

    with pytest.raises(Cancelled):
        optional.in_background(lambda: stopped.wait(20), cancel, NOW, stopped.set)
    assert stopped.is_set()


def test_work_that_cannot_be_stopped_is_listed_until_it_ends():
    release, seen = threading.Event(), []
    others = {*optional.unfinished_work()}  # of tests before

    def cancel(progress):
        seen.append(progress)
        raise Cancelled

    with pytest.raises(Cancelled):
        optional.in_background(lambda: release.wait(20), cancel, NOW)
    (thread,) = {*optional.unfinished_work()} - others
    release.set()
    thread.join(10)
    assert seen == [NOW]
    assert thread not in optional.unfinished_work()


def test_runtime_error_of_a_library_becomes_ours():
    def fail():
        raise RuntimeError("itk::ERROR")

    with pytest.raises(Mri7tError, match="itk::ERROR"):
        optional.in_background(fail, ignore, NOW)


def test_error_of_itk_says_what_helps_and_not_where_in_its_source_it_arose():
    def fail():
        raise RuntimeError(
            "Exception thrown in SimpleITK ImageRegistrationMethod_Execute: /tmp/ITK/x.hxx:307:\n"
            "ITK ERROR: MattesMutualInformation(0x7f17): All samples map outside moving image."
        )

    told = "preparation failed: All samples map outside moving image: check that the scan shows"
    with pytest.raises(Mri7tError, match=f"^{told}"):
        optional.in_background(fail, ignore, NOW)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("ITK ERROR: Failed to allocate memory for image."),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_fault_30_lack_of_memory_in_a_step_says_what_to_do(error):
    def fail():
        raise error

    with pytest.raises(Mri7tError, match="not enough memory: close other programs, or provide"):
        optional.in_background(fail, ignore, NOW)


def test_text_matrix_comes_back(tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = (1.5, -2.25, 1e-9)
    path = tmp_path / "to-MNI.txt"
    save_transform(matrix, path)
    np.testing.assert_array_equal(load_transform(path), matrix)


@pytest.mark.parametrize("name", ["0GenericAffine.mat", "0GenericAffine.tfm", "affine.txt"])
def test_transform_of_itk_is_turned_to_ras_and_inverted(tmp_path, name):
    """ITK maps MNI points to scan points in LPS: a shift by (1, 2, 3) there is (1, 2, -3) here."""
    sitk = pytest.importorskip("SimpleITK")
    path = tmp_path / name
    shift = sitk.AffineTransform(3)
    shift.SetTranslation((1.0, 2.0, 3.0))
    sitk.WriteTransform(shift, str(path))
    np.testing.assert_allclose(load_transform(path)[:3, 3], [1, 2, -3])


def test_singular_transform_of_itk_is_refused(tmp_path):
    pytest.importorskip("SimpleITK")
    path = tmp_path / "flat.tfm"
    path.write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        "Parameters: 1 0 0 0 1 0 0 0 0 1 2 3\nFixedParameters: 0 0 0\n"
    )
    with pytest.raises(VolumeError, match=r"flat\.tfm: the transform is singular"):
        load_transform(path)


def test_transform_that_is_no_linear_one_in_space_is_refused(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.Image([50, 50, 50], sitk.sitkFloat32)
    image.SetSpacing([5.0] * 3)
    image.SetOrigin([-125.0] * 3)
    bent = sitk.BSplineTransformInitializer(image, [2, 2, 2])
    numbers = np.random.default_rng(0).normal(size=len(bent.GetParameters()))
    bent.SetParameters(numbers.tolist())
    for transform, reason in (
        (bent, "is not linear: use only its linear part"),
        (sitk.Euler2DTransform(), "is not three-dimensional"),
    ):
        sitk.WriteTransform(transform, str(tmp_path / "own.tfm"))
        with pytest.raises(VolumeError, match=rf"own\.tfm: the transform {reason}"):
            load_transform(tmp_path / "own.tfm")


def test_file_of_several_transforms_is_refused_unless_it_says_how_they_combine(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    parts = [sitk.TranslationTransform(3, shift) for shift in ((1.0, 0, 0), (25.0, 0, 0))]
    path = tmp_path / "both.tfm"
    sitk.WriteTransform(sitk.CompositeTransform(parts), str(path))
    np.testing.assert_allclose(load_transform(path)[:3, 3], [26, 0, 0])
    one = "Transform: TranslationTransform_double_3_3\nParameters: {} 0 0\nFixedParameters:\n"
    listed = "".join(f"#Transform {n}\n{one.format(x)}" for n, x in enumerate((1, 25)))
    path.write_text(f"#Insight Transform File V1.0\n{listed}")
    with pytest.raises(VolumeError, match=r"both\.tfm: holds 2 transforms"):
        load_transform(path)


def test_matrix_of_a_text_editor_with_commas_and_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "xfm.txt"
    path.write_text("1, 0, 0, 4\n0, 1, 0, 5\n0, 0, 1, 6\n0, 0, 0, 1\n", encoding="utf-8-sig")
    np.testing.assert_array_equal(load_transform(path)[:3, 3], [4, 5, 6])


def test_itk_transform_with_a_byte_order_mark_is_refused_for_it(tmp_path):
    path = tmp_path / "xfm.txt"
    path.write_text("#Insight Transform File V1.0\n", encoding="utf-8-sig")
    with pytest.raises(VolumeError, match="begins with a byte order mark, with which ITK cannot"):
        load_transform(path)


@pytest.mark.parametrize("text", ["hello", "1 2 3", "1 0 0 0\n0 1 0 0\n0 0 -1 0\n0 0 0 1"])
def test_file_that_is_no_transform_is_refused(tmp_path, text):
    path = tmp_path / "wrong.txt"
    path.write_text(text)
    with pytest.raises(VolumeError, match=r"wrong\.txt"):
        load_transform(path)


def test_resampling_to_the_same_grid_changes_nothing(head_brain):
    np.testing.assert_allclose(
        resample(head_brain, head_brain, order=1), head_brain.array, atol=1e-3
    )


def test_scan_is_exactly_as_it_was_outside_the_brain(head):
    scan, mask = head
    joined = blend(scan, scan.array + 100, mask)
    np.testing.assert_array_equal(joined[~mask], scan.array[~mask])
    deep = seam_weight(mask, scan.voxel_size) == 1
    np.testing.assert_allclose(joined[deep], scan.array[deep] + 100, rtol=1e-6)


def test_seam_lies_only_where_the_scan_shows_something_outside(head_brain, head):
    mask = head[1]
    scan = head_brain.with_array(head_brain.array.copy())
    scan.array[2, 2, 2] = 50.0  # a speck far from the brain
    joined = blend(scan, scan.array + 100, mask)
    np.testing.assert_array_equal(joined, np.where(mask, scan.array + 100, scan.array))


def test_seam_rises_smoothly():
    mask = np.zeros((3, 3, 40), bool)
    mask[:, :, 10:] = True
    weight = seam_weight(np.pad(mask, ((20, 20), (20, 20), (0, 0)), mode="edge"), (1, 1, 0.5))
    along = weight[21, 21]
    assert along[9] == 0
    assert along[10 + int(SEAM_MM / 0.5)] == 1
    assert np.diff(along).max() < 0.3


def test_zero_is_given_outside_on_request(head):
    scan, mask = head
    joined = blend(scan, scan.array, mask, "zero")
    assert not joined[~mask].any()
    np.testing.assert_array_equal(joined[mask], scan.array[mask])


@pytest.mark.usefixtures("on_template")
def test_second_model_finds_everything_kept(head, tmp_path, monkeypatch):
    scan, mask = head
    calls = []

    def computed(name, value):
        def step(*_, report):
            calls.append(name)
            return value

        return step

    noisy = scan.with_array(scan.array + 1 + np.random.default_rng(0).random(HEAD_SHAPE))
    monkeypatch.setattr(module, "extract_brain", computed("mask", mask))
    field = 1 + noisy.array / 10_000
    monkeypatch.setattr(module, "estimate_bias_field", computed("field", field))
    monkeypatch.setattr(module, "register", computed("matrix", np.eye(4)))
    choices = {"prepare": "full", "keep": tmp_path / "kept"}
    first = run(noisy, **choices)
    assert calls == ["mask", "field", "matrix"]
    second = run(noisy, **choices)
    assert len(calls) == 3
    np.testing.assert_array_equal(second.brain.array, first.brain.array)
    assert second.facts == first.facts
    mask_file = choices["keep"] / "head_mask.nii.gz"
    before = mask_file.read_bytes()
    other = noisy.with_array(noisy.array + 1)
    run(other, **choices)
    assert len(calls) == 6  # another scan of the same name
    assert mask_file.read_bytes() == before
    for scan in (noisy, other):
        run(scan, **choices)
    assert len(calls) == 6  # both are kept


@pytest.mark.usefixtures("on_template")
def test_record_of_another_program_is_not_replaced(head, tmp_path, monkeypatch):
    scan, _ = head
    noisy = scan.with_array(scan.array + 1 + np.random.default_rng(0).random(HEAD_SHAPE))
    monkeypatch.setattr(module, "extract_brain", lambda *_, report: pytest.fail("too late"))
    note = tmp_path / "head_preparation.json"
    note.write_text('{"pipeline": "mine"}')
    with pytest.raises(Mri7tError, match="is no record of a preparation") as caught:
        run(noisy, prepare="full", keep=tmp_path)
    assert caught.value.argument == "keep"
    assert note.read_text() == '{"pipeline": "mine"}'


@pytest.mark.usefixtures("on_template")
def test_what_another_run_has_kept_meanwhile_stays_known(head, tmp_path, monkeypatch):
    scan, mask = head
    noisy = scan.with_array(scan.array + 1 + np.random.default_rng(0).random(HEAD_SHAPE))
    monkeypatch.setattr(module, "register", lambda *_, report: np.eye(4))
    monkeypatch.setattr(module, "estimate_bias_field", lambda *_, report: 1 + noisy.array / 10_000)
    monkeypatch.setattr(module, "extract_brain", lambda *_, report: mask)
    choices = {"prepare": "full", "keep": tmp_path}

    def behind(*_, report):
        monkeypatch.setattr(module, "extract_brain", lambda *_, report: mask)
        run(noisy, **choices)  # all of it, while this one extracts the brain
        return mask

    def stop(progress):
        if progress.message == "bias field correction":
            raise Cancelled

    monkeypatch.setattr(module, "extract_brain", behind)
    config = PreparationConfig(allow_out_of_domain=True, **choices)
    with pytest.raises(Cancelled):
        prepare(noisy, config, report=stop)
    assert plan_preparation(noisy, config).steps == ()
    assert not plan_preparation(noisy, config).config.transform, "no file counts as the user's"


@pytest.mark.usefixtures("on_template")
def test_mask_that_is_replaced_while_it_is_used_is_refused(head, tmp_path):
    scan, mask = head
    path = save_volume(scan.with_array(mask), tmp_path / "mask.nii.gz")

    def replace_it(progress):
        if progress.message == "registration":
            save_volume(scan.with_array(np.roll(mask, 1)), path, overwrite=True)

    config = PreparationConfig("none", mask=path, allow_out_of_domain=True)
    with pytest.raises(VolumeError, match="its mask or transform was changed meanwhile"):
        prepare(scan, config, report=replace_it)


def test_what_is_odd_in_a_mask_is_told(head, tmp_path):
    scan, mask = head
    holes = mask.astype(np.float32)
    holes[0, 0, 0] = np.nan
    path = tmp_path / "mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(holes, scan.affine), path)
    made = run(scan, prepare="none", mask=path)
    assert [text for text in made.warnings if text.startswith("mask mask: 1 of")]


def test_unknown_choice_lists_the_known():
    with pytest.raises(ValueError, match=r"auto.*none.*full"):
        PreparationConfig(prepare="half")
    with pytest.raises(ValueError, match="native, mni"):
        OutputConfig(space="talairach")


def test_forms_that_mirror_each_other_stop_with_a_reason(head_brain, tmp_path):
    path = tmp_path / "brain.nii.gz"
    image = nib.Nifti1Image(head_brain.array, head_brain.affine)
    image.set_qform(head_brain.affine @ np.diag([-1.0, 1, 1, 1]), 1)
    image.to_filename(path)
    with pytest.raises(VolumeError, match="sform and qform mirror each other"):
        run(load_volume(path))
    config = PreparationConfig(prepare="none", allow_out_of_domain=True)
    assert not plan_preparation(load_volume(path), config).is_needed


def test_forms_that_agree_on_handedness_pass(head_brain, tmp_path):
    path = tmp_path / "brain.nii.gz"
    image = nib.Nifti1Image(head_brain.array, head_brain.affine)
    image.set_qform(np.diag([4.0, 4, 4, 1]), 1)  # shifted, as in ds002748's sub-56
    image.to_filename(path)
    checks.check_handedness(load_volume(path))


def test_thread_that_ends_before_its_work_begins_lacks_memory(monkeypatch):
    """As Python's own threads do where there is no memory for their first frame."""
    monkeypatch.setattr(optional.threading.Thread, "run", lambda thread: None)
    with pytest.raises(Mri7tError, match="not enough memory"):
        optional.in_background(lambda: 1, ignore, NOW)
