"""Metanets: networks whose input is a ``WeightBatch``.

A metanet is constructed as ``Net(spec, *, in_channels, out_features, ...)``. ``net(batch)`` returns
outputs (B, out_features), and ``net.embed(batch)`` returns embeddings (B, E). A metanet with a
network-to-network counterpart constructs it by the classmethod ``to_networks(spec, ...)``, which
takes the same arguments except ``out_features``.

All metanets support the transformations of ``torch.func``; metanets with batch norm only in
evaluation mode. PyTorch's fused attention supports only first derivatives in reverse mode. For
``jvp``, ``jacfwd`` and ``hessian`` of a metanet with attention, select the unfused implementation
by ``with torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``.
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
