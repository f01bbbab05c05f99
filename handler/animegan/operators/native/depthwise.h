// Convolutions of each channel alone, a tile of outputs at a time, whose rows of inputs stay in the second-level cache.
#pragma once

#include "convolution.h"

namespace {

constexpr int64_t TILE_HEIGHT = 16, TILE_FLOATS = 1 << 14;  // of a row of a tile

struct Tiles {
  int64_t width, across, count;

  template <class T>
  explicit Tiles(const Convolution<T>& convolution)
      : width(larger(1, TILE_FLOATS / convolution.filters.channels)),
        across((convolution.target.columns + width - 1) / width),
        count((convolution.target.rows + TILE_HEIGHT - 1) / TILE_HEIGHT * across) {}
};

// weight: (channels, 1, side, side). packed: (side, side, channels).
inline void pack_depthwise(const Filters& filters, const float* weight, float* packed) {
  const int64_t taps = filters.side * filters.side;
  for (int64_t c = 0; c < filters.channels; ++c)
    for (int64_t tap = 0; tap < taps; ++tap) packed[tap * filters.channels + c] = *weight++;
}

// The rows and columns [first, last) of a filter that lie on the map where it begins there.
struct Taps {
  int64_t first, last;
  Taps(int64_t start, int64_t side, int64_t size) : first(larger(0, -start)), last(smaller(side, size - start)) {}
};

template <class V, int G, class T>
inline void weigh(const Pixels<const T>& x, int64_t top, int64_t left, const Taps& rows, const Taps& columns, int64_t side,
                  const float* packed, int64_t channels, int64_t c, V (&sum)[G]) {
  for (int g = 0; g < G; ++g) sum[g] = V{};
  for (int64_t i = rows.first; i < rows.last; ++i)
    for (int64_t j = columns.first; j < columns.last; ++j) {
      const T* const value = x.at(top + i, left + j) + c;
      const float* const weight = packed + (i * side + j) * channels + c;
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) sum[g] += load<V>(value + g * LANES) * load<V>(weight + g * LANES);
    }
}

template <class T>
void convolve_depthwise(const Convolution<T>& convolution, Part* parts, int64_t threads) {
  const Filters& filters = convolution.filters;
  const Source<T>& source = convolution.source;
  const Target<T>& target = convolution.target;
  const int64_t channels = filters.channels, side = filters.side;
  const Tiles tiles(convolution);
  each_unit(tiles.count, target.rows * target.columns * channels, threads, [&](int64_t unit, int64_t) {
    const int64_t top = unit / tiles.across * TILE_HEIGHT, bottom = smaller(top + TILE_HEIGHT, target.rows);
    const int64_t left = unit % tiles.across * tiles.width, right = smaller(left + tiles.width, target.columns);
    Part all{0, 0, 0};
    for (int64_t row = top; row < bottom; ++row) {
      const int64_t y = row * filters.stride - source.above;
      const Taps down(y, side, source.rows);
      for (int64_t column = left; column < right; ++column) {
        const int64_t x = column * filters.stride - source.left;
        const Taps along(x, side, source.columns);
        each_group(channels, [&](int64_t c, auto lanes, auto group) {
          using V = decltype(lanes);
          constexpr int G = group.value;
          V sum[G];
          weigh<V, G, T>(source.x, y, x, down, along, side, filters.floats(), channels, c, sum);
          for (int g = 0; g < G; ++g, c += LANES)
            Ending<V>(convolution.finish, c).write(sum[g], c, row, column, target, convolution.finish);
        });
      }
      if (parts) all = merged(all, row_moments<T>(target.out.at(row, left), (right - left) * channels));
    }
    if (parts) parts[unit] = all;
  });
}

}  // namespace
