from pathlib import Path

import pytest

from dws.config import compose_settings
from dws.report.results import read_kept
from dws.training.identity import identity, outcome_settings

KEPT = Path(__file__).parents[3] / "outputs/results/small/results.json"


@pytest.mark.skipif(not KEPT.is_file(), reason="not in the source distribution")
def test_kept_results_of_earlier_versions_are_runs_of_todays_recipes() -> None:
    """More seeds of their cells, trained now, are averaged with them."""
    results = [result for result in read_kept(KEPT).results if result.settings]
    assert len(results) >= 26
    for result in results:
        task, trainer = result["settings"]["task"], result["settings"]["trainer"]
        overrides = [f"task={result['task']}", f"model={result['model']}", "scale=small"]
        overrides.append(f"trainer.num_epochs={trainer['num_epochs']}")
        if task["num_train"] is not None:
            overrides.append(f"task.num_train={task['num_train']}")
            overrides.append(f"task.repeat_train={str(task['repeat_train']).lower()}")
        settings = outcome_settings(compose_settings("train", overrides), result["zoo"])
        assert identity(settings) == result["settings_hash"], overrides
