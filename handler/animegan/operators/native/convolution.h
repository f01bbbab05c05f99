// What the convolutions share: the maps that they read and write, what follows them, and the blocks of outputs that a
// thread's share of memory holds.
#pragma once

#include "gemm.h"
#include "maps.h"
#include "moments.h"
#include "threads.h"
#include "vectors.h"

#include <type_traits>

namespace {

constexpr int64_t SCRATCH_BYTES = 1 << 20;  // a thread's
constexpr int64_t LINE = 16;                // floats of a cache line

// Rows and columns of pixels whose channels lie side by side; the strides are in elements.
template <class T>
struct Pixels {
  T* data;
  int64_t row, pixel;
  T* at(int64_t r, int64_t c) const { return data + r * row + c * pixel; }
};

// (channels, channels in / groups, side, side), packed as `kind` reads them. The maps are of bf16, or of fp32.
struct Filters {
  int64_t bf16, kind, side, stride, channels_in, channels;
  const void* packed;
  const float* floats() const { return static_cast<const float*>(packed); }
};

template <class T>
struct Source {
  Pixels<const T> x;
  int64_t rows, columns, above, left;  // above, left: of x, what its first output reads
  bool holds(int64_t top, int64_t start, int64_t down, int64_t across) const {
    return top >= 0 && start >= 0 && top + down <= rows && start + across <= columns;
  }
};

template <class T>
struct Target {
  Pixels<T> out;
  int64_t rows, columns;
};

// alpha * act(x + bias) + beta * residual + gamma * residual2; where there is none of them, the pointer is null.
template <class T>
struct Finish {
  const float *bias, *slopes;
  Pixels<const T> residual, residual2;
  float slope, alpha, beta, gamma;
};

template <class T>
struct Convolution {
  Filters filters;
  Source<T> source;
  Target<T> target;
  Finish<T> finish;
};

// What follows a convolution, of the channels that a vector holds from c on.
template <class V>
struct Ending {
  V bias, slope;

  template <class T>
  Ending(const Finish<T>& finish, int64_t c)
      : bias(finish.bias ? load<V>(finish.bias + c) : V{}),
        slope(finish.slopes ? load<V>(finish.slopes + c) : V{} + finish.slope) {}

  template <class T>
  void write(const V& x, int64_t c, int64_t row, int64_t column, const Target<T>& target, const Finish<T>& finish) const {
    const V sum = x + bias;
    V value = (sum >= 0 ? sum : sum * slope) * finish.alpha;
    if (finish.residual.data) value += finish.beta * load<V>(finish.residual.at(row, column) + c);
    if (finish.residual2.data) value += finish.gamma * load<V>(finish.residual2.at(row, column) + c);
    store<false>(target.out.at(row, column) + c, value);
  }
};

// Writes the outputs of a pixel, whose products lie side by side.
template <class T>
inline void write_pixel(const float* products, int64_t channels, int64_t row, int64_t column, const Target<T>& target,
                        const Finish<T>& finish) {
  each_group(channels, [&](int64_t c, auto lanes, auto group) {
    using V = decltype(lanes);
    for (int g = 0; g < group.value; ++g, c += LANES)
      Ending<V>(finish, c).write(load<V>(products + c), c, row, column, target, finish);
  });
}

inline int64_t whole_rows(int64_t count) { return padded(count, KERNEL_ROWS); }

// Items shared out evenly in blocks of at most `most`, whatever the threads. None fits if `most` is not positive.
struct Blocks {
  int64_t items, step = 0, count = 0;

  Blocks(int64_t items_, int64_t most) : items(items_) {
    if (most <= 0 || items <= 0) return;
    count = (items + most - 1) / most;
    step = whole_rows((items + count - 1) / count);
    count = (items + step - 1) / step;
  }
};

// The last vector covers what the others left, and some of what they copied.
template <class T>
inline void copy(const T* from, int64_t count, T* to) {
  using Lanes = std::conditional_t<std::is_same_v<T, float>, Floats, Halves>;
  auto move = [&](int64_t i) {
    Lanes lanes;
    std::memcpy(&lanes, from + i, sizeof lanes);
    std::memcpy(to + i, &lanes, sizeof lanes);
  };
  if (count < LANES) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
    return;
  }
  for (int64_t i = 0; i + LANES <= count; i += LANES) move(i);
  move(count - LANES);
}

// `down` rows and `across` columns of pixels of x from (top, left) on, side by side; zeros where they reach beyond it.
template <class T>
inline void copy_patch(const Source<T>& source, int64_t top, int64_t left, int64_t down, int64_t across, int64_t channels,
                       T* to) {
  for (int64_t y = top; y < top + down; ++y)
    for (int64_t x = left; x < left + across; ++x, to += channels) {
      if (y >= 0 && y < source.rows && x >= 0 && x < source.columns)
        copy(source.x.at(y, x), channels, to);
      else
        for (int64_t c = 0; c < channels; ++c) to[c] = T{};
    }
}

// Of a square.
template <class T>
inline void lay_patch(const Source<T>& source, int64_t top, int64_t left, int64_t side, int64_t channels, T* to) {
  if (source.x.pixel == channels && source.holds(top, left, side, side))
    for (int64_t y = 0; y < side; ++y) copy(source.x.at(top + y, left), side * channels, to + y * side * channels);
  else
    copy_patch(source, top, left, side, side, channels, to);
}

}  // namespace
