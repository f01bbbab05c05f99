// C = A B in fp32, by outer products in registers: Goto & van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication" (2008). B is packed in panels as wide as the kernel; A is small enough to lie in the caches as it is.
// Each element of C is one sum in the order of k, whatever the sizes.
#pragma once

#include "maps.h"
#include "vectors.h"

namespace {

constexpr int64_t PANEL = 2 * LANES;
constexpr int64_t KERNEL_ROWS = LANES == 16 ? 12 : 6;  // by a panel so many sums as registers hold, of 32 or of 16

inline int64_t padded_columns(int64_t columns) { return padded(columns, LANES); }

// Where element (k, column) of B lies in its panels, of which the last may be half as wide.
inline int64_t packed_place(int64_t k, int64_t column, int64_t depth, int64_t columns) {
  const int64_t panel = column / PANEL * PANEL, width = smaller(PANEL, padded_columns(columns) - panel);
  return panel * depth + k * width + column - panel;
}

template <int VECTORS>
__attribute__((noinline)) void kernel(int64_t depth, const float* a, int64_t a_row, const float* b, float* c,
                                      int64_t c_row) {
  Floats sum[KERNEL_ROWS][VECTORS];
#pragma GCC unroll 12
  for (int i = 0; i < KERNEL_ROWS; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) sum[i][v] = Floats{};
#pragma GCC unroll 4
  for (int64_t k = 0; k < depth; ++k, b += VECTORS * LANES) {
    Floats row[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) row[v] = load<Floats>(b + v * LANES);
#pragma GCC unroll 12
    for (int i = 0; i < KERNEL_ROWS; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) sum[i][v] += row[v] * a[i * a_row + k];
  }
#pragma GCC unroll 12
  for (int i = 0; i < KERNEL_ROWS; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) store<false>(c + i * c_row + v * LANES, sum[i][v]);
}

// A (rows, depth), rows a multiple of KERNEL_ROWS; B (depth, columns) packed; C (rows, padded columns).
inline void gemm(int64_t rows, int64_t depth, int64_t columns, const float* a, int64_t a_row, const float* b, float* c,
                 int64_t c_row) {
  columns = padded_columns(columns);
  for (int64_t column = 0; column < columns; column += PANEL, b += depth * PANEL)
    for (int64_t row = 0; row < rows; row += KERNEL_ROWS) {
      float* const to = c + row * c_row + column;
      if (columns - column >= PANEL)
        kernel<2>(depth, a + row * a_row, a_row, b, to, c_row);
      else
        kernel<1>(depth, a + row * a_row, a_row, b, to, c_row);
    }
}

}  // namespace
