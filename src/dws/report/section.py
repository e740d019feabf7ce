"""A part of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dws.report.embeddings import EmbeddingFigure
from dws.report.pictures import Picture
from dws.report.tables import Table


@dataclass(frozen=True)
class Section:
    """A part of the page, in the order of its attributes.

    Attributes:
        title: Its heading.
        text: Below the heading.
        embeddings: Interactive figures.
        tables: Tables.
        folded: What the fold says that hides the tables; empty for none.
        command: A command to copy, with the reason for it above.
        pictures: Pictures.
        details: Pictures that are folded away.
    """

    title: str
    text: str = ""
    embeddings: Sequence[EmbeddingFigure] = ()
    tables: Sequence[Table] = ()
    folded: str = ""
    command: tuple[str, str] | None = None
    pictures: Sequence[Picture] = ()
    details: Sequence[Picture] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.embeddings or self.tables or self.pictures)
