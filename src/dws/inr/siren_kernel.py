"""Triton kernel that fits SIRENs without storing activations in GPU memory.

One program fits one network. It keeps the weights in registers for many steps. A step goes through
the points in blocks, whose activations stay in registers and shared memory. The equations are those
of ``dws.inr.family.loss_and_gradient``.

Import this module only where Triton is installed.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sine_and_cosine(z):
    """Compute sin z and cos z as ``dws.inr.family.sine_and_cosine`` does in compiled steps.

    The errors are below 3e-7 for abs(z) <= 1e4 and grow beyond, so diverging fits become infinite.
    Adding 1.5 * 2^23 rounds a number to an integer k and leaves k in the lowest bits.
    """
    shifted = z * 0.3183098861837907 + 12582912.0
    k = shifted - 12582912.0
    r = z - k * 3.140625
    r = r - k * 9.67653589793e-4
    q = r * r
    sine = -1.980960e-4 + q * 2.605780e-6
    sine = r + (r * q) * (-0.1666665955 + q * (8.333066243e-3 + q * sine))
    cosine = -1.385592698e-3 + q * 2.319438e-5
    cosine = 1 + q * (-0.4999993229 + q * (4.166398942e-2 + q * cosine))
    sign = shifted.to(tl.uint32, bitcast=True) << 31  # of (-1)^k
    return change_sign(sine, sign), change_sign(cosine, sign)


@triton.jit
def change_sign(a, sign):
    """Change the sign of numbers where the highest bit of ``sign`` is set."""
    return (a.to(tl.uint32, bitcast=True) ^ sign).to(tl.float32, bitcast=True)


@triton.jit
def sum_pairs(a):
    """Sum pairs of neighbouring columns, which one thread holds: (m, 2 n) to (m, n)."""
    return tl.sum(tl.reshape(a, (a.shape[0], a.shape[1] // 2, 2)), 2)


@triton.jit
def adam(
    parameter,
    gradient,
    first_moments,
    second_moments,
    at,
    rate,
    scale,
    new_1,
    new_2,
    weight_decay,
):
    """Return parameters after a step of Adam with ε = 1e-8, which updates the moments at ``at``.

    ``rate`` is the learning rate divided by 1 - β1^t, ``scale`` is (1 - β2^t)^(-1/2). Between
    loading and storing there is no barrier, so the program must have one warp: several warps may
    hold copies of a vector, and a late one would load moments that another has already updated.
    """
    gradient += weight_decay * parameter
    first = tl.load(first_moments + at)
    second = tl.load(second_moments + at)
    first += new_1 * (gradient - first)
    second += new_2 * (gradient * gradient - second)
    tl.store(first_moments + at, first)
    tl.store(second_moments + at, second)
    return parameter - rate * first / (tl.sqrt(second) * scale + 1e-8)


@triton.jit
def product(a, b):
    """Compute a @ b by tensor cores, as three products of TF32 matrices.

    A float32 number is the sum of a high part, which is a TF32 number, and a low part. The product
    of the two low parts is omitted: it is at most 2^-20 of the product. Float32 multiplications
    reach half of this speed on an H200. ``input_precision="tf32x3"`` does the same with additional
    instructions that handle infinite numbers.
    """
    a_high = high_part(a)
    b_high = high_part(b)
    result = tl.dot(a - a_high, b_high, input_precision="tf32")
    result = tl.dot(a_high, b - b_high, result, input_precision="tf32")
    return tl.dot(a_high, b_high, result, input_precision="tf32")


@triton.jit
def high_part(a):
    """Return float32 numbers without the mantissa bits that TF32 numbers do not have."""
    bits = a.to(tl.uint32, bitcast=True) & 0xFFFFE000
    return bits.to(tl.float32, bitcast=True)


INTEGERS = ["start", "end", "max_steps", "num_params", "num_points"]


@triton.jit(do_not_specialize=INTEGERS)  # compiled once for all values
def fit_sirens(
    weights,  # flat vectors of B networks, (B, num_params)
    first_moments,  # of Adam, (B, num_params)
    second_moments,
    points,  # (D_0, P)
    values,  # (B, 1, P)
    rates,  # learning rate of each step divided by 1 - β1^t, (num_steps,)
    scales,  # (1 - β2^t)^(-1/2) of each step, (num_steps,)
    losses,  # loss at the last check, (B,)
    num_steps,  # step at which each network stopped, or the maximum, (B,)
    start,
    end,
    max_steps,
    num_params,
    num_points,
    omega_0,
    output_offset,
    stop_mse,
    new_1,  # 1 - β1
    new_2,  # 1 - β2
    weight_decay,
    D_0: tl.constexpr,  # 1 or 2
    WIDTH: tl.constexpr,  # of both hidden layers
    BLOCK: tl.constexpr,  # points in a block
    CHECK_EVERY: tl.constexpr,
):
    """Run the steps ``start`` to ``end`` of one network per program.

    A network stops before the step at which its loss is at most ``stop_mse``. Matrices have one row
    per output.
    """
    neurons = tl.arange(0, WIDTH)
    columns = tl.arange(0, BLOCK)

    # positions in the flat vectors, which store weights (inputs, outputs) before biases
    network = tl.program_id(0).to(tl.int64)
    offset = network * num_params
    at_wx, at_wy = offset + neurons, offset + WIDTH + neurons
    at_b1 = offset + D_0 * WIDTH + neurons
    at_w2 = at_b1[:, None] + WIDTH + WIDTH * neurons[None, :]
    at_b2 = at_b1 + WIDTH + WIDTH * WIDTH
    at_w3 = at_b2 + WIDTH
    at_b3 = offset + num_params - 1
    has_y = (neurons >= 0) & (D_0 == 2)  # whether there is a second input

    wx, wy = tl.load(weights + at_wx), tl.load(weights + at_wy, has_y, 0.0)
    b1, w2, b2 = tl.load(weights + at_b1), tl.load(weights + at_w2), tl.load(weights + at_b2)
    w3, b3 = tl.load(weights + at_w3), tl.load(weights + at_b3)

    stopped_at = tl.load(num_steps + network)
    last = tl.where(stopped_at < max_steps, start, end)  # a stopped network runs no step
    mse = tl.load(losses + network)
    step = start
    while step < last:
        g_w2 = tl.zeros((WIDTH, WIDTH), tl.float32)
        # gradients of vectors, summed over pairs of points of each block
        g_wx = tl.zeros((WIDTH, BLOCK // 2), tl.float32)
        g_wy, g_b1, g_b2, g_w3 = g_wx, g_wx, g_wx, g_wx
        residuals, squares = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
        for first_point in range(0, num_points, BLOCK):
            point = first_point + columns
            exists = point < num_points
            x = tl.load(points + point, exists, 0.0)[None, :]
            y = tl.load(points + num_points + point, exists & (D_0 == 2), 0.0)[None, :]
            value = tl.load(values + network * num_points + point, exists, 0.0)
            z_1 = wx[:, None] * x + wy[:, None] * y + b1[:, None]
            a_1, slope_1 = sine_and_cosine(omega_0 * z_1)
            z_2 = product(w2, a_1) + b2[:, None]
            a_2, slope_2 = sine_and_cosine(omega_0 * z_2)
            output = tl.sum(w3[:, None] * a_2, 0) + b3 + output_offset
            residual = tl.where(exists, output - value, 0.0)
            residuals += residual
            squares += residual * residual
            delta_3 = (residual * (2 / num_points))[None, :]
            g_w3 += sum_pairs(a_2 * delta_3)
            delta_2 = (omega_0 * w3)[:, None] * delta_3 * slope_2
            g_w2 += product(delta_2, tl.trans(a_1))
            g_b2 += sum_pairs(delta_2)
            delta_1 = product(tl.trans(w2), delta_2) * slope_1
            g_wx += sum_pairs(delta_1 * x)
            if D_0 == 2:
                g_wy += sum_pairs(delta_1 * y)
            g_b1 += sum_pairs(delta_1)
        g_wx, g_wy = omega_0 * tl.sum(g_wx, 1), omega_0 * tl.sum(g_wy, 1)
        g_b1, g_b2, g_w3 = omega_0 * tl.sum(g_b1, 1), tl.sum(g_b2, 1), tl.sum(g_w3, 1)
        g_b3 = tl.sum(residuals, 0) * (2 / num_points)

        current = tl.sum(squares, 0) / num_points
        checks = step % CHECK_EVERY == 0
        stops = checks & (current <= stop_mse)
        mse = tl.where(checks, current, mse)
        stopped_at = tl.where(stops, step, stopped_at)
        last = tl.where(stops, step, last)
        rate = tl.where(stops, 0.0, tl.load(rates + step))  # keeps the weights of a stopped network
        scale = tl.load(scales + step)
        # fmt: off
        wx = adam(
            wx, g_wx, first_moments, second_moments, at_wx,
            rate, scale, new_1, new_2, weight_decay,
        )
        if D_0 == 2:
            wy = adam(
                wy, g_wy, first_moments, second_moments, at_wy,
                rate, scale, new_1, new_2, weight_decay,
            )
        b1 = adam(
            b1, g_b1, first_moments, second_moments, at_b1,
            rate, scale, new_1, new_2, weight_decay,
        )
        w2 = adam(
            w2, g_w2, first_moments, second_moments, at_w2,
            rate, scale, new_1, new_2, weight_decay,
        )
        b2 = adam(
            b2, g_b2, first_moments, second_moments, at_b2,
            rate, scale, new_1, new_2, weight_decay,
        )
        w3 = adam(
            w3, g_w3, first_moments, second_moments, at_w3,
            rate, scale, new_1, new_2, weight_decay,
        )
        b3 = adam(
            b3, g_b3, first_moments, second_moments, at_b3,
            rate, scale, new_1, new_2, weight_decay,
        )
        # fmt: on
        step += 1

    tl.store(losses + network, mse)
    tl.store(num_steps + network, stopped_at)
    tl.store(weights + at_wx, wx)
    tl.store(weights + at_wy, wy, has_y)
    tl.store(weights + at_b1, b1)
    tl.store(weights + at_w2, w2)
    tl.store(weights + at_b2, b2)
    tl.store(weights + at_w3, w3)
    tl.store(weights + at_b3, b3)
