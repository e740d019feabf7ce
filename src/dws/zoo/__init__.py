"""Zoos: folders of fitted networks with labels and splits."""

from dws.settings import ZooConfig
from dws.zoo.align import align_zoo
from dws.zoo.build import build_zoo
from dws.zoo.combine import combine_zoos
from dws.zoo.dwsnets import export_dwsnets, import_dwsnets
from dws.zoo.engine import Engine, Ray, Workers
from dws.zoo.imports import read_state_dict
from dws.zoo.nfn import import_nfn
from dws.zoo.parquet import export_parquet
from dws.zoo.parts import build_part, merge_parts
from dws.zoo.store import Zoo, ZooSplit
from dws.zoo.write import write_zoo

__all__ = [
    "Engine",
    "Ray",
    "Workers",
    "Zoo",
    "ZooConfig",
    "ZooSplit",
    "align_zoo",
    "build_part",
    "build_zoo",
    "combine_zoos",
    "export_dwsnets",
    "export_parquet",
    "import_dwsnets",
    "import_nfn",
    "merge_parts",
    "read_state_dict",
    "write_zoo",
]
