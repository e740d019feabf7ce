from __future__ import annotations

from pathlib import Path

import pytest

from dws.training import RunDir


def test_other_settings_in_a_run_folder_are_refused(tmp_path: Path) -> None:
    here, there = (
        {"zoo_path": where, "zoo_digest": "a", "dims": (1, 8, 1), "origin": {"code": where}}
        for where in ("here", "there")
    )
    run = RunDir(tmp_path / "run")
    with run.claim({"optim": {"lr": 0.1}}, **here), run.last_checkpoint.open("x"):
        pass
    with run.claim({"optim": {"lr": 0.1}}, **there):
        pass
    refused = r"optim.lr: 0.1 there, 0.2 asked for.* another run_dir"
    with pytest.raises(ValueError, match=refused), run.claim({"optim": {"lr": 0.2}}, **here):
        pass
    fitted_anew = {**here, "zoo_digest": "b"}
    with (
        pytest.raises(ValueError, match=r"expected the networks that .*run was begun on in here"),
        run.claim({"optim": {"lr": 0.1}}, **fitted_anew),
    ):
        pass
