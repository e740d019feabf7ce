"""Metanets: networks whose input is a ``WeightBatch``.

Each is built as ``Net(spec, *, in_channels, out_features, ...)``, called as
``net(batch) -> (B, out_features)``, and gives its features as ``net.embed(batch) -> (B, E)``.
A metanet that has a counterpart whose output are networks builds it by the classmethod
``to_networks(spec, ...)``, which takes the same arguments but ``out_features``.

The transformations of ``torch.func`` apply to all of them, in evaluation where there is batch norm.
PyTorch's fused attention has first derivatives in reverse mode only: for ``jvp``, ``jacfwd`` and
``hessian`` of a network with attention, choose the plain one by
``with torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``.
"""

from dws.metanets.dwsnet import DWSNet, EquivariantDWSNet
from dws.metanets.gmn import GMN
from dws.metanets.inr2vec import INR2Vec
from dws.metanets.mlp import MLP
from dws.metanets.nfn import NFN
from dws.metanets.ng_gnn import NGGNN
from dws.metanets.ng_t import NGT
from dws.metanets.probe import ProbeNet
from dws.metanets.scalegmn import ScaleGMN
from dws.metanets.sign_dwsnet import EquivariantSignDWSNet, SignDWSNet
from dws.metanets.transformer import Transformer

__all__ = [
    "GMN",
    "MLP",
    "NFN",
    "NGGNN",
    "NGT",
    "DWSNet",
    "EquivariantDWSNet",
    "EquivariantSignDWSNet",
    "INR2Vec",
    "ProbeNet",
    "ScaleGMN",
    "SignDWSNet",
    "Transformer",
]
