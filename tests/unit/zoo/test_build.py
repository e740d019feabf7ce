from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import SMALL_FIT, SMALL_INR, SMALL_SIGNALS

from dws.inr import SirenConfig, siren_apply
from dws.io.folders import hold_folder
from dws.signals import SineSignals
from dws.zoo import Zoo, ZooConfig, build_zoo
from dws.zoo import build as build_module
from dws.zoo.build import TIMING
from dws.zoo.engine import FitJob


def rebuild(path: Path, *, inr: SirenConfig = SMALL_INR, **zoo: int) -> Zoo:
    return build_zoo(
        path,
        SineSignals(**SMALL_SIGNALS),
        zoo=ZooConfig(**{"shard_size": 20, **zoo}),
        inr=inr,
        fit=SMALL_FIT,
    )


def test_stored_error_belongs_to_the_stored_weights(sine_zoo: Zoo) -> None:
    split, signals = sine_zoo.split("train"), SineSignals(**SMALL_SIGNALS)
    outputs = siren_apply(split.weights(), signals.coordinates)
    mse = (outputs - signals.values(split.column("signal_id"))).square().mean(dim=(1, 2))
    torch.testing.assert_close(split.column("mse"), mse)


def test_interrupted_fit_resumes_to_the_same_bytes(sine_zoo: Zoo, tmp_path: Path) -> None:
    shutil.copy(sine_zoo.path / "config.yaml", tmp_path)
    shutil.copy(sine_zoo.path / "shard-00001.safetensors", tmp_path)
    (tmp_path / "shard-00002.safetensors").write_bytes(b"cut off")
    rebuild(tmp_path)
    for file in sine_zoo.path.glob("[!.]*"):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name
    timing = [json.loads(line) for line in (tmp_path / TIMING).read_text().splitlines()]
    assert [row["num_inrs"] for row in timing] == [20, 16]  # without resumed shards
    assert all(row["seconds"] > 0 for row in timing)


def test_resumed_fit_uses_the_same_compile_choice(
    sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = []
    monkeypatch.setattr(build_module, "use_compiler", lambda fit, n: bool(requested.append(n)))
    path = Path(shutil.copytree(sine_zoo.path, tmp_path / "zoo"))
    (path / "shard-00001.safetensors").unlink()
    rebuild(path)
    assert requested == [56]  # the whole zoo, not the remaining 20 INRs


def test_complete_zoo_is_not_fitted_again(sine_zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FitJob, "run", None)
    assert len(rebuild(sine_zoo.path)) == 56


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda path: path.write_bytes(b"cut off"), flip_a_bit]
)
def test_missing_shard_is_fitted_again(
    spoil: Callable[[Path], object], sine_zoo: Zoo, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(sine_zoo.path, tmp_path / "zoo"))
    spoil(path / "shard-00001.safetensors")
    rebuild(path)
    for file in sine_zoo.path.glob("[!.]*"):
        assert (path / file.name).read_bytes() == file.read_bytes(), file.name


def test_different_settings_are_rejected_by_name(sine_zoo: Zoo) -> None:
    with pytest.raises(
        ValueError, match=r"zoo.seed: 0 .existing. vs 1 .requested..* Choose another zoo.path"
    ):
        rebuild(sine_zoo.path, seed=1)


def test_folder_with_other_files_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"contains files but no config.yaml"):
        rebuild(tmp_path)


def test_inr_is_independent_of_sharding(sine_zoo: Zoo, tmp_path: Path) -> None:
    other = rebuild(tmp_path / "zoo", shard_size=7)
    torch.testing.assert_close(
        other.split("val").weights().flatten(),
        sine_zoo.split("val").weights().flatten(),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize("tenths", [1, 3, 5, 9])
def test_remaining_time_is_accurate_after_a_tenth_of_a_fit(
    tenths: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers: the second starts late, and both report whole chunks of 32."""
    now = 1000.0
    monkeypatch.setattr(build_module.time, "monotonic", lambda: now)
    with build_module._ProgressBar(total=600, initial=100, file=io.StringIO()) as bar:
        now += 60  # for compiling
        begun = {0: now, 1: now + 3}
        ends, work = now + 25 + 1.5, 0.0
        while work < 50 * tenths:
            now += 0.25
            for start in begun.values():
                if now > start:
                    bar.add(2.5, torch.full((32 * (work % 32 < 2.5),), 1e-2))
                    work += 2.5
        assert bar.rate is not None
        assert (bar.total - bar.n) / bar.rate == pytest.approx(ends - now, rel=0.3)
        assert bar.format_dict["rate"] == bar.rate


def test_progress_bar_counts_all_inrs(sine_zoo: Zoo, tmp_path: Path) -> None:
    shown = io.StringIO()
    with build_module._ProgressBar(total=56, initial=6, file=shown, mininterval=0) as bar:
        for _ in range(150):
            bar.add(1 / 3, torch.empty(0))
    assert "| 56/56 [" in shown.getvalue()


def test_views_share_labels_and_split_but_not_weights(tmp_path: Path) -> None:
    zoo = rebuild(tmp_path / "zoo", num_views=2, limit=12)
    split = zoo.split("train")
    assert len(zoo) == 24
    assert split.column("view").tolist()[:4] == [0, 1, 0, 1]
    assert split.labels["frequency"][0] == split.labels["frequency"][1]
    flat = split.weights().flatten()
    assert not torch.allclose(flat[0], flat[1], atol=1e-3)


def test_shared_initialisation_keeps_neurons_aligned(tmp_path: Path) -> None:
    """Thirty small steps keep networks close to their initialisation."""
    spread = []
    for shared in (False, True):
        inr = SirenConfig(hidden=(8, 8), shared_init=shared)
        zoo = rebuild(tmp_path / str(shared), inr=inr, limit=12)
        spread.append(float(zoo.split("train").weights().weights[-1].std(dim=0).mean()))
    assert spread[1] < 0.3 * spread[0]


def test_locked_zoo_folder_is_rejected(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from dws.io.folders import hold_folder\n"
        "with hold_folder(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    path = tmp_path / "zoo"
    rebuild(path, limit=12)
    (path / "manifest.json").unlink()
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"process {other.pid} on .* is writing to it"):
            rebuild(path, limit=12)
        other.kill()
    with hold_folder(path):  # locks of dead processes are released
        pass
    assert len(rebuild(path, limit=12)) == 12


def test_invalid_signals_are_rejected_before_the_fit(tmp_path: Path) -> None:
    class NoGrid(SineSignals):
        def __init__(self) -> None:
            super().__init__(**SMALL_SIGNALS)
            self.coordinates = self.coordinates.expand(-1, 2)

    with pytest.raises(
        ValueError, match=r"expected grid of NoGrid to be a tuple of 2 integers.* got None"
    ):
        build_zoo(tmp_path / "zoo", NoGrid(), zoo=ZooConfig(), inr=SMALL_INR, fit=SMALL_FIT)
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: "[1]",
        lambda text: text.replace('"dims"', '"widths"'),
        lambda text: text.replace('"num_rows": 56', '"num_rows": 57'),
        lambda text: text.replace('"seed": 0', '"seed": 1'),
        lambda text: text.replace('"frequency"', '"frequencies"'),
        lambda text: re.sub(r'"shards": \[\s*"\w+",', '"shards": [', text),
        lambda text: re.sub(r'"shards": \[\s*"\w+"', f'"shards": ["{"0" * 64}"', text),
    ],
)
def test_damaged_manifest_is_rebuilt_from_the_shards(
    damage: Callable[[str], str], sine_zoo: Zoo, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(sine_zoo.path, tmp_path / "zoo"))
    file = path / "manifest.json"
    whole = file.read_text()
    file.write_text(damage(whole))
    assert file.read_text() != whole
    rebuild(path)
    assert file.read_text() == whole
    assert Zoo.open(path).find_problems() == []


def test_manifest_of_a_newer_version_is_not_overwritten(sine_zoo: Zoo, tmp_path: Path) -> None:
    path = Path(shutil.copytree(sine_zoo.path, tmp_path / "zoo"))
    file = path / "manifest.json"
    file.write_text(newer := file.read_text().replace('"format_version": 2', '"format_version": 3'))
    with pytest.raises(ValueError, match=r"format version 3.*\. Update dws"):
        rebuild(path)
    assert file.read_text() == newer
