// Mean and variance of maps, merged in one order whatever the threads.
#pragma once

#include "maps.h"
#include "threads.h"
#include "vectors.h"

namespace {

struct Part {
  double count, mean, squares;  // squares: the sum of squared deviations from the mean
};

// Chan, Golub, LeVeque: "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979).
inline Part merged(const Part& a, const Part& b) {
  const double count = a.count + b.count, apart = b.mean - a.mean;
  const double squares = a.squares + b.squares + apart * apart * (a.count * b.count / count);
  return {count, a.mean + apart * (b.count / count), squares};
}

// The sums of x - pivot and of its square, over a block that is short enough for fp32.
template <class T>
inline void sums(const T* x, int64_t count, float pivot, double& sum, double& squares) {
  constexpr int CHAINS = 4;
  Floats total[CHAINS] = {}, square[CHAINS] = {};
  int64_t i = 0;
  for (; i + CHAINS * LANES <= count; i += CHAINS * LANES)
    for (int k = 0; k < CHAINS; ++k) {
      const Floats off = load<Floats>(x + i + k * LANES) - pivot;
      total[k] += off;
      square[k] += off * off;
    }
  sum = squares = 0;
  for (int k = 0; k < CHAINS; ++k)
    for (int lane = 0; lane < LANES; ++lane) sum += total[k][lane], squares += square[k][lane];
  for (; i < count; ++i) {
    const double off = double(load<float>(x + i)) - pivot;
    sum += off, squares += off * off;
  }
}

// Deviations are taken from the mean of the block before, so that an offset does not cancel. Where the two are far
// apart, the variance that comes of that dwarfs the error.
template <class T>
Part row_moments(const T* x, int64_t count) {
  constexpr int64_t BLOCK = 4096, GUESS = 512;
  double sum, squares;
  const int64_t guess = smaller(count, GUESS);
  sums(x, guess, 0.f, sum, squares);
  float pivot = float(sum / double(guess));
  Part row{0, 0, 0};
  for (int64_t i = 0; i < count; i += BLOCK) {
    const int64_t length = smaller(BLOCK, count - i);
    sums(x + i, length, pivot, sum, squares);
    const double off = sum / double(length), rest = squares - sum * off;
    row = merged(row, {double(length), pivot + off, rest < 0 ? 0 : rest});
    pivot = float(pivot + off);
  }
  return row;
}

// out: mean and variance of all parts together.
inline void merge_parts(const Part* parts, int64_t count, double* out) {
  Part all{0, 0, 0};
  for (int64_t k = 0; k < count; ++k) all = merged(all, parts[k]);
  out[0] = all.mean;
  out[1] = all.squares / all.count;
}

template <class T>
int moments(const Band& band, const Map<const T>& x, Part* parts, double* out, int64_t threads) {
  const int64_t length = band.columns * band.channels, units = band.pictures * band.rows;
  each_unit(units, units * length, threads,
            [&](int64_t unit, int64_t) { parts[unit] = row_moments(x.at(unit / band.rows, unit % band.rows), length); });
  for (int64_t n = 0; n < band.pictures; ++n) merge_parts(parts + n * band.rows, band.rows, out + 2 * n);
  return 0;
}

}  // namespace
