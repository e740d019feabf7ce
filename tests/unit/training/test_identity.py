from __future__ import annotations

from pathlib import Path

import pytest

from dws.config import compose_settings
from dws.report.results import read_kept
from dws.training.identity import identity, with_defaults
from dws.training.record import outcome_settings

KEPT = Path(__file__).parents[3] / "outputs/results/small/results.json"


@pytest.mark.skipif(not KEPT.is_file(), reason="not in the source distribution")
def test_results_of_earlier_versions_match_current_recipes() -> None:
    """New seeds are averaged with kept results of the same settings."""
    results = [result for result in read_kept(KEPT).results if result.settings]
    assert len(results) >= 26
    for result in results:
        task, trainer = result["settings"]["task"], result["settings"]["trainer"]
        choice = {"dilate_mnist": "edit"}.get(result["task"], result["task"])
        overrides = [f"task={choice}", f"model={result['model']}", "scale=small"]
        overrides.append(f"trainer.num_epochs={trainer['num_epochs']}")
        if task["num_train"] is not None:
            overrides.append(f"task.num_train={task['num_train']}")
            overrides.append(f"task.repeat_train={str(task['repeat_train']).lower()}")
        settings = outcome_settings(compose_settings("train", overrides), result["zoo"])
        assert identity(settings) == result["settings_hash"], overrides


def identity_of(*overrides: str, zoo: str = "a") -> str:
    return identity(outcome_settings(compose_settings("train", overrides), zoo))


SIGN = ("task=mnist", "model=dwsnet_sign")


@pytest.mark.parametrize(
    "override",
    [
        *(
            "seed=7",
            "trainer.device=cpu",
            "trainer.compile=always",
            "trainer.cuda_graph=never",
            "trainer.eval_batch_size=3",
        ),
        *("trainer.checkpoint_minutes=1", "zoo.path=elsewhere", "run_dir=there", "wandb=disabled"),
        *("paths.runs=there", "scale=small", "optim.lr=0.003", "model.dropout=0"),
    ],
)
def test_execution_settings_are_not_part_of_the_identity(override: str) -> None:
    sizes = ("trainer.num_epochs=3", "trainer.batch_size=8")
    assert identity_of(*SIGN, *sizes, override) == identity_of(*SIGN, *sizes)


@pytest.mark.parametrize(
    "override",
    [
        *("task=fashion_mnist", "model.hidden_channels=65", "optim.lr=0.004", "augment=none"),
        *("trainer.num_epochs=7", "trainer.batch_size=8", "trainer.precision=fp32"),
        *("reconstruction.weight=0", "zoo.aligned=true", "task.num_train=50", "model.name=other"),
        "augment.extra=[{_target_: dws.metanets.MLP}]",
    ],
)
def test_settings_of_the_result_change_the_identity(override: str) -> None:
    assert identity_of(*SIGN, override) != identity_of(*SIGN)


def test_identity_depends_on_the_zoo() -> None:
    assert identity_of(*SIGN, zoo="b") != identity_of(*SIGN)


def test_identity_ignores_decimal_points_of_whole_floats() -> None:
    assert identity_of(*SIGN, "model.omega_0=30") == identity_of(*SIGN, "model.omega_0=30.0")
    assert identity_of(*SIGN, "model.omega_0=30") != identity_of(*SIGN)


@pytest.mark.parametrize("overrides", [SIGN, ("task=sine", "model=mlp"), ("task=ssl",)])
def test_new_setting_with_default_keeps_the_identity(overrides: tuple[str]) -> None:
    settings = outcome_settings(compose_settings("train", overrides), "a")
    removed = []
    for group, values in settings.items():
        for key in values if isinstance(values, dict) else ():
            fewer = {**settings, group: {k: v for k, v in values.items() if k != key}}
            if key != "_target_" and with_defaults(fewer) == with_defaults(settings):
                assert identity(fewer) == identity(settings), f"{group}.{key}"
                removed.append(f"{group}.{key}")
    expected = {"augment.extra", "optim.clip_norm", "trainer.patience", "task.num_train"}
    assert expected <= set(removed)
