// What the convolutions share: the maps that they read and write, what follows them, and the blocks of outputs that a
// thread's share of memory holds.
#pragma once

#include "gemm.h"
#include "maps.h"
#include "moments.h"
#include "threads.h"
#include "vectors.h"

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

// (channels, channels in / groups, side, side), packed as `kind` reads them.
struct Filters {
  int64_t kind, side, stride, channels_in, channels;
  const float* packed;
};

struct Source {
  Pixels<const float> x;
  int64_t rows, columns, above, left;  // above, left: of x, what its first output reads
  bool holds(int64_t top, int64_t start, int64_t side) const {
    return top >= 0 && start >= 0 && top + side <= rows && start + side <= columns;
  }
};

struct Target {
  Pixels<float> out;
  int64_t rows, columns;
};

// alpha * act(x + bias) + beta * residual + gamma * residual2; where there is none of them, the pointer is null.
struct Finish {
  const float *bias, *slopes;
  Pixels<const float> residual, residual2;
  float slope, alpha, beta, gamma;
};

struct Convolution {
  Filters filters;
  Source source;
  Target target;
  Finish finish;
};

// What follows a convolution, of the channels that a vector holds from c on.
template <class V>
struct Ending {
  V bias, slope;

  Ending(const Finish& finish, int64_t c)
      : bias(finish.bias ? load<V>(finish.bias + c) : V{}),
        slope(finish.slopes ? load<V>(finish.slopes + c) : V{} + finish.slope) {}

  void write(const V& x, int64_t c, int64_t row, int64_t column, const Target& target, const Finish& finish) const {
    const V sum = x + bias;
    V value = (sum >= 0 ? sum : sum * slope) * finish.alpha;
    if (finish.residual.data) value += finish.beta * load<V>(finish.residual.at(row, column) + c);
    if (finish.residual2.data) value += finish.gamma * load<V>(finish.residual2.at(row, column) + c);
    store<false>(target.out.at(row, column) + c, value);
  }
};

inline int64_t whole_rows(int64_t count) { return (count + KERNEL_ROWS - 1) / KERNEL_ROWS * KERNEL_ROWS; }

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
inline void copy(const float* from, int64_t count, float* to) {
  if (count < LANES) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
    return;
  }
  for (int64_t i = 0; i + LANES <= count; i += LANES) store<false>(to + i, load<Floats>(from + i));
  store<false>(to + count - LANES, load<Floats>(from + count - LANES));
}

// `side` rows and columns of pixels of x from (top, left) on, side by side; zeros where they reach beyond it.
inline void copy_patch(const Source& source, int64_t top, int64_t left, int64_t side, int64_t channels, float* to) {
  for (int64_t y = top; y < top + side; ++y)
    for (int64_t x = left; x < left + side; ++x, to += channels) {
      if (y >= 0 && y < source.rows && x >= 0 && x < source.columns)
        copy(source.x.at(y, x), channels, to);
      else
        for (int64_t c = 0; c < channels; ++c) to[c] = 0;
    }
}

}  // namespace
