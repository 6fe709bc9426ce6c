"""`mri7t robustness` prints what a model card can hold, and goes on where it was stopped."""

import json
import sys

import pytest

from napari_mri7t import cli


@pytest.mark.slow
def test_robustness_prints_json_and_does_nothing_twice(
    phantom_file, model_folder, tmp_path, monkeypatch, capsys
):
    records = tmp_path / "records"
    arguments = [
        "robustness", phantom_file, "--model", model_folder, "--records", records,
        "--device", "cpu",
    ]  # fmt: skip
    printed = []
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["mri7t", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
        printed.append(json.loads(capsys.readouterr().out))
        written = {path: path.stat().st_mtime_ns for path in records.iterdir()}
    assert printed[0] == printed[1]
    assert written == {path: path.stat().st_mtime_ns for path in records.iterdir()}
    assert set(printed[0]) == {"robustness", "lesions"}
    noise = printed[0]["robustness"]["noise"]["levels"]
    assert [entry["level"] for entry in noise][0::6] == [0.001, 0.01]
    assert {row["diameter_mm"] for row in printed[0]["lesions"]["dark"]} >= {2.0, 4.0, 8.0}
