"""Cropping, scaling, mirroring and normalising an image in one pass, compiled by numba.

Bilinear with antialiasing, as Pillow's and torch's: an output pixel is the mean of the pixels under a triangle, as
wide as two input pixels, or as two output pixels where these are larger. Rows are mixed first, then columns, as
float32, rounded once. A call leaves Python's lock, works on one thread, and adds in an order of its own without fused
multiply-adds: neither threads nor the kind of CPU change a number. torch's uint8 kernel takes up to a third longer and
rounds twice, and what it gives still has to be mirrored, copied into the batch, and normalised.
"""

from collections import namedtuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

compiled = numba.njit(nogil=True, cache=True, error_model="numpy")

Count = np.uintp  # what is known not to be negative spares numba a look whether it counts from the end
HALF = np.float32(0.5)
LANES = 4  # values that `_mix` works on at a time: a pixel's, and some of the next one, which that one overwrites

# Of each of N outputs: the place of the first input that it looks at, how many they are (at most `most`), and their
# weights, `room` for each output. Inputs lie `apart`.
Taps = namedtuple("Taps", "first count weights room apart most")


@compiled
def crop(image, box, mirror, out):
    """`image`'s `box` scaled to the size of `out`, mirrored where `mirror` says so.

    `image` uint8 [H, W, C] and `out` uint8 [h, w, C] are contiguous, C is 1 or 3; `box` is (top, left, height, width).
    """
    height, width, channels = out.shape
    pixels, rows, columns, mixed, line = _start(image, box, mirror, height, width)
    target, length, size = out.reshape(-1), Count(width * channels), Count(box[3] * channels)
    for y in range(Count(height)):
        _line(pixels, size, rows, columns, y, mixed, line)
        for i in range(length):
            target[y * length + i] = np.uint8(np.int32(line[i] + HALF))


@compiled
def crop_normalised(image, box, mirror, scale, offset, planar, out):
    """As `crop`, then value · scale + offset: the very numbers that normalising what `crop` gives would give.

    `scale` and `offset` are float32 [C], `out` is float32 and contiguous: [C, h, w] if `planar`, else [h, w, C].
    """
    height, width = (out.shape[1], out.shape[2]) if planar else (out.shape[0], out.shape[1])
    channels = Count(image.shape[2])
    pixels, rows, columns, mixed, line = _start(image, box, mirror, height, width)
    target, length, size = out.reshape(-1), Count(width) * channels, Count(box[3]) * channels
    scales, offsets = _repeated(scale, length), _repeated(offset, length)
    for y in range(Count(height)):
        _line(pixels, size, rows, columns, y, mixed, line)
        if planar:
            for i in range(length):
                line[i] = np.float32(np.int32(line[i] + HALF)) * scales[i] + offsets[i]
            _part(line, channels, target, y * Count(width), Count(width), Count(height * width))
        else:
            for i in range(length):
                target[y * length + i] = np.float32(np.int32(line[i] + HALF)) * scales[i] + offsets[i]


@compiled
def _part(line, channels, target, start, width, apart):
    """A row of pixels to `width` values a channel, from `start` on, the channels `apart`."""
    if channels == 3:
        green, blue = start + apart, start + Count(2) * apart
        for x in range(width):
            target[start + x] = line[Count(3) * x]
            target[green + x] = line[Count(3) * x + Count(1)]
            target[blue + x] = line[Count(3) * x + Count(2)]
    else:
        for channel in range(channels):
            for x in range(width):
                target[start + channel * apart + x] = line[x * channels + channel]


@compiled
def _repeated(values, length):
    repeated = np.empty(length, np.float32)
    for i in range(repeated.size):
        repeated[i] = values[i % len(values)]
    return repeated


@compiled
def _start(image, box, mirror, height, width):
    """What a call works with: all in flat arrays, since a view made for every row takes a third of the time."""
    top, left, box_height, box_width = box
    channels = image.shape[2]
    stride = image.shape[1] * channels
    rows = _taps(box_height, height, top * stride + left * channels, stride, False)
    columns = _taps(box_width, width, 0, channels, mirror)
    spare = int(columns.room) * channels + LANES  # zeros that are read, with weight 0, beyond the right edge
    mixed, line = np.zeros(box_width * channels + spare, np.float32), np.empty(width * channels + LANES, np.float32)
    return image.reshape(-1), rows, columns, mixed, line


@compiled
def _taps(extent, size, start, apart, mirror):
    """What each of `size` outputs takes of `extent` inputs, which lie `apart` from `start` on."""
    step = extent / size
    reach = max(step, 1.0)
    slope, room = 1 / reach, int(2 * reach) + 2
    first, count = np.empty(size, np.uintp), np.empty(size, np.uintp)
    weights, heights = np.zeros(size * room, np.float32), np.empty(room)
    for i in range(size):
        centre = (i + 0.5) * step
        begin, end = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), extent)
        total = 0.0
        for k in range(end - begin):
            heights[k] = max(0.0, 1 - abs(begin + k + 0.5 - centre) * slope)
            total += heights[k]
        place, share = size - 1 - i if mirror else i, 1 / total
        first[place], count[place] = start + begin * apart, 1
        for k in range(end - begin):
            weights[place * room + k] = heights[k] * share
            if heights[k] > 0:
                count[place] = k + 1
    return Taps(first, count, weights, Count(room), Count(apart), count.max())


@compiled
def _line(pixels, size, rows, columns, y, mixed, line):
    """Row `y` of the output into `line`."""
    _mix_rows(pixels, rows.first[y], rows.apart, size, rows.weights, y * rows.room, rows.count[y], mixed)
    first, weights, room, most, channels = columns.first, columns.weights, columns.room, columns.most, columns.apart
    # Loops of their own for numbers that the compiler then knows: half of the time.
    outputs = Count(len(first))
    if channels == 3 and most <= 2:
        for x in range(outputs):
            _mix(line, x * Count(3), mixed, first[x], weights, x * room, Count(2), Count(3))
    elif channels == 3 and most == 3:
        for x in range(outputs):
            _mix(line, x * Count(3), mixed, first[x], weights, x * room, Count(3), Count(3))
    elif channels == 3 and most == 4:
        for x in range(outputs):
            _mix(line, x * Count(3), mixed, first[x], weights, x * room, Count(4), Count(3))
    else:
        for x in range(outputs):
            _mix(line, x * channels, mixed, first[x], weights, x * room, most, channels)


@compiled
def _mix_rows(pixels, start, apart, size, weights, weight, count, mixed):
    """`mixed` = the weighted sum of `count` rows of `size` values, which lie `apart`: the first three in one pass."""
    second, third = start + apart, start + Count(2) * apart
    above, below, last = weights[weight], weights[weight + Count(1)], weights[weight + Count(2)]
    if count == 1:
        for i in range(size):
            mixed[i] = np.float32(pixels[start + i])
    elif count == 2:
        for i in range(size):
            mixed[i] = np.float32(pixels[start + i]) * above + np.float32(pixels[second + i]) * below
    else:
        for i in range(size):
            two = np.float32(pixels[start + i]) * above + np.float32(pixels[second + i]) * below
            mixed[i] = two + np.float32(pixels[third + i]) * last
    for k in range(Count(3), count):
        more, factor = start + k * apart, weights[weight + k]
        for i in range(size):
            mixed[i] += np.float32(pixels[more + i]) * factor


@intrinsic
def _mix(typing, out, at, values, first, weights, weight, taps, step):
    """out[at : at + 4] = sum over k < taps of values[first + k · step : … + 4] · weights[weight + k].

    Written as vectors of four, which LLVM does not find in loops over three channels: those take 1.3 to 1.6 times as
    long for the whole call, with the same result (on a Xeon with AVX-512; 0.13 ms for a crop of 224 × 224).
    """
    pixel, index = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)

    def address(context, builder, type, array, place):
        return builder.gep(make_array(type)(context, builder, array).data, [place])

    def product(builder, values, weights, k, step):
        weight = builder.load(builder.gep(weights, [k]))
        weight = builder.insert_element(ir.Constant(pixel, ir.Undefined), weight, ir.IntType(32)(0))
        weight = builder.shuffle_vector(weight, weight, ir.Constant(index, [0] * LANES))
        place = builder.gep(values, [builder.mul(k, step)])
        return builder.fmul(builder.load(builder.bitcast(place, pixel.as_pointer()), align=4), weight)

    def generate(context, builder, signature, args):
        out, values, weights = (address(context, builder, signature.args[i], args[i], args[i + 1]) for i in (0, 2, 4))
        total = cgutils.alloca_once(builder, pixel)
        builder.store(product(builder, values, weights, ir.IntType(64)(0), args[7]), total)
        with cgutils.for_range(builder, args[6], start=ir.IntType(64)(1)) as loop:
            more = product(builder, values, weights, loop.index, args[7])
            builder.store(builder.fadd(builder.load(total), more), total)
        builder.store(builder.load(total), builder.bitcast(out, pixel.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(out, at, values, first, weights, weight, taps, step), generate
