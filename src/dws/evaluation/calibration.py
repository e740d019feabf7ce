"""Calibration of class probabilities, confident mistakes, and accuracy by PSNR of the INRs."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NUM_BINS = 15  # number of intervals of confidence, as in Guo et al.


def confidences(outputs: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Compute the probability of the predicted class; NaN for outputs that are not finite."""
    highest = outputs.double().softmax(dim=1).amax(dim=1)
    return highest.masked_fill(~outputs.isfinite().all(dim=1), torch.nan)


def calibration(
    outputs: Float[Tensor, "n k"], is_correct: Bool[Tensor, " n"], *, num_bins: int = NUM_BINS
) -> dict[str, Any] | None:
    """Compare the confidence of predictions with their accuracy (Guo et al. 2017, Eq. 3).

    Args:
        outputs: Logits. Networks whose outputs are not finite are excluded.
        is_correct: Whether each predicted class is correct.
        num_bins: Number of equally wide intervals of confidence.

    Returns:
        ``expected_error``, the expected calibration error: the mean over networks of the absolute
        difference between accuracy and mean confidence in their interval. ``bins``: ends ``low``
        and ``high``, number of networks ``n``, mean ``confidence`` and ``accuracy`` of each
        interval that has networks. None if no output is finite.
    """
    confidence = confidences(outputs)
    is_known = confidence.isfinite()
    if not bool(is_known.any()):
        return None
    confidence, is_correct = confidence[is_known], is_correct[is_known]
    number = (confidence * num_bins).ceil().long().clamp(1, num_bins)
    bins = []
    for k in number.unique().tolist():
        chosen = number == k
        bins.append(
            {
                "low": (k - 1) / num_bins,
                "high": k / num_bins,
                "n": int(chosen.sum()),
                "confidence": float(confidence[chosen].mean()),
                "accuracy": float(is_correct[chosen].double().mean()),
            }
        )
    gaps = sum(each["n"] * abs(each["accuracy"] - each["confidence"]) for each in bins)
    return {"expected_error": gaps / len(confidence), "bins": bins}


def confident_mistakes(
    outputs: Float[Tensor, "n k"], is_correct: Bool[Tensor, " n"], *, count: int = 20
) -> Int[Tensor, " m"]:
    """Rows of the wrong predictions with the highest confidence, at most ``count``, highest first.

    Networks whose outputs are not finite are excluded.
    """
    confidence = confidences(outputs).masked_fill(is_correct, torch.nan)
    order = confidence.nan_to_num(nan=-1.0).argsort(descending=True, stable=True)
    return order[: min(count, int(confidence.isfinite().sum()))]


def accuracy_by_psnr(
    is_correct: Bool[Tensor, " n"], psnr: Float[Tensor, " n"], *, num_bins: int = 5
) -> list[dict[str, float]]:
    """Accuracy in bins of the INRs' PSNR with equal numbers of networks.

    Args:
        is_correct: Whether each predicted class is correct.
        psnr: PSNR of each INR, in dB.
        num_bins: Number of bins.

    Returns:
        Lowest and highest PSNR ``low`` and ``high``, number of networks ``n`` and ``accuracy`` of
        each bin.
    """
    order = psnr.argsort()
    return [
        {
            "low": float(psnr[rows[0]]),
            "high": float(psnr[rows[-1]]),
            "n": len(rows),
            "accuracy": float(is_correct[rows].double().mean()),
        }
        for rows in order.tensor_split(min(num_bins, len(order)))
    ]
