from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dws.config import compose_settings
from dws.training import RunDir
from dws.training.record import Notes, Origin

HERE = Origin(code="abc", machine="here", command="dws-train")


def test_run_folder_with_other_settings_is_rejected(tmp_path: Path) -> None:
    settings = compose_settings("train", ["task=sine", "model=mlp", "optim.lr=0.1"])
    notes = Notes(zoo="a", zoo_digest="b", dims=[1, 8, 1], precision="fp32", origin=HERE)
    other_machine = HERE.model_copy(update={"machine": "there"})
    moved = replace(settings, zoo=replace(settings.zoo, path="elsewhere"))
    others = replace(settings, optim=replace(settings.optim, lr=0.2))
    run = RunDir(tmp_path / "run")
    with run.claim(settings, notes), run.last_checkpoint.open("x"):
        pass
    with run.claim(moved, notes.model_copy(update={"origin": other_machine})):
        pass
    refused = r"optim.lr: 0.1 \(existing\) vs 0.2 \(requested\).* another run_dir"
    with pytest.raises(ValueError, match=refused), run.claim(others, notes):
        pass
    fitted_anew = notes.model_copy(update={"zoo_digest": "c"})
    refused = r"networks in outputs/zoos/sine differ from those that .*run was started on"
    with pytest.raises(ValueError, match=refused), run.claim(settings, fitted_anew):
        pass
