// Convolutions of stride 1 by Winograd's minimal filtering, a block of tiles at a time: patches are transformed into the
// caches, one GEMM for each of their points multiplies them with the filters, and what follows the convolution is done as
// the outputs are transformed back. Nothing of a map's size is kept in between.
//
// A tile's outputs depend on its patch alone: neither on the block that it is in, nor on the thread.
#pragma once

#include "convolution.h"
#include "winograd.h"

namespace {

constexpr int64_t BLOCK_TILES = 24;  // at most: more make no GEMM faster
constexpr int64_t AHEAD = 2 * TILE;  // pixels: of rows this far apart the processor sees no stream to fetch

// A thread's share of memory: the planes of transformed patches and of products, and a patch with zeros around the map.
template <class Form>
struct Scratch {
  static constexpr int64_t PLANES = Form::POINTS * Form::POINTS;
  int64_t tiles, patches_plane, products_plane;
  float *patches, *products, *edge;

  // An odd number of cache lines, so that a tile's values in all planes do not meet in a set of the cache.
  static int64_t plane(int64_t floats) { return ((floats + 15) / 16 | 1) * 16; }

  Scratch(const Filters& filters, int64_t wanted, float* memory) {
    const int64_t columns = padded_columns(filters.channels);
    for (tiles = wanted;; tiles -= KERNEL_ROWS) {
      patches_plane = plane(tiles * filters.channels_in), products_plane = plane(tiles * columns);
      patches = memory, products = patches + PLANES * patches_plane, edge = products + PLANES * products_plane;
      if (tiles <= 0 || (edge + PLANES * filters.channels_in - memory) * int64_t(sizeof(float)) <= SCRATCH_BYTES) return;
    }
  }
};

// weight: (channels, channels in, SIDE, SIDE). packed: (points, panels), where padding is zero already.
template <class Form>
void pack_filtering(int64_t channels_in, int64_t channels, const float* weight, float* packed) {
  constexpr int N = Form::POINTS;
  const int64_t plane = channels_in * padded_columns(channels);
  for (int64_t to = 0; to < channels; ++to)
    for (int64_t from = 0; from < channels_in; ++from, weight += Form::SIDE * Form::SIDE) {
      double transformed[N][N];
      transform_filter<Form>(weight, transformed);
      float* const place = packed + packed_place(from, to, channels_in, channels);
      for (int point = 0; point < N * N; ++point) place[point * plane] = float(transformed[point / N][point % N]);
    }
}

template <class Form>
__attribute__((noinline)) void transform_patches(const float* from, int64_t row, int64_t pixel, int64_t channels, float* to,
                                                 int64_t plane) {
  int64_t c = 0;
  for (; c + LANES <= channels; c += LANES) {
    transform_patch<Form, Floats>(from + c, row, pixel, to + c, plane);
    if (c % LINE == 0)
      for (int i = 0; i < Form::POINTS; ++i)
        for (int j = Form::POINTS - TILE; j < Form::POINTS; ++j)
          __builtin_prefetch(from + i * row + (j + AHEAD) * pixel + c);
  }
  for (; c < channels; ++c) transform_patch<Form, float>(from + c, row, pixel, to + c, plane);
}

template <class V>
inline void finish_tile(const V (&tile)[TILE][TILE], int64_t c, int64_t top, int64_t left, const Target<float>& target,
                        const Finish<float>& finish) {
  const Ending<V> ending(finish, c);
  const int64_t rows = smaller(TILE, target.rows - top), columns = smaller(TILE, target.columns - left);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) ending.write(tile[i][j], c, top + i, left + j, target, finish);
}

template <class Form>
void finish_block(int64_t first, int64_t count, int64_t across, int64_t channels, const Scratch<Form>& scratch,
                  const Target<float>& target, const Finish<float>& finish) {
  for (int64_t t = 0; t < count; ++t) {
    const int64_t top = (first + t) / across * TILE, left = (first + t) % across * TILE;
    const float* const from = scratch.products + t * padded_columns(channels);
    for (int64_t c = 0; c < channels; c += LINE)
      for (int k = 0; k < TILE * TILE; ++k)
        __builtin_prefetch(target.out.at(top + k / TILE, left + AHEAD + k % TILE) + c, 1);
    auto run = [&](int64_t c, auto lanes) {
      using V = decltype(lanes);
      V tile[TILE][TILE];
      transform_outputs<Form>(from + c, scratch.products_plane, tile);
      finish_tile(tile, c, top, left, target, finish);
    };
    int64_t c = 0;
    for (; c + LANES <= channels; c += LANES) run(c, Floats{});
    for (; c < channels; ++c) run(c, float{});
  }
}

// The moments of a block's outputs, which still lie in the caches.
inline Part block_moments(int64_t first, int64_t count, int64_t across, int64_t channels, const Target<float>& target) {
  Part all{0, 0, 0};
  for (int64_t t = first; t < first + count;) {
    const int64_t top = t / across * TILE, next = smaller((t / across + 1) * across, first + count);
    const int64_t left = t % across * TILE, columns = smaller(left + (next - t) * TILE, target.columns) - left;
    for (int64_t i = top; i < smaller(top + TILE, target.rows); ++i)
      all = merged(all, row_moments<float>(target.out.at(i, left), columns * channels));
    t = next;
  }
  return all;
}

template <class Form>
Blocks filtering_blocks(const Filters& filters, const Target<float>& target) {
  const int64_t across = (target.columns + TILE - 1) / TILE, tiles = (target.rows + TILE - 1) / TILE * across;
  return Blocks(tiles, Scratch<Form>(filters, BLOCK_TILES, nullptr).tiles);
}

template <class Form>
void convolve_filtering(const Convolution<float>& convolution, float* memory, Part* parts, int64_t threads) {
  constexpr int N = Form::POINTS;
  const Source<float>& source = convolution.source;
  const Filters& filters = convolution.filters;
  const Target<float>& target = convolution.target;
  const int64_t channels_in = filters.channels_in, channels = filters.channels, padded = padded_columns(channels);
  const int64_t across = (target.columns + TILE - 1) / TILE;
  const Blocks blocks = filtering_blocks<Form>(filters, target);
  each_unit(blocks.count, target.rows * target.columns * channels * N, threads, [&](int64_t unit, int64_t worker) {
    const Scratch<Form> scratch(filters, blocks.step, memory + worker * SCRATCH_BYTES / int64_t(sizeof(float)));
    const int64_t first = unit * blocks.step, count = smaller(blocks.step, blocks.items - first);
    for (int64_t t = 0; t < count; ++t) {
      const int64_t top = (first + t) / across * TILE - source.above, left = (first + t) % across * TILE - source.left;
      float* const to = scratch.patches + t * channels_in;
      if (source.holds(top, left, N, N)) {
        transform_patches<Form>(source.x.at(top, left), source.x.row, source.x.pixel, channels_in, to,
                                scratch.patches_plane);
      } else {
        copy_patch(source, top, left, N, N, channels_in, scratch.edge);
        transform_patches<Form>(scratch.edge, N * channels_in, channels_in, channels_in, to, scratch.patches_plane);
      }
    }
    for (int64_t point = 0; point < N * N; ++point)
      gemm(whole_rows(count), channels_in, channels, scratch.patches + point * scratch.patches_plane, channels_in,
           filters.floats() + point * channels_in * padded, scratch.products + point * scratch.products_plane, padded);
    finish_block<Form>(first, count, across, channels, scratch, target, convolution.finish);
    if (parts) parts[unit] = block_moments(first, count, across, channels, target);
  });
}

}  // namespace
