"""What the report calls methods."""

from __future__ import annotations

TITLES = {
    "mlp": "MLP",
    "mlp_permutation_augmentation": "MLP + permutation augmentation",
    "mlp_alignment": "MLP + alignment",
    "inr2vec": "INR2Vec",
    "transformer": "Transformer",
    "dwsnet": "DWSNet",
    "dwsnet_attention": "DWSNet with attention",
    "dwsnet_sign": "SignDWSNet",
    "probe": "Function probe",
    "weights as they are": "Raw weights",
}
PAPER_METHODS = tuple(TITLES)[:6]  # of Navon et al. (ICML 2023), in the order of their tables
PARAMETERS = "_550k"  # ends the names of models that have as many parameters as the paper's
RAW_WEIGHTS = "weights as they are"  # standardised, seen as an embedding


def method_title(name: str) -> str:
    """The title of a method; a user's own has its name."""
    base = name.removesuffix(PARAMETERS)
    if base not in TITLES:
        return name
    return TITLES[base] if base == name else f"{TITLES[base]}, 550 k parameters"
