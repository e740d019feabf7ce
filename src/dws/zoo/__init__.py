"""Zoos: thousands of fitted INRs in a folder."""

from dws.zoo.build import ZooConfig, build_zoo
from dws.zoo.exchange import export_dwsnets, import_dwsnets
from dws.zoo.store import Zoo, ZooSplit

__all__ = ["Zoo", "ZooConfig", "ZooSplit", "build_zoo", "export_dwsnets", "import_dwsnets"]
