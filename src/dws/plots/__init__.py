"""Figures of embeddings, curves, predictions and functions."""

from dws.plots.curves import drawable, plot_curves, plot_learning_curve
from dws.plots.embeddings import plot_embedding, plot_embeddings
from dws.plots.figure import supported_formats
from dws.plots.functions import (
    plot_functions,
    plot_reconstructions,
    plot_rendered_and_reconstructed,
)
from dws.plots.images import plot_images
from dws.plots.predictions import (
    plot_confusion_matrix,
    plot_predicted_against_true,
    plot_reliability,
)

__all__ = [
    "drawable",
    "plot_confusion_matrix",
    "plot_curves",
    "plot_embedding",
    "plot_embeddings",
    "plot_functions",
    "plot_images",
    "plot_learning_curve",
    "plot_predicted_against_true",
    "plot_reconstructions",
    "plot_reliability",
    "plot_rendered_and_reconstructed",
    "supported_formats",
]
