// Minimal filtering of 4 x 4 outputs: Y = A' [ (G g G') * (B' d B) ] A, from a patch d by a filter g. Winograd (1980);
// Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2015).
//
// A polynomial is known by its values at as many points as it has coefficients, infinity among them: G evaluates the
// filter, B' the patch (transposed interpolation), A' sums up. The usual points are 0, 1, -1, 2, -2; with 3/4 and 3/2,
// whose powers are fp32 numbers, the error is half of theirs.
#pragma once

#include "vectors.h"

namespace {

constexpr float INNER = 0.75f, OUTER = 1.5f;
constexpr int TILE = 4;  // rows and columns of outputs

// G's element for a point: its power over the product of its differences from the others; infinity's is the last power.
template <int POINTS>
constexpr double evaluation(const double (&finite)[POINTS - 1], int point, int power, int side) {
  if (point == POINTS - 1) return power == side - 1;
  double value = 1;
  for (int k = 0; k < power; ++k) value *= finite[point];
  for (int other = 0; other < POINTS - 1; ++other)
    if (other != point) value /= finite[point] - finite[other];
  return value;
}

// F(4 x 4, 3 x 3): 36 multiplications in place of 144.
struct Winograd3 {
  static constexpr int SIDE = 3, POINTS = 6;
  static constexpr double FINITE[POINTS - 1] = {0, INNER, -INNER, OUTER, -OUTER};

  // B': (x^2 - INNER^2)(x^2 - OUTER^2) without the point's own factor.
  template <class V>
  static void patch(const V (&x)[POINTS], V (&to)[POINTS]) {
    constexpr float II = INNER * INNER, OO = OUTER * OUTER;
    const V even_p = x[4] - OO * x[2], odd_p = x[3] - OO * x[1];
    const V even_q = x[4] - II * x[2], odd_q = x[3] - II * x[1];
    to[0] = even_q + OO * (II * x[0] - x[2]);
    to[1] = even_p + INNER * odd_p;
    to[2] = even_p - INNER * odd_p;
    to[3] = even_q + OUTER * odd_q;
    to[4] = even_q - OUTER * odd_q;
    to[5] = x[5] - II * x[3] - OO * odd_q;
  }

  // A': the powers of the points.
  template <class V>
  static void outputs(const V (&m)[POINTS], V (&to)[TILE]) {
    const V even_p = m[1] + m[2], odd_p = m[1] - m[2], even_q = m[3] + m[4], odd_q = m[3] - m[4];
    to[0] = m[0] + even_p + even_q;
    to[1] = INNER * odd_p + OUTER * odd_q;
    to[2] = INNER * INNER * even_p + OUTER * OUTER * even_q;
    to[3] = m[5] + INNER * INNER * INNER * odd_p + OUTER * OUTER * OUTER * odd_q;
  }
};

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
  for (int i = 0; i < N; ++i)
    for (int j = 0; j < N; ++j) {
      double sum = 0;
      for (int y = 0; y < SIDE; ++y)
        for (int x = 0; x < SIDE; ++x)
          sum += evaluation<N>(Form::FINITE, i, y, SIDE) * evaluation<N>(Form::FINITE, j, x, SIDE) * filter[y * SIDE + x];
      to[i][j] = sum;
    }
}

// B' d B of the channels that a vector holds; each product into its own plane.
template <class Form, class V>
inline void transform_patch(const float* from, int64_t row, int64_t pixel, float* to, int64_t plane) {
  constexpr int N = Form::POINTS;
  V half[N][N];
  for (int j = 0; j < N; ++j) {
    V x[N], made[N];
#pragma GCC unroll 6
    for (int i = 0; i < N; ++i) x[i] = load<V>(from + i * row + j * pixel);
    Form::patch(x, made);
#pragma GCC unroll 6
    for (int i = 0; i < N; ++i) half[i][j] = made[i];
  }
  for (int i = 0; i < N; ++i) {
    V made[N];
    Form::patch(half[i], made);
#pragma GCC unroll 6
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
#pragma GCC unroll 6
    for (int i = 0; i < N; ++i) m[i] = load<V>(from + (i * N + j) * plane);
    Form::outputs(m, made);
#pragma GCC unroll 6
    for (int i = 0; i < TILE; ++i) half[i][j] = made[i];
  }
#pragma GCC unroll 4
  for (int i = 0; i < TILE; ++i) Form::outputs(half[i], to[i]);
}

}  // namespace
