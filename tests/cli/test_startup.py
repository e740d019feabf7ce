"""Help, versions, completion and rejected settings import no slow libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dws.pretrained import shipped_models
from dws.signals.download import DATASETS

# Runs a command, then writes the imported modules.
PROBE = """
import atexit, json, sys
from importlib import import_module
from pathlib import Path

atexit.register(lambda: Path("loaded.json").write_text(json.dumps(list(sys.modules))))
sys.argv = sys.argv[1:]
name = sys.argv[0].removeprefix("dws-").replace("-", "_")
import_module(f"dws.cli.{name}").main()
"""
SLOW = {"torch", "torchvision", "sklearn", "scipy", "wandb", "matplotlib", "pandas"}
ALSO_SLOW = {"hydra", "omegaconf", "numpy"}  # additionally, for commands that do not need them
REFUSED = {  # an unknown setting, one of the wrong type, one out of range, an unknown choice
    "dws-fit-inrs": ("fit.lr=1", "+fit.lr=1", "inr.hidden=8", "fit.num_steps=0", "zoo=mnst"),
    "dws-train": ("optim.lrr=1", "+optim.lrr=1", "optim.lr=x", "optim.lr=-1", "model=mpl"),
    "dws-evaluate": ("run=x runs=1", "run=x +runs=1", "run=3", "run=x batch_size=0", ""),
    "dws-report": ("x=1", "+x=1", "runs=1", "kept=true", "scale=huge"),
    "dws-zoo": ("inof zoo", "info", "render zoo --rows x", "import --fomat nfn", "info --x zoo"),
    "dws-data": ("minst", "", "mnist --rot x", "--x"),
    "dws-predict": ("", "--modle x zoo", "zoo --format xml", "zoo --split x", "--x"),
    "dws-export": ("", "run", "run x.safetensors more", "--x"),
    "dws-playground": ("x", "--port 99999", "--port x", "--x"),
}
OF_TYPER = ("dws-zoo", "dws-data", "dws-predict", "dws-export", "dws-playground")
SUBCOMMANDS = ("info", "verify", "render", "align", "import", "merge", "combine", "export")
QUICK = [
    *((name, "--help", 0) for name in REFUSED),
    *((name, "--version", 0) for name in REFUSED),
    *((name, words, None) for name, all_ in REFUSED.items() for words in all_),
    *(("dws-zoo", f"{command} --help", 0) for command in SUBCOMMANDS),
    ("dws-train", "--help model=dwsnet_sign task=ssl", 0),
    ("dws-train", "--cfg job model=dwsnet_sign", 0),
    ("dws-train", "-sc install=bash", 0),
    ("dws-train", "-m optim.lr=-1,-2", None),
    ("dws-train", "--hlep", 2),
]


def run(
    folder: Path, name: str, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command and check that it imports no slow libraries."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, name, *words], cwd=folder, text=True,
        capture_output=True, timeout=200, env={**os.environ, **environment},
    )  # fmt: skip
    file = folder / "loaded.json"
    slow = SLOW | (ALSO_SLOW if name in OF_TYPER else set())
    assert slow & set(json.loads(file.read_text())) == set()
    file.unlink()
    return done


@pytest.mark.parametrize(("name", "words", "status"), QUICK)
def test_help_version_and_errors_import_no_slow_libraries(
    name: str, words: str, status: int | None, tmp_path: Path
) -> None:
    done = run(tmp_path, name, *words.split())
    if status is None:
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        assert {path.name for path in tmp_path.iterdir()} <= {"outputs"}  # written by a sweep
    else:
        assert done.returncode == status


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (
            "dws-train model=dwsnet_",
            {f"model=dwsnet_{end}" for end in ("550k", "attention", "sign", "sign_310k")},
        ),
        ("dws-fit-inrs fit=f", {"fit=fast", "fit=fingerprint"}),
        ("dws-evaluate wandb.m", {"wandb.mode="}),
        ("dws-zoo ", set(SUBCOMMANDS)),
        ("dws-zoo re", {"render"}),
        ("dws-zoo import --format ", {"dwsnets", "nfn"}),
        ("dws-zoo import --o", {"--omega-0", "--output-offset"}),
        ("dws-data ", {*DATASETS, "cifar10"}),
        ("dws-predict --model ", set(shipped_models())),
        ("dws-predict --format ", {"text", "csv", "json"}),
        ("dws-export run --cl", {"--classes"}),
    ],
)
def test_completion_imports_no_slow_libraries(
    typed: str, expected: set[str], tmp_path: Path
) -> None:
    name = typed.split()[0]
    variables = {
        "COMP_LINE": typed, "COMP_POINT": str(len(typed)),  # for Hydra
        "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")),  # for typer
        f"_{name.replace('-', '_').upper()}_COMPLETE": "complete_bash",
    }  # fmt: skip
    done = run(tmp_path, name, *([] if name in OF_TYPER else ["-sc", "query=bash"]), **variables)
    assert set(done.stdout.split()) == expected
    assert done.stderr == ""
