from __future__ import annotations

import pytest

from dws.training import AugmentConfig
from dws.weightspace import WeightSpaceSpec


@pytest.mark.parametrize(
    ("config", "num_views", "complaint"),
    [
        (AugmentConfig(max_shift=0.1), 1, r"two inputs for augment.max_shift, got 1"),
        (AugmentConfig(), 2, "use augment=contrastive"),
        (AugmentConfig(omega_0=20.0), 2, "use augment=contrastive"),
        (AugmentConfig(shift_phases=1, omega_0=20.0), 1, r"augment.omega_0=30.0, that of the zoo"),
    ],
)
def test_augmentations_that_make_no_sense_are_refused(
    config: AugmentConfig, num_views: int, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        config.check_fits(WeightSpaceSpec((1, 4, 1)), num_views, 30.0)


@pytest.mark.parametrize("bad", [{"noise": -1.0}, {"noise": float("nan")}, {"mask": 1.0}])
def test_strengths_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected strengths >= 0 in augment"):
        AugmentConfig(**bad)
