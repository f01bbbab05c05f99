// Convolutions of stride 1 by Winograd's minimal filtering, a block of tiles at a time: patches are transformed into the
// caches, one GEMM for each of their points multiplies them with the filters, and what follows the convolution (bias,
// activation, residuals) is done as the outputs are transformed back. Nothing of a map's size is kept in between.
//
// A tile's outputs depend on its patch alone: neither on the block that it is in, nor on the thread.
#pragma once

#include "gemm.h"
#include "maps.h"
#include "threads.h"
#include "vectors.h"
#include "winograd.h"

namespace {

constexpr int64_t SCRATCH_BYTES = 1 << 20;  // a thread's
constexpr int64_t BLOCK_TILES = 24;         // at most: more make no GEMM faster
constexpr int64_t AHEAD = 2 * TILE;         // pixels: of rows this far apart the processor sees no stream to fetch
constexpr int64_t LINE = 16;                // floats of a cache line

// Rows and columns of pixels whose channels lie side by side; the strides are in elements.
template <class T>
struct Pixels {
  T* data;
  int64_t row, pixel;
  T* at(int64_t r, int64_t c) const { return data + r * row + c * pixel; }
};

struct Filters {
  int64_t channels_in, channels;
  const float* packed;
};

// alpha * act(x + bias) + beta * residual + gamma * residual2; where there is none of them, the pointer is null.
struct Finish {
  const float *bias, *slopes;
  float slope, alpha, beta, gamma;
  Pixels<const float> residual, residual2;
};

// The outputs of a block of tiles: rows of `across` tiles, of which the map has rows x columns pixels.
struct Target {
  Pixels<float> out;
  int64_t rows, columns, across;
};

struct Source {
  Pixels<const float> x;
  int64_t rows, columns, above, left;  // above, left: of x, what its first output reads
};

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

template <class Form>
int64_t packed_floats(int64_t channels_in, int64_t channels) {
  return Form::POINTS * Form::POINTS * channels_in * padded_columns(channels);
}

// weight: (channels, channels in, SIDE, SIDE). packed: (points, panels), where padding is zero already.
template <class Form>
void pack(int64_t channels_in, int64_t channels, const float* weight, float* packed) {
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
        for (int j = Form::POINTS - TILE; j < Form::POINTS; ++j) __builtin_prefetch(from + i * row + (j + AHEAD) * pixel + c);
  }
  for (; c < channels; ++c) transform_patch<Form, float>(from + c, row, pixel, to + c, plane);
}

// The patch whose first pixel is (top, left) of x, with zeros where it reaches beyond.
template <class Form>
void copy_patch(const Source& source, int64_t top, int64_t left, int64_t channels, float* to) {
  constexpr int N = Form::POINTS;
  for (int64_t y = top; y < top + N; ++y)
    for (int64_t x = left; x < left + N; ++x, to += channels) {
      if (y >= 0 && y < source.rows && x >= 0 && x < source.columns)
        std::memcpy(to, source.x.at(y, x), size_t(channels) * sizeof(float));
      else
        std::memset(to, 0, size_t(channels) * sizeof(float));
    }
}

template <class V>
inline void finish_tile(const V (&made)[TILE][TILE], int64_t c, int64_t top, int64_t left, const Target& target,
                        const Finish& finish) {
  const V bias = finish.bias ? load<V>(finish.bias + c) : V{};
  const V slope = finish.slopes ? load<V>(finish.slopes + c) : V{} + finish.slope;
  const int64_t rows = smaller(TILE, target.rows - top), columns = smaller(TILE, target.columns - left);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      const V sum = made[i][j] + bias;
      V value = (sum >= 0 ? sum : sum * slope) * finish.alpha;
      if (finish.residual.data) value += finish.beta * load<V>(finish.residual.at(top + i, left + j) + c);
      if (finish.residual2.data) value += finish.gamma * load<V>(finish.residual2.at(top + i, left + j) + c);
      store<false>(target.out.at(top + i, left + j) + c, value);
    }
}

template <class Form>
void finish_block(int64_t first, int64_t count, int64_t channels, const Scratch<Form>& scratch, const Target& target,
                  const Finish& finish) {
  for (int64_t t = 0; t < count; ++t) {
    const int64_t top = (first + t) / target.across * TILE, left = (first + t) % target.across * TILE;
    const float* const from = scratch.products + t * padded_columns(channels);
    for (int64_t c = 0; c < channels; c += LINE)
      for (int k = 0; k < TILE * TILE; ++k)
        __builtin_prefetch(target.out.at(top + k / TILE, left + AHEAD + k % TILE) + c, 1);
    auto run = [&](int64_t c, auto lanes) {
      using V = decltype(lanes);
      V made[TILE][TILE];
      transform_outputs<Form>(from + c, scratch.products_plane, made);
      finish_tile(made, c, top, left, target, finish);
    };
    int64_t c = 0;
    for (; c + LANES <= channels; c += LANES) run(c, Floats{});
    for (; c < channels; ++c) run(c, float{});
  }
}

// Returns 1 with nothing written if not even the fewest tiles of so many channels fit into the scratch.
template <class Form>
int convolve(const Source& source, const Filters& filters, const Target& target, const Finish& finish, float* memory,
             int64_t threads) {
  constexpr int N = Form::POINTS;
  const int64_t channels_in = filters.channels_in, channels = filters.channels, padded = padded_columns(channels);
  const int64_t tiles = (target.rows + TILE - 1) / TILE * target.across;
  const int64_t most = Scratch<Form>(filters, BLOCK_TILES, memory).tiles;
  if (most <= 0) return 1;
  const int64_t blocks = (tiles + most - 1) / most;
  auto whole = [](int64_t count) { return (count + KERNEL_ROWS - 1) / KERNEL_ROWS * KERNEL_ROWS; };
  const int64_t step = blocks ? whole((tiles + blocks - 1) / blocks) : 0;
  each_unit(blocks, target.rows * target.columns * channels * N, threads, [&](int64_t unit, int64_t worker) {
    const Scratch<Form> scratch(filters, step, memory + worker * SCRATCH_BYTES / int64_t(sizeof(float)));
    const int64_t first = unit * step, count = smaller(step, tiles - first);
    for (int64_t t = 0; t < count; ++t) {
      const int64_t top = (first + t) / target.across * TILE - source.above;
      const int64_t left = (first + t) % target.across * TILE - source.left;
      float* const to = scratch.patches + t * channels_in;
      if (top >= 0 && left >= 0 && top + N <= source.rows && left + N <= source.columns) {
        transform_patches<Form>(source.x.at(top, left), source.x.row, source.x.pixel, channels_in, to, scratch.patches_plane);
      } else {
        copy_patch<Form>(source, top, left, channels_in, scratch.edge);
        transform_patches<Form>(scratch.edge, N * channels_in, channels_in, channels_in, to, scratch.patches_plane);
      }
    }
    for (int64_t point = 0; point < N * N; ++point)
      gemm(whole(count), channels_in, channels, scratch.patches + point * scratch.patches_plane, channels_in,
           filters.packed + point * channels_in * padded, scratch.products + point * scratch.products_plane, padded);
    finish_block<Form>(first, count, channels, scratch, target, finish);
  });
  return 0;
}

}  // namespace
