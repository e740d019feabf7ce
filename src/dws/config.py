"""Where ``configs/`` lies, registering its schemas, and building objects from it."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from dws.schemas import (
    AttentionDWSNetSchema,
    ClassificationSchema,
    ContrastiveSchema,
    DWSNetSchema,
    EvaluateSchema,
    FitInrsSchema,
    InProcessSchema,
    INR2VecSchema,
    MLPSchema,
    ProbeNetSchema,
    RaySchema,
    RegressionSchema,
    ReportSchema,
    SignDWSNetSchema,
    TrainSchema,
    TransformerSchema,
)

TARGETS = "dws."


def config_dir() -> str:
    """Absolute path of ``configs/``: in the package if installed from a wheel, else beside it."""
    packaged = Path(__file__).parent / "configs"
    in_repository = Path(__file__).parents[2] / "configs"
    return str(packaged if packaged.is_dir() else in_repository)


def register_schemas() -> None:
    """Make the schemas known to Hydra, under the names that ``configs/`` uses."""
    store = ConfigStore.instance()
    for name, schema in {
        "fit_inrs": FitInrsSchema,
        "train": TrainSchema,
        "evaluate": EvaluateSchema,
        "report": ReportSchema,
        "in_process": InProcessSchema,
        "ray": RaySchema,
        "dwsnet": DWSNetSchema,
        "attention_dwsnet": AttentionDWSNetSchema,
        "sign_dwsnet": SignDWSNetSchema,
        "probe": ProbeNetSchema,
        "mlp": MLPSchema,
        "inr2vec": INR2VecSchema,
        "transformer": TransformerSchema,
        "contrastive": ContrastiveSchema,
        "classification": ClassificationSchema,
        "regression": RegressionSchema,
    }.items():
        store.store(group="schema", name=name, node=_unlocked(OmegaConf.structured(schema)))


def _unlocked(node: DictConfig) -> DictConfig:
    """Make settings overridable although their classes are frozen."""
    OmegaConf.set_readonly(node, False)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            _unlocked(child)
    return node


def build(settings: Mapping[str, Any], **arguments: Any) -> Any:
    """Construct what ``_target_`` names.

    Args:
        settings: Plain settings: ``_target_`` and its arguments.
        **arguments: What the configuration does not know, such as the weight space.

    Raises:
        ValueError: On the complaints of ``class_of``, or of the class.
    """
    target = str(settings.get("_target_"))
    constructor = class_of(target)
    try:
        return constructor(**{k: v for k, v in settings.items() if k != "_target_"}, **arguments)
    except TypeError as error:
        raise ValueError(
            f"expected arguments of {target}, got some that do not fit: {error}"
        ) from error


def class_of(target: str) -> type:
    """The class of ours that ``_target_`` names.

    Raises:
        ValueError: If it is not one of ours, or unknown.
    """
    if not target.startswith(TARGETS):
        raise ValueError(f"expected _target_ in {TARGETS}, got {target}")
    try:
        constructor = pkgutil.resolve_name(target)
    except Exception as error:  # whatever the import raised
        raise ValueError(f"expected _target_ to name a class, got {target} ({error})") from error
    # a module of ours leads to all that it imports, as in dws.files.os.system
    if not (isinstance(constructor, type) and constructor.__module__.startswith(TARGETS)):
        raise ValueError(f"expected _target_ to name a class of ours, got {target}")
    return constructor


def to_plain(node: Any) -> Any:
    """Resolve a node to dicts, lists and numbers."""
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
