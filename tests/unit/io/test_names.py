from __future__ import annotations

import re
from pathlib import Path

import pytest

from dws.io.names import distinct_file_name, sibling


def test_file_names_are_distinct_and_plain_names_are_unchanged() -> None:
    assert distinct_file_name("tsne", "fashion_mnist", "label", suffix=".png") == (
        "tsne-fashion_mnist-label.png"
    )
    texts = [
        *(["a/b"], ["a_b"], ["a b"], ["A_B"], ["a-b"], ["a", "b"], ["a-b", "c"], ["a", "b-c"]),
        *([".."], ["."], [""], ["/etc/x"], ["../x"], ["é"], ["e\u0301"], ["日" * 99], ["日" * 98]),
        *(["y" * 300], ["y" * 299], ["x\n"], ["x\0"], ["\ud800"]),
    ]
    names = [distinct_file_name(*parts) for parts in texts]
    assert len({name.lower() for name in names}) == len(texts)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}", name) for name in names)


@pytest.mark.parametrize("name", [".", "../zoo", "zoo", "down/.."])
def test_sibling_folder_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo/down").mkdir(parents=True)
    monkeypatch.chdir(tmp_path if name == "zoo" else tmp_path / "zoo")
    assert sibling(Path(name), "aligned").resolve() == tmp_path / "zoo.aligned"
