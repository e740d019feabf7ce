from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dws.experiment.building import zoo_hash
from dws.io.hashing import settings_hash
from dws.zoo import Zoo
from dws.zoo.manifest import read_manifest

GOLDEN = Path(__file__).parents[2] / "golden/zoo"
# a number without a decimal point, and keys of user-defined signals that are method names
CHANGES = {
    "inr": {"hidden": [4], "omega_0": 30, "output_offset": 0, "init": None},
    "signals": {"name": "mine", "copy": [1], "content": {"a": 2.0}, "_x": None},
    "remark": "mine",
}


@pytest.fixture
def changed(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A zoo and the content of its manifest."""
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "zoo"))
    content = json.loads((folder / "manifest.json").read_text()) | CHANGES
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder, content


def test_golden_manifest_is_parsed() -> None:
    manifest = read_manifest(GOLDEN)
    assert (manifest.dims, manifest.num_rows, manifest.num_shards) == ([1, 4, 1], 6, 2)
    assert (manifest.inr.omega_0, manifest.zoo.num_views) == (30.0, 1)
    assert manifest.domain.grid == [50]
    assert manifest.train_psnr is not None
    assert manifest.train_psnr.median == pytest.approx(1.52268)
    assert (manifest.fit_preset, manifest.aligned_to) == (None, None)


def test_manifest_fields_have_the_names_in_the_file() -> None:
    manifest = read_manifest(GOLDEN)
    assert manifest["dims"] == manifest.dims
    assert manifest["inr"]["omega_0"] == 30.0
    assert manifest["signals"]["num_points"] == 50
    assert "labels" in manifest
    assert "fit_preset" not in manifest
    with pytest.raises(KeyError, match="colour"):
        manifest["colour"]


def test_manifest_round_trip_preserves_content(changed: tuple[Path, dict[str, Any]]) -> None:
    folder, content = changed
    manifest = read_manifest(folder)
    assert json.dumps(manifest.content(), sort_keys=True) == json.dumps(content, sort_keys=True)
    assert manifest["signals"]["copy"] == [1]


def test_zoo_hash_is_unchanged(changed: tuple[Path, dict[str, Any]]) -> None:
    """Run records contain the hash."""
    folder, content = changed
    keys = ("signals", "zoo", "inr", "fit")
    assert zoo_hash(Zoo.open(folder)) == settings_hash({key: content[key] for key in keys})
    assert zoo_hash(Zoo.open(GOLDEN)) == "05b41624"
