// Minimal filtering of 4 x 4 outputs: Y = A' [ (G g G') * (B' d B) ] A, from a patch d by a filter g. Winograd (1980);
// Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2015).
//
// A polynomial is known by its values at as many points as it has coefficients, infinity among them: G evaluates the
// filter, B' the patch (transposed interpolation), A' sums up. The usual points are 0, 1, -1, 2, -2; with 3/4 and 3/2,
// whose powers are fp32 numbers, the error is half of theirs.
#pragma once

#include "vectors.h"

namespace {

constexpr float POINTS_OF[5][4] = {{}, {}, {0.75f, 1.5f}, {}, {0.375f, 0.75f, 1.25f, 1.5f}};  // by the number of pairs
constexpr float INNER = 0.75f, OUTER = 1.5f;
constexpr int TILE = 4;  // rows and columns of outputs

// G: for each point its powers over the product of its differences from the others; infinity's is the last power alone.
template <class Form>
struct Evaluation {
  double at[Form::POINTS][Form::SIDE]{};

  constexpr Evaluation() {
    constexpr int LAST = Form::POINTS - 1;
    for (int i = 0; i < LAST; ++i) {
      double value = 1;
      for (int j = 0; j < LAST; ++j)
        if (j != i) value /= Form::FINITE[i] - Form::FINITE[j];
      for (int k = 0; k < Form::SIDE; ++k, value *= Form::FINITE[i]) at[i][k] = value;
    }
    at[LAST][Form::SIDE - 1] = 1;
  }
};

// F(4 x 4, SIDE x SIDE) with PAIRS of points p and -p, which share their sums of even and of odd powers.
template <int SIDES, int PAIRS>
struct Pairs {
  static constexpr int SIDE = SIDES, POINTS = 2 * PAIRS + 2;
  static_assert(POINTS == TILE + SIDE - 1);

  struct Coefficients {
    double finite[POINTS - 1]{};
    float point[PAIRS]{}, all[PAIRS + 1]{}, others[PAIRS][PAIRS]{}, power[PAIRS][TILE]{};

    constexpr Coefficients() {
      for (int i = 0; i < PAIRS; ++i) {
        point[i] = POINTS_OF[PAIRS][i], finite[2 * i + 1] = point[i], finite[2 * i + 2] = -point[i];
        product(i, others[i], PAIRS);
        for (int k = 0; k < TILE; ++k) power[i][k] = k ? power[i][k - 1] * point[i] : 1;
      }
      product(PAIRS, all, PAIRS + 1);
    }

    // The product of (x^2 - p^2) over all pairs but one, by powers of x^2.
    constexpr void product(int left, float* to, int count) const {
      double sum[PAIRS + 2] = {1};
      for (int i = 0; i < PAIRS; ++i)
        if (i != left)
          for (int k = PAIRS; k >= 0; --k)
            sum[k] = (k ? sum[k - 1] : 0) - double(POINTS_OF[PAIRS][i]) * POINTS_OF[PAIRS][i] * sum[k];
      for (int k = 0; k < count; ++k) to[k] = float(sum[k]);
    }
  };
  static constexpr Coefficients WITH{};
  static constexpr const double (&FINITE)[POINTS - 1] = WITH.finite;

  // B': for 0 and infinity the product over all pairs, for p the others' times x (x + p).
  template <class V>
  static void patch(const V (&x)[POINTS], V (&to)[POINTS]) {
    to[0] = x[2 * PAIRS], to[POINTS - 1] = x[2 * PAIRS + 1];
#pragma GCC unroll 4
    for (int k = PAIRS - 1; k >= 0; --k) to[0] += WITH.all[k] * x[2 * k], to[POINTS - 1] += WITH.all[k] * x[2 * k + 1];
#pragma GCC unroll 4
    for (int i = 0; i < PAIRS; ++i) {
      V even = x[2 * PAIRS], odd = x[2 * PAIRS - 1];
#pragma GCC unroll 4
      for (int k = PAIRS - 2; k >= 0; --k)
        even += WITH.others[i][k] * x[2 * k + 2], odd += WITH.others[i][k] * x[2 * k + 1];
      to[2 * i + 1] = even + WITH.point[i] * odd;
      to[2 * i + 2] = even - WITH.point[i] * odd;
    }
  }

  // A': the powers of the points.
  template <class V>
  static void outputs(const V (&m)[POINTS], V (&to)[TILE]) {
    to[0] = m[0], to[1] = to[2] = V{}, to[TILE - 1] = m[POINTS - 1];
#pragma GCC unroll 4
    for (int i = 0; i < PAIRS; ++i) {
      const V even = m[2 * i + 1] + m[2 * i + 2], odd = m[2 * i + 1] - m[2 * i + 2];
#pragma GCC unroll 4
      for (int k = 0; k < TILE; ++k) to[k] += WITH.power[i][k] * (k % 2 ? odd : even);
    }
  }
};

using Winograd3 = Pairs<3, 2>;  // 36 multiplications in place of 144
using Winograd7 = Pairs<7, 4>;  // 100 in place of 784

// F(4 x 4, 2 x 2): 25 multiplications in place of 64.
struct Winograd2 {
  static constexpr int SIDE = 2, POINTS = 5;
  static constexpr double FINITE[POINTS - 1] = {0, INNER, -INNER, OUTER};

  template <class V>
  static void patch(const V (&x)[POINTS], V (&to)[POINTS]) {
    constexpr float II = INNER * INNER;
    const V even = x[3] - OUTER * x[2], odd = x[2] - OUTER * x[1], third = x[3] - II * x[1];
    to[0] = third + OUTER * (II * x[0] - x[2]);
    to[1] = even + INNER * odd;
    to[2] = even - INNER * odd;
    to[3] = third;
    to[4] = x[4] - II * x[2] - OUTER * third;
  }

  template <class V>
  static void outputs(const V (&m)[POINTS], V (&to)[TILE]) {
    const V even = m[1] + m[2], odd = m[1] - m[2];
    to[0] = m[0] + even + m[3];
    to[1] = INNER * odd + OUTER * m[3];
    to[2] = INNER * INNER * even + OUTER * OUTER * m[3];
    to[3] = m[4] + INNER * INNER * INNER * odd + OUTER * OUTER * OUTER * m[3];
  }
};

// G g G' of one filter, in fp64.
template <class Form>
void transform_filter(const float* filter, double (&to)[Form::POINTS][Form::POINTS]) {
  constexpr int N = Form::POINTS, SIDE = Form::SIDE;
  static constexpr Evaluation<Form> G{};
  double half[N][SIDE] = {};
  for (int i = 0; i < N; ++i)
    for (int y = 0; y < SIDE; ++y)
      for (int x = 0; x < SIDE; ++x) half[i][x] += G.at[i][y] * filter[y * SIDE + x];
  for (int i = 0; i < N; ++i)
    for (int j = 0; j < N; ++j) {
      to[i][j] = 0;
      for (int x = 0; x < SIDE; ++x) to[i][j] += half[i][x] * G.at[j][x];
    }
}

// B' d B of the channels that a vector holds; each product into its own plane.
template <class Form, class V>
inline void transform_patch(const float* from, int64_t row, int64_t pixel, float* to, int64_t plane) {
  constexpr int N = Form::POINTS;
  V half[N][N];
  for (int j = 0; j < N; ++j) {
    V x[N], made[N];
#pragma GCC unroll 10
    for (int i = 0; i < N; ++i) x[i] = load<V>(from + i * row + j * pixel);
    Form::patch(x, made);
#pragma GCC unroll 10
    for (int i = 0; i < N; ++i) half[i][j] = made[i];
  }
  for (int i = 0; i < N; ++i) {
    V made[N];
    Form::patch(half[i], made);
#pragma GCC unroll 10
    for (int j = 0; j < N; ++j) store<false>(to + (i * N + j) * plane, made[j]);
  }
}

// A' m A of the channels that a vector holds.
template <class Form, class V>
inline void transform_outputs(const float* from, int64_t plane, V (&to)[TILE][TILE]) {
  constexpr int N = Form::POINTS;
  V half[TILE][N];
  for (int j = 0; j < N; ++j) {
    V m[N], made[TILE];
#pragma GCC unroll 10
    for (int i = 0; i < N; ++i) m[i] = load<V>(from + (i * N + j) * plane);
    Form::outputs(m, made);
#pragma GCC unroll 10
    for (int i = 0; i < TILE; ++i) half[i][j] = made[i];
  }
#pragma GCC unroll 4
  for (int i = 0; i < TILE; ++i) Form::outputs(half[i], to[i]);
}

}  // namespace
