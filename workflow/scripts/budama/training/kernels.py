"""BatchNorm with what follows it (residual sum, ReLU) as single kernels on CPUs: forward, backward, in evaluation.

PyTorch reads and writes an activation in seven passes there, and where the number of channels does not fill a vector
register, as after pruning, its backward pass over channels_last is ten to forty times slower than at 16 channels
(`benchmarks/normalisation.py`). These kernels read and write as rarely as the mathematics allows, in full vectors at
any number of channels (Ioffe and Szegedy 2015, algorithm 1 and the gradients in section 3).

An activation is a matrix of rows N·H·W by channels, as channels_last stores it, in bfloat16 or float32. Sums are kept
in float32 over a few hundred values, then in float64. Each thread has its own share of the rows, and the shares' sums
are added in their order: equal inputs and threads give equal results, bit for bit.

Numba compiles them, once a machine. They run on the threads that PyTorch has anyway: a second team would compete.
All that a kernel calls is in this file, long as it is: Numba knows compiled code on the disk by the date and size of
the kernel's own file, and would go on with old code where a function changed elsewhere.
"""

import ctypes
import functools
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import binding
from numba import carray, cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

TILE = 1024  # values that are worked on at a time: they and a few vectors as long fit in a core's first cache
FLUSH = 64  # tiles after which float32 sums move into float64 ones
SHARE = 2**14  # values below which another thread does not pay

# The words of a job, int64: sizes and flags, and the addresses of tensors (0: there is none).
WORDS = (
    "threads", "rows", "channels", "relu", "partial", "input", "residual", "output", "weight", "bias", "mean", "scale",
    "running_mean", "running_var", "epsilon_and_momentum", "gradient", "second_gradient", "input_gradient",
    "masked_gradient", "weight_gradient", "bias_gradient",
)  # fmt: skip
PLACES = {word: place for place, word in enumerate(WORDS)}
(
    THREADS, ROWS, CHANNELS, RELU, PARTIAL, INPUT, RESIDUAL, OUTPUT, WEIGHT, BIAS, MEAN, SCALE, RUNNING_MEAN,
    RUNNING_VAR, EPSILON_AND_MOMENTUM, GRADIENT, SECOND_GRADIENT, INPUT_GRADIENT, MASKED_GRADIENT, WEIGHT_GRADIENT,
    BIAS_GRADIENT,
) = range(len(WORDS))  # fmt: skip

# LLVM: whole registers where they have 512 bits, and loops over many arrays are vectorised too.
binding.set_option("budama", "--runtime-memory-check-threshold=100")
numba.config.CPU_FEATURES = numba.config.CPU_FEATURES or f"{binding.get_host_cpu_features().flatten()},-prefer-256-bit"


def run(name: str, input: torch.Tensor, relu: bool, **tensors: torch.Tensor | np.ndarray | None) -> None:
    """Run a kernel ("forward", "backward", "evaluate") on `input` [N, C, H, W] in channels_last and other `tensors`."""
    channels = input.shape[1]
    rows = input.numel() // channels
    threads = max(1, min(torch.get_num_threads(), input.numel() // SHARE))
    partial = np.empty((threads, 2, channels))
    job = np.zeros(len(WORDS), np.int64)
    job[:RESIDUAL] = threads, rows, channels, relu, partial.ctypes.data, input.data_ptr()
    for word, tensor in tensors.items():
        if tensor is not None:
            job[PLACES[word]] = tensor.data_ptr() if isinstance(tensor, torch.Tensor) else tensor.ctypes.data
    kernel = _compiled(name, input.dtype)
    library: Any = openmp()  # is there, or no kernel would be asked for
    library.GOMP_parallel(ctypes.c_void_p(kernel.address), ctypes.c_void_p(job.ctypes.data), threads, 0)


@functools.cache
def openmp() -> ctypes.CDLL | None:
    """The OpenMP library that PyTorch computes with, or None where it is not GNU's: the kernels do not run there."""
    try:
        library = ctypes.CDLL("libgomp.so.1")  # the loader knows it by this name: PyTorch has brought its own
        functions = [library.omp_get_thread_num, library.GOMP_barrier, library.GOMP_parallel]
    except (OSError, AttributeError):
        return None
    for function in functions:
        binding.add_symbol(function.__name__, ctypes.cast(function, ctypes.c_void_p).value)
    return library


@functools.cache
def _compiled(name: str, dtype: torch.dtype):
    """A kernel for activations of a dtype, compiled now or taken from Numba's cache on the disk."""
    openmp()
    return cfunc(types.void(types.CPointer(types.int64)), cache=True)(_KERNELS[name, dtype])


_thread_number = types.ExternalFunction("omp_get_thread_num", types.int32())
_wait_for_all = types.ExternalFunction("GOMP_barrier", types.void())


@intrinsic
def _pointer(context, address):
    """An address as a pointer: OpenMP hands a kernel one word, so that tensors come as addresses, which Numba lacks."""
    return types.voidptr(types.int64), lambda _, builder, __, args: builder.inttoptr(args[0], cgutils.voidptr_t)


def _widen(value):
    """A stored value as float32; uint16 holds the bits of a bfloat16."""


@overload(_widen, inline="always")
def _widen_as(value):
    if value == types.uint16:
        return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
    return lambda value: value


def _narrow(value, like):
    """A float32 in the form of `like`, rounded to even where that is a bfloat16."""


@overload(_narrow, inline="always")
def _narrow_as(value, like):
    if like == types.uint16:

        def rounded(value, like):
            bits = np.float32(value).view(np.uint32)
            return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))

        return rounded
    return lambda value, like: value


@njit
def _vector(address, size, dtype):
    return carray(_pointer(address), size, dtype)


@njit
def _fold(sums, total):
    """Add a tile's sums to those of its channels, and start them anew."""
    channels = len(total)
    for at in range(0, len(sums), channels):
        for channel in range(channels):
            total[channel] += sums[at + channel]
    sums[:] = 0


@njit
def _own_tiles(job):
    """The first tile of this thread, the one behind its last, and values in a tile."""
    height = max(1, TILE // job[CHANNELS])
    tiles = (job[ROWS] + height - 1) // height
    thread, threads = np.int64(_thread_number()), job[THREADS]
    return tiles * thread // threads, tiles * (thread + 1) // threads, height * job[CHANNELS]


@njit
def _add_squares(part, shift, sums, squares):
    for j in range(len(part)):
        value = _widen(part[j]) - shift[j]
        sums[j] += value
        squares[j] += value * value


@njit
def _scale(part, factor, offset, out):
    for j in range(len(part)):
        out[j] = _narrow(_widen(part[j]) * factor[j] + offset[j], out[j])


@njit
def _scale_relu(part, factor, offset, out):
    for j in range(len(part)):
        out[j] = _narrow(_positive(_widen(part[j]) * factor[j] + offset[j]), out[j])


@njit
def _scale_add_relu(part, factor, offset, residual, out):
    for j in range(len(part)):
        out[j] = _narrow(_positive(_widen(part[j]) * factor[j] + offset[j] + _widen(residual[j])), out[j])


@njit
def _positive(value):
    return np.float32(0) if value < 0 else value  # a NaN stays one


@njit
def _forward(job, dtype):
    rows, channels, thread = job[ROWS], job[CHANNELS], np.int64(_thread_number())
    size = rows * channels
    first, last, width = _own_tiles(job)
    values = _vector(job[INPUT], size, dtype)
    partial = carray(_pointer(job[PARTIAL]), (job[THREADS], 2, channels), np.float64)
    partial[thread] = 0
    # Sums of differences from one value a channel: no cancellation where a mean is far from zero.
    shift, sums, squares = np.empty(width, np.float32), np.zeros(width, np.float32), np.zeros(width, np.float32)
    for j in range(width):
        shift[j] = _widen(values[j % channels])
    for tile in range(first, last):
        _add_squares(values[tile * width : min(tile * width + width, size)], shift, sums, squares)
        if (tile - first) % FLUSH == FLUSH - 1 or tile == last - 1:
            _fold(sums, partial[thread, 0])
            _fold(squares, partial[thread, 1])
    _wait_for_all()

    weight, bias = _vector(job[WEIGHT], channels, np.float32), _vector(job[BIAS], channels, np.float32)
    numbers = _vector(job[EPSILON_AND_MOMENTUM], 2, np.float64)
    means, scales = _vector(job[MEAN], channels, np.float32), _vector(job[SCALE], channels, np.float32)
    running_mean = _vector(job[RUNNING_MEAN], channels, np.float32)
    running_var = _vector(job[RUNNING_VAR], channels, np.float32)
    factor, offset = sums, squares
    for channel in range(channels):
        mean, variance = 0.0, 0.0
        for other in range(job[THREADS]):
            mean += partial[other, 0, channel]
            variance += partial[other, 1, channel]
        mean /= rows
        variance = max(variance / rows - mean * mean, 0.0)
        mean += shift[channel]
        scale = 1 / np.sqrt(variance + numbers[0])
        factor[channel] = scale * weight[channel]
        offset[channel] = bias[channel] - mean * scale * weight[channel]
        if thread == 0:
            means[channel], scales[channel] = mean, scale
            running_mean[channel] += numbers[1] * (mean - running_mean[channel])
            running_var[channel] += numbers[1] * (variance * rows / (rows - 1) - running_var[channel])
    for j in range(channels, width):
        factor[j], offset[j] = factor[j - channels], offset[j - channels]

    _normalise(job, dtype, factor, offset)


@njit
def _evaluate(job, dtype):
    width, channels = _own_tiles(job)[2], job[CHANNELS]
    weight, bias = _vector(job[WEIGHT], channels, np.float32), _vector(job[BIAS], channels, np.float32)
    numbers = _vector(job[EPSILON_AND_MOMENTUM], 2, np.float64)
    running_mean = _vector(job[RUNNING_MEAN], channels, np.float32)
    running_var = _vector(job[RUNNING_VAR], channels, np.float32)
    factor, offset = np.empty(width, np.float32), np.empty(width, np.float32)
    for j in range(width):
        channel = j % channels
        scale = weight[channel] / np.sqrt(running_var[channel] + numbers[0])
        factor[j], offset[j] = scale, bias[channel] - running_mean[channel] * scale
    _normalise(job, dtype, factor, offset)


@njit
def _normalise(job, dtype, factor, offset):
    """Write the output: per channel times a factor plus an offset, then what the job asks for."""
    size = job[ROWS] * job[CHANNELS]
    first, last, width = _own_tiles(job)
    values, output = _vector(job[INPUT], size, dtype), _vector(job[OUTPUT], size, dtype)
    residual = _vector(job[RESIDUAL], size if job[RESIDUAL] else 0, dtype)
    for tile in range(first, last):
        start, stop = tile * width, min(tile * width + width, size)
        part, out = values[start:stop], output[start:stop]
        if job[RESIDUAL]:
            _scale_add_relu(part, factor, offset, residual[start:stop], out)
        elif job[RELU]:
            _scale_relu(part, factor, offset, out)
        else:
            _scale(part, factor, offset, out)


# How ReLU's gradient is known: without ReLU it is one; where nothing was added before ReLU, the input says whether the
# sum was positive, and the output need not be read. Else the output says so, and the gradient that passes ReLU is
# written down, for the residual and for the second time that it is needed.


@njit
def _add_dots(part, gradient, sums, dots):
    for j in range(len(part)):
        value = _widen(gradient[j])
        sums[j] += value
        dots[j] += value * _widen(part[j])


@njit
def _add_dots_relu(part, gradient, factor, offset, sums, dots):
    for j in range(len(part)):
        before = _widen(part[j])
        value = _widen(gradient[j]) if before * factor[j] + offset[j] > 0 else np.float32(0)
        sums[j] += value
        dots[j] += value * before


@njit
def _add_dots_output(part, gradient, output, masked, sums, dots):
    for j in range(len(part)):
        value = _widen(gradient[j]) if _widen(output[j]) > 0 else np.float32(0)
        masked[j] = _narrow(value, masked[j])
        sums[j] += value
        dots[j] += value * _widen(part[j])


@njit
def _add_dots_both(part, gradient, second, output, masked, sums, dots):
    for j in range(len(part)):
        value = _widen(gradient[j]) + _widen(second[j]) if _widen(output[j]) > 0 else np.float32(0)
        masked[j] = _narrow(value, masked[j])
        sums[j] += value
        dots[j] += value * _widen(part[j])


@njit
def _combine(part, gradient, factor, slope, constant, out):
    for j in range(len(part)):
        out[j] = _narrow(_widen(gradient[j]) * factor[j] + _widen(part[j]) * slope[j] + constant[j], out[j])


@njit
def _combine_relu(part, gradient, factor, offset, slope, constant, out):
    for j in range(len(part)):
        before = _widen(part[j])
        value = _widen(gradient[j]) if before * factor[j] + offset[j] > 0 else np.float32(0)
        out[j] = _narrow(value * factor[j] + before * slope[j] + constant[j], out[j])


@njit
def _backward(job, dtype):
    rows, channels, thread = job[ROWS], job[CHANNELS], np.int64(_thread_number())
    size = rows * channels
    first, last, width = _own_tiles(job)
    values, gradients = _vector(job[INPUT], size, dtype), _vector(job[GRADIENT], size, dtype)
    seconds = _vector(job[SECOND_GRADIENT], size if job[SECOND_GRADIENT] else 0, dtype)
    outputs = _vector(job[OUTPUT], size if job[OUTPUT] else 0, dtype)
    masked = _vector(job[MASKED_GRADIENT], size if job[OUTPUT] else 0, dtype)
    partial = carray(_pointer(job[PARTIAL]), (job[THREADS], 2, channels), np.float64)
    partial[thread] = 0
    weight, bias = _vector(job[WEIGHT], channels, np.float32), _vector(job[BIAS], channels, np.float32)
    means, scales = _vector(job[MEAN], channels, np.float32), _vector(job[SCALE], channels, np.float32)
    factor, offset = np.empty(width, np.float32), np.empty(width, np.float32)
    for j in range(width):  # as the forward pass had them
        channel = j % channels
        factor[j] = scales[channel] * weight[channel]
        offset[j] = bias[channel] - means[channel] * scales[channel] * weight[channel]
    sums, dots = np.zeros(width, np.float32), np.zeros(width, np.float32)
    for tile in range(first, last):
        start, stop = tile * width, min(tile * width + width, size)
        part, gradient = values[start:stop], gradients[start:stop]
        if job[SECOND_GRADIENT]:
            _add_dots_both(part, gradient, seconds[start:stop], outputs[start:stop], masked[start:stop], sums, dots)
        elif job[OUTPUT]:
            _add_dots_output(part, gradient, outputs[start:stop], masked[start:stop], sums, dots)
        elif job[RELU]:
            _add_dots_relu(part, gradient, factor, offset, sums, dots)
        else:
            _add_dots(part, gradient, sums, dots)
        if (tile - first) % FLUSH == FLUSH - 1 or tile == last - 1:
            _fold(sums, partial[thread, 0])
            _fold(dots, partial[thread, 1])
    _wait_for_all()
    weight_gradient = _vector(job[WEIGHT_GRADIENT], channels, np.float32)
    bias_gradient = _vector(job[BIAS_GRADIENT], channels, np.float32)
    slope, constant = sums, dots
    for channel in range(channels):
        total, dot = 0.0, 0.0
        for other in range(job[THREADS]):
            total += partial[other, 0, channel]
            dot += partial[other, 1, channel]
        mean, scale = np.float64(means[channel]), np.float64(scales[channel])
        dot = (dot - mean * total) * scale
        slope[channel] = -weight[channel] * scale * scale * dot / rows
        constant[channel] = -weight[channel] * scale * (total - mean * scale * dot) / rows
        if thread == 0:
            weight_gradient[channel], bias_gradient[channel] = dot, total
    for j in range(channels, width):
        slope[j], constant[j] = slope[j - channels], constant[j - channels]

    input_gradients = _vector(job[INPUT_GRADIENT], size, dtype)
    for tile in range(first, last):
        start, stop = tile * width, min(tile * width + width, size)
        part, gradient, out = values[start:stop], gradients[start:stop], input_gradients[start:stop]
        if job[OUTPUT]:
            _combine(part, masked[start:stop], factor, slope, constant, out)
        elif job[RELU]:
            _combine_relu(part, gradient, factor, offset, slope, constant, out)
        else:
            _combine(part, gradient, factor, slope, constant, out)


def _forward_bfloat16(job):
    _forward(carray(job, len(WORDS)), np.uint16)


def _forward_float32(job):
    _forward(carray(job, len(WORDS)), np.float32)


def _evaluate_bfloat16(job):
    _evaluate(carray(job, len(WORDS)), np.uint16)


def _evaluate_float32(job):
    _evaluate(carray(job, len(WORDS)), np.float32)


def _backward_bfloat16(job):
    _backward(carray(job, len(WORDS)), np.uint16)


def _backward_float32(job):
    _backward(carray(job, len(WORDS)), np.float32)


_KERNELS = {
    ("forward", torch.bfloat16): _forward_bfloat16,
    ("forward", torch.float32): _forward_float32,
    ("evaluate", torch.bfloat16): _evaluate_bfloat16,
    ("evaluate", torch.float32): _evaluate_float32,
    ("backward", torch.bfloat16): _backward_bfloat16,
    ("backward", torch.float32): _backward_float32,
}
