"""Fits of many SIRENs as one batch in JAX, with ``jit``, ``vmap`` and ``scan``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dws.weightspace import WeightBatch

Params = list[tuple[jax.Array, jax.Array]]


def loss(params: Params, points: jax.Array, values: jax.Array) -> jax.Array:
    """Mean squared error of one SIREN at points (P, d_0) with values (P, d_M)."""
    x = points
    for weight, bias in params[:-1]:
        x = jnp.sin(30.0 * (x @ weight + bias))
    weight, bias = params[-1]
    return jnp.mean((x @ weight + bias + 0.5 - values) ** 2)


def fit_one(
    params: Params, points: jax.Array, values: jax.Array, *, num_steps: int, lr: float
) -> Params:
    """Fit one SIREN by Adam with default constants."""
    tree = jax.tree_util.tree_map
    zeros = tree(jnp.zeros_like, params)

    def step(state: Any, i: jax.Array) -> tuple[Any, None]:
        params, mean, square = state
        gradient = jax.grad(loss)(params, points, values)
        mean = tree(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
        square = tree(lambda s, g: 0.999 * s + 0.001 * g * g, square, gradient)
        a, b = 1 - 0.9 ** (i + 1), 1 - 0.999 ** (i + 1)
        params = tree(
            lambda p, m, s: p - lr * (m / a) / (jnp.sqrt(s / b) + 1e-8), params, mean, square
        )
        return (params, mean, square), None

    state, _ = jax.lax.scan(step, (params, zeros, zeros), jnp.arange(num_steps))
    return state[0]  # type: ignore[no-any-return]


def fit_batch(
    initial: WeightBatch, points: Tensor, values: Tensor, *, num_steps: int, lr: float
) -> Callable[[], NDArray[Any]]:
    """Create a function that fits B signals, values (B, P, d_M), and returns their last biases."""

    def fit(params: Params, points: jax.Array, values: jax.Array) -> Params:
        return fit_one(params, points, values, num_steps=num_steps, lr=lr)

    compiled = jax.jit(jax.vmap(fit, in_axes=(0, None, 0)))
    start = [
        (jnp.asarray(weight[..., 0].numpy()), jnp.asarray(bias[..., 0].numpy()))
        for weight, bias in zip(initial.weights, initial.biases, strict=True)
    ]
    x, y = jnp.asarray(points.numpy()), jnp.asarray(values.numpy())
    return lambda: np.asarray(compiled(start, x, y)[-1][1])  # waits for the result
