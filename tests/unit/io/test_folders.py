from __future__ import annotations

import re
from pathlib import Path

import pytest

from dws.io.folders import check_claim, claim_folder, hold_folder


def test_a_folder_belongs_to_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.yaml"
    settings = {"lr": 1e-5, "dims": (1, 2), "none": None}
    for _ in range(2):
        with claim_folder(file, settings, option="run_dir"):
            pass
    refused = r"lr: 1e-05 \(existing\) vs 0.1 \(requested\)\). Choose another run_dir"
    other = claim_folder(file, {**settings, "lr": 0.1}, option="run_dir")
    with pytest.raises(ValueError, match=refused), other:
        pass


@pytest.mark.parametrize(("old", "new"), [(1, True), (False, 0), ([1], [True])])
def test_true_differs_from_1_as_a_setting(old: object, new: object, tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.yaml"
    with claim_folder(file, {"flag": old}, option="run_dir"):
        pass
    refused = re.escape(f"flag: {old} (existing) vs {new} (requested)")
    with pytest.raises(ValueError, match=refused):
        check_claim(file, {"flag": new}, option="run_dir")


def test_30_equals_30_0_as_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.yaml"
    with claim_folder(file, {"omega_0": 30}, option="run_dir"):
        pass
    check_claim(file, {"omega_0": 30.0}, option="run_dir")


ZOO, RUN = {"signals": {}, "inr": {}}, {"task": {}, "model": {}}


@pytest.mark.parametrize(
    ("existing", "requested", "kinds"),
    [(RUN, ZOO, ("a zoo", "a run")), (ZOO, RUN, ("a run", "a zoo"))],
)
def test_folder_of_another_kind_must_not_be_removed(
    existing: dict[str, object],
    requested: dict[str, object],
    kinds: tuple[str, str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "new" / "config.yaml"
    with claim_folder(file, existing, option="path"):
        pass
    expected = f"{file.parent} contains {kinds[1]}, not {kinds[0]}"
    with pytest.raises(ValueError, match=re.escape(expected)) as error:
        check_claim(file, requested, option="path")
    assert "remove" not in str(error.value)


def test_folder_with_unknown_settings_must_not_be_removed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("letters: mine")
    with pytest.raises(ValueError, match=r"Choose another zoo\.path\.$"):
        check_claim(tmp_path / "config.yaml", ZOO, option="zoo.path")


def test_rejected_folder_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    refused = pytest.raises(ValueError, match=re.escape(f"{tmp_path} contains files but no config"))
    with refused, claim_folder(tmp_path / "config.yaml", {}, option="run_dir"):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "letter"]


@pytest.mark.parametrize("begun", [False, True])
def test_folder_without_results_is_released(tmp_path: Path, begun: bool) -> None:
    file = tmp_path / "config.yaml"

    def work() -> None:
        if begun:
            (tmp_path / "shard").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), claim_folder(file, {"a": 1}, option="run_dir"):
        work()
    assert file.exists() == begun
    assert not (tmp_path / ".holder").exists()


def test_partial_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    rest = tmp_path / ".shard.host-1.part"
    rest.touch()
    with hold_folder(tmp_path):
        assert not rest.exists()
