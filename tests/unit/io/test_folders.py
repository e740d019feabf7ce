from __future__ import annotations

from pathlib import Path

import pytest

from dws.io.folders import claim_folder, hold_folder


def test_a_folder_belongs_to_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.yaml"
    settings = {"lr": 1e-5, "dims": (1, 2), "none": None}
    for _ in range(2):
        with claim_folder(file, settings, option="run_dir"):
            pass
    refused = r"lr: 1e-05 \(existing\) vs 0.1 \(requested\)\); choose another run_dir"
    other = claim_folder(file, {**settings, "lr": 0.1}, option="run_dir")
    with pytest.raises(ValueError, match=refused), other:
        pass


def test_a_folder_that_is_refused_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    refused = pytest.raises(ValueError, match=r"expected an empty folder or one with config.yaml")
    with refused, claim_folder(tmp_path / "config.yaml", {}, option="run_dir"):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "letter"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_folder_in_which_nothing_came_to_be_is_free_again(tmp_path: Path, begun: bool) -> None:
    file = tmp_path / "config.yaml"

    def work() -> None:
        if begun:
            (tmp_path / "shard").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), claim_folder(file, {"a": 1}, option="run_dir"):
        work()
    assert file.exists() == begun
    assert not (tmp_path / ".holder").exists()


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    rest = tmp_path / ".shard.host-1.part"
    rest.touch()
    with hold_folder(tmp_path):
        assert not rest.exists()
