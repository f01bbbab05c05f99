// Convolutions in bf16 as they are defined: the processor multiplies 16 bits so fast that minimal filtering, which would
// cost precision here, gains nothing. 32 outputs of a row at a time are one product of the pixels where they lie.
#pragma once

#include "convolution.h"
#include "gemm16.h"

namespace {

constexpr int64_t SEGMENT = 128;  // outputs of a row that are one unit of work

inline int64_t padded(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

// How a convolution's filters are laid out, and what a thread needs to multiply with them.
struct Layout16 {
  bool in_place;  // pixels fill tiles; else a patch's are laid side by side
  int64_t depth, columns, across, patch_bytes;

  explicit Layout16(const Filters& filters)
      : in_place(filters.channels_in % DEPTH_16 == 0),
        depth(padded(filters.side * filters.side * filters.channels_in, DEPTH_16)),
        columns(padded(filters.channels, PANEL_16)),
        across((ROWS_16 - 1) * filters.stride + filters.side),
        patch_bytes(int64_t(sizeof(Bf16)) * (in_place ? filters.side * across * filters.channels_in : ROWS_16 * depth)) {}

  int64_t product_bytes() const { return ROWS_16 * columns * int64_t(sizeof(float)); }
  bool fits() const { return padded(patch_bytes, 64) + product_bytes() <= SCRATCH_BYTES; }
};

inline Blocks direct_blocks_16(const Filters& filters, const Target<Bf16>& target) {
  const int64_t segments = (target.columns + SEGMENT - 1) / SEGMENT;
  return Blocks::of_one(Layout16(filters).fits() ? target.rows * segments : 0);
}

// weight: (channels, channels in, side, side). packed: zeros.
inline void pack_direct_16(const Filters& filters, const float* weight, Bf16* packed) {
  const int64_t taps = filters.side * filters.side;
  const Layout16 layout(filters);
  for (int64_t to = 0; to < filters.channels; ++to)
    for (int64_t from = 0; from < filters.channels_in; ++from)
      for (int64_t tap = 0; tap < taps; ++tap)
        packed[packed_place_16(tap * filters.channels_in + from, to, layout.depth)] = narrowed(*weight++);
}

// What the outputs [left, left + count) of a row read; laid into `patch` where they do not lie on the map, or not aptly.
inline Pixels16 lay_pixels(const Source<Bf16>& source, const Filters& filters, const Layout16& layout, int64_t row,
                           int64_t left, int64_t count, Bf16* patch) {
  const int64_t side = filters.side, channels = filters.channels_in;
  const int64_t top = row * filters.stride - source.above, start = left * filters.stride - source.left;
  if (layout.in_place) {
    if (source.holds(top, start, side, layout.across))
      return {source.x.at(top, start), side, source.x.row, source.x.pixel, filters.stride * source.x.pixel, channels};
    copy_patch(source, top, start, side, layout.across, channels, patch);
    return {patch, side, layout.across * channels, channels, filters.stride * channels, channels};
  }
  const int64_t values = side * side * channels;
  for (int64_t k = 0; k < count; ++k) {
    Bf16* const to = patch + k * layout.depth;
    lay_patch(source, top, start + k * filters.stride, side, channels, to);
    for (int64_t i = values; i < layout.depth; ++i) to[i] = Bf16{};
  }
  return {patch, 1, 0, 0, layout.depth, layout.depth};
}

inline void convolve_direct_16(const Convolution<Bf16>& convolution, void* memory, Part* parts, int64_t threads) {
  const Filters& filters = convolution.filters;
  const Target<Bf16>& target = convolution.target;
  const Layout16 layout(filters);
  const int64_t channels = filters.channels, segments = (target.columns + SEGMENT - 1) / SEGMENT;
  const int64_t work = target.rows * target.columns * layout.depth;
  each_unit(target.rows * segments, work, threads, [&](int64_t unit, int64_t worker) {
    float* const products = reinterpret_cast<float*>(static_cast<char*>(memory) + worker * SCRATCH_BYTES);
    Bf16* const patch = reinterpret_cast<Bf16*>(products + ROWS_16 * layout.columns);
    const int64_t row = unit / segments, first = unit % segments * SEGMENT;
    const int64_t last = smaller(first + SEGMENT, target.columns);
    const Tiles16 tiles;
    for (int64_t left = first; left < last; left += ROWS_16) {
      const int64_t count = smaller(ROWS_16, last - left);
      const Pixels16 pixels = lay_pixels(convolution.source, filters, layout, row, left, count, patch);
      gemm_16(pixels, static_cast<const Bf16*>(filters.packed), layout.columns, products, layout.columns);
      for (int64_t k = 0; k < count; ++k)
        write_pixel(products + k * layout.columns, channels, row, left + k, target, convolution.finish);
    }
    if (parts) parts[unit] = row_moments<Bf16>(target.out.at(row, first), (last - first) * channels);
  });
}

}  // namespace
