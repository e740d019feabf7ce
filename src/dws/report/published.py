"""Figures of Navon et al. (ICML 2023), to stand beside those that are measured here."""

from __future__ import annotations

# mean and standard deviation over three seeds: % of test images, MSE of (a, b)
RESULTS: dict[str, dict[str, tuple[float, float]]] = {
    "mnist": {
        "mlp": (17.55, 0.01),
        "mlp_permutation_augmentation": (29.26, 0.18),
        "mlp_alignment": (58.98, 0.52),
        "inr2vec": (23.69, 0.10),
        "transformer": (26.57, 0.18),
        "dwsnet": (85.71, 0.57),
    },
    "fashion_mnist": {
        "mlp": (19.91, 0.47),
        "mlp_permutation_augmentation": (22.76, 0.13),
        "mlp_alignment": (47.79, 1.03),
        "inr2vec": (22.33, 0.41),
        "transformer": (26.97, 0.33),
        "dwsnet": (67.06, 0.29),
    },
    "ssl": {
        "mlp": (7.39, 0.19),
        "mlp_permutation_augmentation": (5.65, 0.01),
        "mlp_alignment": (4.47, 0.15),
        "inr2vec": (3.86, 0.32),
        "transformer": (5.11, 0.12),
        "dwsnet": (1.39, 0.06),
    },
}
METHODS = tuple(RESULTS["mnist"])
TASKS = (*RESULTS, "sine")  # of the last there is a plot only

# standard deviations over all INRs of the released zoos, layer by layer
ZOO_STD: dict[str, dict[str, tuple[float, ...]]] = {
    "mnist": {"weight": (0.0628, 0.0183, 0.1179), "bias": (0.0213, 0.0110, 0.0999)},
    "fashion_mnist": {"weight": (0.0782, 0.0324, 0.1345), "bias": (0.0286, 0.0167, 0.0960)},
}
