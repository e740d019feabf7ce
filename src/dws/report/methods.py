"""Titles of methods in the report."""

from __future__ import annotations

import re

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
    "nfn": "NFN (NP)",
    "nfn_hnp": "NFN (HNP)",
    "ng_gnn": "NG-GNN",
    "ng_t": "NG-T",
    "gmn": "GMN",
    "scalegmn": "ScaleGMN",
    "scalegmn_b": "ScaleGMN-B",
    "weights as they are": "Raw weights",
}
PAPER_METHODS = tuple(TITLES)[:6]  # of Navon et al. (ICML 2023), in the order of their tables
RAW_WEIGHTS = "weights as they are"  # name of the standardised weights as an embedding


def method_title(name: str) -> str:
    """Title of a method; the title of an unknown method is its name."""
    variant = re.fullmatch(r"(.*)_((\d+)k|published|probes)", name)
    if variant and variant[1] in TITLES:
        kinds = {"published": "published size", "probes": "with probes"}
        kind = kinds.get(variant[2], f"{variant[3]} k parameters")
        return f"{TITLES[variant[1]]}, {kind}"
    return TITLES.get(name, name)


def evaluates_functions(name: str) -> bool:
    """Whether a method evaluates the functions of networks, by its name, as it has no runs."""
    return name == "probe" or name.endswith("_probes")
