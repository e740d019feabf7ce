"""Sign-equivariant maps of neuron features of sine networks (Kalogeropoulos et al. 2024)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import linear, silu


class Equivariant(nn.Module):
    """ScaleEq: the map Γ x ⊙ g(x), which is odd for hidden neurons.

    For hidden neurons g is the even function ScaleInv, φ(ρ(x) + ρ(-x)); for inputs and outputs g is
    an MLP. ρ and φ have one hidden layer. The last map of ρ and the first map of φ are combined.

    Args:
        in_channels: Number of input channels, C_in.
        channels: Number of output channels, C.
        extra: Number of additional invariant input channels of φ; 0 for none.
        hidden_channels: Width of ρ, φ and the MLP.
        ends_only: Whether the map is used only for inputs and outputs.
    """

    def __init__(
        self, in_channels: int, channels: int, *, extra: int, hidden_channels: int, ends_only: bool
    ) -> None:
        super().__init__()
        c = hidden_channels
        self.linear = nn.Linear(in_channels, channels, bias=False)
        self.of_ends = Gate(in_channels, extra, c, channels)
        if not ends_only:
            self.rho = nn.Linear(in_channels, c)
            self.norm = nn.LayerNorm(c)
            self.rho_last = nn.Linear(c, in_channels)
            self.phi = Gate(in_channels, extra, c, channels)

    def forward(self, x: Tensor, vector: Tensor, is_end: bool) -> Tensor:
        """Apply the map, (..., C_in) -> (..., C), to a level with invariant vectors (..., C)."""
        if is_end:
            return self.linear(x) * self.of_ends(x, self.of_ends.first.weight, vector)  # type: ignore[no-any-return]
        odd = linear(x, self.rho.weight)
        even = sum(silu(self.norm(self.rho.bias + sign)) for sign in (odd, -odd))
        both = self.phi.first.weight @ self.rho_last.weight
        constant = linear(2 * self.rho_last.bias, self.phi.first.weight)
        return self.linear(x) * self.phi(even, both, vector, constant)  # type: ignore[no-any-return]


class Gate(nn.Module):
    """An MLP with one hidden layer and a first map that may be composed with another map."""

    def __init__(self, in_channels: int, extra: int, hidden_channels: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Linear(in_channels, hidden_channels)
        self.extra = nn.Linear(extra, hidden_channels, bias=False) if extra else None
        self.norm = nn.LayerNorm(hidden_channels)
        self.last = nn.Linear(hidden_channels, channels)

    def forward(
        self, x: Tensor, weight: Tensor, vector: Tensor, constant: Tensor | None = None
    ) -> Tensor:
        """Apply the MLP with ``weight`` as its first map and an optional constant added to it."""
        shift = self.first.bias if constant is None else self.first.bias + constant
        shift = shift if self.extra is None else shift + self.extra(vector)
        return self.last(silu(self.norm(linear(x, weight) + shift)))  # type: ignore[no-any-return]
