// Convolutions as they are defined, for what minimal filtering does not serve: 1 x 1, strides, few channels. The pixels
// that an output reads are laid side by side in the caches, a block of outputs at a time, and one GEMM multiplies them with
// the filters: Chellapilla, Puri & Simard, "High Performance Convolutional Neural Networks for Document Processing" (2006).
#pragma once

#include "convolution.h"

namespace {

constexpr int64_t BLOCK_PIXELS = 96;  // at most: their patches and products stay in the second-level cache

inline int64_t patch_floats(const Filters& filters) { return filters.side * filters.side * filters.channels_in; }

inline Blocks direct_blocks(const Filters& filters, const Target<float>& target) {
  const int64_t fit = SCRATCH_BYTES / int64_t(sizeof(float)) / (patch_floats(filters) + padded_columns(filters.channels));
  return Blocks(target.rows * target.columns, smaller(BLOCK_PIXELS, fit / KERNEL_ROWS * KERNEL_ROWS));
}

// weight: (channels, channels in, side, side). packed: panels, where padding is zero already.
inline void pack_direct(const Filters& filters, const float* weight, float* packed) {
  const int64_t taps = filters.side * filters.side, depth = patch_floats(filters);
  for (int64_t to = 0; to < filters.channels; ++to)
    for (int64_t from = 0; from < filters.channels_in; ++from)
      for (int64_t tap = 0; tap < taps; ++tap)
        packed[packed_place(tap * filters.channels_in + from, to, depth, filters.channels)] = *weight++;
}

inline void convolve_direct(const Convolution<float>& convolution, float* memory, Part* parts, int64_t threads) {
  const Filters& filters = convolution.filters;
  const Source<float>& source = convolution.source;
  const Target<float>& target = convolution.target;
  const int64_t depth = patch_floats(filters), channels = filters.channels, padded = padded_columns(channels);
  const Blocks blocks = direct_blocks(filters, target);
  each_unit(blocks.count, blocks.items * depth, threads, [&](int64_t unit, int64_t worker) {
    float* const patches = memory + worker * SCRATCH_BYTES / int64_t(sizeof(float));
    float* const products = patches + blocks.step * depth;
    const int64_t first = unit * blocks.step, count = smaller(blocks.step, blocks.items - first);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t row = (first + k) / target.columns, column = (first + k) % target.columns;
      lay_patch(source, row * filters.stride - source.above, column * filters.stride - source.left, filters.side,
                filters.channels_in, patches + k * depth);
    }
    gemm(whole_rows(count), depth, channels, patches, depth, filters.floats(), products, padded);
    Part all{0, 0, 0};
    for (int64_t k = 0; k < count; ++k) {
      const int64_t row = (first + k) / target.columns, column = (first + k) % target.columns;
      write_pixel(products + k * padded, channels, row, column, target, convolution.finish);
    }
    if (!parts) return;
    for (int64_t k = 0; k < count;) {
      const int64_t row = (first + k) / target.columns, column = (first + k) % target.columns;
      const int64_t columns = smaller(target.columns - column, count - k);
      all = merged(all, row_moments<float>(target.out.at(row, column), columns * channels));
      k += columns;
    }
    parts[unit] = all;
  });
}

}  // namespace
