// Bilinear upsampling of a map that is normalised and activated as it is read: the corners aligned, or asymmetric, as
// TensorFlow 1 resizes.
#pragma once

#include "norm.h"

namespace {

// A thread walks down a block of columns whose two activated source rows, in fp32, fit into the first-level cache.
constexpr int64_t BLOCK_CHANNELS = 128, BLOCK_FLOATS = 4096, BLOCK_COLUMNS = 512;

struct Upsampling {
  int64_t height, width, asymmetric;
};

struct Place {
  int32_t first, second;  // where in a row of the block
  float share;
};

struct Block {
  int64_t left, right;  // columns of the map
  int64_t channels;     // of the map's
  int64_t count;        // columns wanted
  Place places[BLOCK_COLUMNS];
};

// The block of up to BLOCK_COLUMNS columns of the window that begins at a column of it.
void place_block(Block& block, int64_t column, int64_t right, int64_t width, const Upsampling& upsampling) {
  Between found[BLOCK_COLUMNS];
  block.left = width, block.right = 0, block.count = 0;
  for (; column < right && block.count < BLOCK_COLUMNS; ++column) {
    const Between place = between(reflected(column, upsampling.width), width, upsampling.width, upsampling.asymmetric);
    const int64_t leftmost = smaller(block.left, place.first), beyond = larger(block.right, place.second + 1);
    if (block.count > 0 && (beyond - leftmost) * block.channels > BLOCK_FLOATS) break;
    block.left = leftmost, block.right = beyond;
    found[block.count++] = place;
  }
  for (int64_t k = 0; k < block.count; ++k)
    block.places[k] = {int32_t((found[k].first - block.left) * block.channels),
                       int32_t((found[k].second - block.left) * block.channels), found[k].share};
}

// A block's columns of rows [first, last) of the window. x: of one picture; out: from the block's first column on.
template <bool STREAM, class T>
void upsample_block(const Band& band, const Map<const T>& x, const Map<T>& out, const float* scales, const float* shifts,
                    float slope, const Upsampling& upsampling, const Window& window, int64_t first, int64_t last,
                    const Block& block) {
  alignas(64) float buffers[2][BLOCK_FLOATS];
  float *upper = buffers[0], *lower = buffers[1];
  int64_t upper_row = -1, lower_row = -1;

  auto activate = [&](float* to, int64_t source) {
    const T* from = x.at(0, source - band.first_row) + block.left * band.channels;
    for (int64_t column = block.left; column < block.right; ++column, from += band.channels, to += block.channels)
      each_group(block.channels, [&](int64_t c, auto lanes, auto group) {
        using V = decltype(lanes);
        for (int g = 0; g < group.value; ++g, c += LANES)
          store<false>(to + c, activated(load<V>(from + c), load<V>(scales + c), load<V>(shifts + c), slope));
      });
  };

  for (int64_t y = first; y < last; ++y) {
    const int64_t row = reflected(window.top + y, upsampling.height);
    const Between down = between(row, band.height, upsampling.height, upsampling.asymmetric);
    if (down.first != upper_row && (down.first == lower_row || down.second == upper_row)) {
      float* const other = upper;
      upper = lower, lower = other;
      const int64_t other_row = upper_row;
      upper_row = lower_row, lower_row = other_row;
    }
    if (down.first != upper_row) activate(upper, upper_row = down.first);
    if (down.share != 0 && down.second != lower_row) activate(lower, lower_row = down.second);
    const float *above = upper, *below = down.share != 0 ? lower : upper;
    T* const line = out.at(0, y);
    each_group(block.channels, [&](int64_t c, auto lanes, auto group) {
      using V = decltype(lanes);
      constexpr int G = group.value;
      V start[G], end[G], step[G];
      auto mix = [&](V(&values)[G], int64_t place) {
        for (int g = 0; g < G; ++g) {
          const V value = load<V>(above + place + c + g * LANES);
          values[g] = value + (load<V>(below + place + c + g * LANES) - value) * down.share;
        }
      };
      T* to = line + c;
      Place now{-1, -1, 0};
      for (int64_t k = 0; k < block.count; ++k, to += band.channels) {
        const Place next = block.places[k];
        if (next.first != now.first) {
          if (next.first == now.second)
            for (int g = 0; g < G; ++g) start[g] = end[g];
          else
            mix(start, next.first);
          mix(end, next.second);
          for (int g = 0; g < G; ++g) step[g] = end[g] - start[g];
          now = next;
        }
        for (int g = 0; g < G; ++g) store<STREAM>(to + g * LANES, start[g] + step[g] * next.share);
      }
    });
  }
}

template <bool STREAM, class T>
void upsample_pad_kernel(const Band& band, const Map<const T>& x, const Map<T>& out, const Norm& norm,
                         const Upsampling& upsampling, const Window& window, int64_t threads) {
  const int64_t rows = window.rows(), columns = window.columns(), channels = band.channels;
  const int64_t share = rows / (4 * larger(threads, 1)), step = larger(smaller(share, 64), 8);
  const int64_t chunks = (rows + step - 1) / step;
  each_unit(band.pictures * chunks, band.pictures * rows * columns * channels, threads, [&](int64_t unit, int64_t) {
    const int64_t n = unit / chunks, first = unit % chunks * step, last = smaller(first + step, rows);
    Block block;
    for (int64_t c = 0; c < channels; c += BLOCK_CHANNELS) {
      block.channels = smaller(BLOCK_CHANNELS, channels - c);
      const float* scales = norm.table + n * channels + c;
      const float* shifts = scales + band.pictures * channels;
      for (int64_t column = window.left; column < window.right; column += block.count) {
        place_block(block, column, window.right, band.columns, upsampling);
        const Map<const T> from{x.at(n, 0) + c, 0, x.row};
        const Map<T> to{out.at(n, 0) + (column - window.left) * channels + c, 0, out.row};
        upsample_block<STREAM>(band, from, to, scales, shifts, norm.slope, upsampling, window, first, last, block);
      }
    }
  });
}

template <class T>
int upsample_pad_checked(const Band& band, const Map<const T>& x, const Map<T>& out, const Norm& norm,
                         const Upsampling& upsampling, const Window& window, int64_t threads) {
  const bool there = reaches(window.top, window.bottom, upsampling.height, [&](int64_t index) {
    const Between place = between(index, band.height, upsampling.height, upsampling.asymmetric);
    return band.holds(place.first) && band.holds(place.second);
  });
  if (!there || !reaches(window.left, window.right, upsampling.width, anywhere)) return 1;
  fill_table(band, norm);
  if (streams(band, window, out))
    upsample_pad_kernel<true>(band, x, out, norm, upsampling, window, threads);
  else
    upsample_pad_kernel<false>(band, x, out, norm, upsampling, window, threads);
  return 0;
}

}  // namespace
