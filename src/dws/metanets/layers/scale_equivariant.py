"""Sign-equivariant maps of neuron features of sine networks (Kalogeropoulos et al. 2024)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import linear, silu


class ScaleEq(nn.Module):
    """The map Γ x ⊙ g(x), which is odd for hidden neurons.

    For hidden neurons g is the even function ScaleInv, φ(ρ(x) + ρ(-x)); for inputs and outputs g is
    an MLP. ρ and φ have one hidden layer. The last map of ρ and the first map of φ are composed to
    one map.

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
            return self.linear(x) * self.of_ends(x, vector)  # type: ignore[no-any-return]
        odd = linear(x, self.rho.weight)
        plus, minus = (silu(self.norm(self.rho.bias + each)) for each in (odd, -odd))
        first, last = self.phi.first, self.rho_last
        bias = first.bias + linear(2 * last.bias, first.weight)  # ρ(x) + ρ(-x) has the bias twice
        hidden = linear(plus + minus, first.weight @ last.weight, bias)
        return self.linear(x) * self.phi.after_first(hidden, vector)  # type: ignore[no-any-return]


class Gate(nn.Module):
    """An MLP of x and an invariant vector, with one hidden layer."""

    def __init__(self, in_channels: int, extra: int, hidden_channels: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Linear(in_channels, hidden_channels)
        self.extra = nn.Linear(extra, hidden_channels, bias=False) if extra else None
        self.norm = nn.LayerNorm(hidden_channels)
        self.last = nn.Linear(hidden_channels, channels)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Apply the MLP."""
        return self.after_first(self.first(x), vector)

    def after_first(self, hidden: Tensor, vector: Tensor) -> Tensor:
        """Apply the MLP to the output of its first map."""
        if self.extra is not None:
            hidden = hidden + self.extra(vector)
        return self.last(silu(self.norm(hidden)))  # type: ignore[no-any-return]
