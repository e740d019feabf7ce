"""Sections of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dws.report.embeddings import EmbeddingFigure
from dws.report.pictures import Picture
from dws.report.tables import Table


@dataclass(frozen=True)
class Section:
    """A section of the page. Its content is shown in the order of the attributes.

    Attributes:
        title: Heading.
        text: Paragraph below the heading.
        embeddings: Interactive figures.
        tables: Tables.
        folded: Summary text of the element that hides the tables; empty to show them.
        command: Explanation of a command, and the command, with a button to copy it.
        pictures: Pictures.
        details: Hidden pictures, which can be unfolded.
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
        """Whether the section has no content."""
        return not (self.embeddings or self.tables or self.pictures)
