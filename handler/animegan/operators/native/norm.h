// Norm and activation: GroupNorm of one group (Wu & He 2018), as a scale and a shift of each channel, then LeakyReLU.
// With it, the window that the next convolution reads: reflected at the map's edges, a residual added.
#pragma once

#include "maps.h"
#include "threads.h"
#include "vectors.h"

namespace {

struct Norm {
  const double *moments, *weight, *bias;
  float* table;  // room for (2, pictures, channels): scales, then shifts
  float slope;
  double eps;
};

void fill_table(const Band& band, const Norm& norm) {
  float *scales = norm.table, *shifts = norm.table + band.pictures * band.channels;
  for (int64_t n = 0; n < band.pictures; ++n) {
    const double mean = norm.moments[2 * n], inverse = 1 / __builtin_sqrt(norm.moments[2 * n + 1] + norm.eps);
    for (int64_t c = 0; c < band.channels; ++c) {
      const double scale = norm.weight[c] * inverse;
      *scales++ = float(scale);
      *shifts++ = float(norm.bias[c] - mean * scale);
    }
  }
}

template <class V>
inline V activated(V x, V scale, V shift, float slope) {
  const V wide = x * scale + shift;
  return wide >= 0 ? wide : wide * slope;
}

// Whether what is written is better streamed: it would not stay in the caches until it is read.
template <class T>
bool streams(const Band& band, const Window& window, const Map<T>& out) {
  constexpr int64_t BYTES = 8 << 20;
  const int64_t elements = band.pictures * band.channels * window.rows() * window.columns();
  const int64_t apart = band.channels | out.row | (band.pictures > 1 ? out.picture : 0);  // aligned if all are
  return elements * int64_t(sizeof(T)) > BYTES && apart % LANES == 0 && reinterpret_cast<uintptr_t>(out.data) % 64 == 0;
}

template <bool STREAM, class T>
void norm_act_pad_kernel(const Band& band, const Map<const T>& x, const Map<const T>& residual, const Map<T>& out,
                         const Norm& norm, const Window& window, int64_t threads) {
  const int64_t channels = band.channels, columns = window.columns(), rows = window.rows();
  const int64_t inner_left = smaller(larger(window.left, 0), window.right);
  const int64_t inner_right = larger(smaller(window.right, band.columns), inner_left);
  const float slope = norm.slope;
  each_unit(band.pictures * rows, band.pictures * rows * columns * channels, threads, [&](int64_t unit, int64_t) {
    const int64_t n = unit / rows, source = reflected(window.top + unit % rows, band.height) - band.first_row;
    const float* scales = norm.table + n * channels;
    const float* shifts = scales + band.pictures * channels;
    const T* from = x.at(n, source);
    const T* more = residual.data ? residual.at(n, source) : nullptr;
    T* const to = out.at(n, unit % rows);
    auto run = [&](int64_t column, int64_t count) {  // pixels that lie side by side in the map and in the window
      const int64_t start = reflected(column, band.columns) * channels, target = (column - window.left) * channels;
      for (int64_t at = 0; at < count * channels; at += channels)
        each_group(channels, [&](int64_t c, auto lanes, auto group) {
          using V = decltype(lanes);
          for (int g = 0; g < group.value; ++g, c += LANES) {
            V value = activated(load<V>(from + start + at + c), load<V>(scales + c), load<V>(shifts + c), slope);
            if (more) value += load<V>(more + start + at + c);
            store<STREAM>(to + target + at + c, value);
          }
        });
    };
    for (int64_t column = window.left; column < inner_left; ++column) run(column, 1);
    run(inner_left, inner_right - inner_left);
    for (int64_t column = inner_right; column < window.right; ++column) run(column, 1);
  });
}

template <class T>
int norm_act_pad_checked(const Band& band, const Map<const T>& x, const Map<const T>& residual, const Map<T>& out,
                         const Norm& norm, const Window& window, int64_t threads) {
  if (!reaches(window.top, window.bottom, band.height, [&](int64_t row) { return band.holds(row); }) ||
      !reaches(window.left, window.right, band.columns, anywhere))
    return 1;
  fill_table(band, norm);
  if (streams(band, window, out))
    norm_act_pad_kernel<true>(band, x, residual, out, norm, window, threads);
  else
    norm_act_pad_kernel<false>(band, x, residual, out, norm, window, threads);
  return 0;
}

}  // namespace
