// Where a map lies in memory, which part of it is wanted, and what an index beyond its edges stands for.
#pragma once

#include <cstdint>

namespace {

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// The next multiple of `to`.
inline int64_t padded(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

inline int64_t reflected(int64_t index, int64_t size) {
  if (index < 0) index = -index;
  return index < size ? index : 2 * (size - 1) - index;
}

// Of an index of the larger axis: its two neighbours on the smaller one, and the second's share.
struct Between {
  int64_t first, second;
  float share;
};

inline Between between(int64_t index, int64_t size, int64_t out_size, bool asymmetric) {
  const int64_t span = asymmetric ? size : size - 1, steps = asymmetric ? out_size : larger(out_size - 1, 1);
  const int64_t place = index * span, first = place / steps;
  return {first, smaller(first + 1, size - 1), float(place - first * steps) / float(steps)};
}

// A band of a map: its shape, and its place in the map.
struct Band {
  int64_t pictures, channels, rows, columns;
  int64_t first_row, height;
  bool holds(int64_t row) const { return row >= first_row && row < first_row + rows; }
};

// Where a map's elements lie; `picture` and `row` are strides.
template <class T>
struct Map {
  T* data;
  int64_t picture, row;
  T* at(int64_t n, int64_t r) const { return data + n * picture + r * row; }
};

// Rows and columns that are wanted of a map of so many rows, of which a band is there from its first row on.
struct Window {
  int64_t first_row, height, top, bottom, left, right;
  int64_t rows() const { return bottom - top; }
  int64_t columns() const { return right - left; }
};

// Whether every index [start, stop) is reflected into the axis, to where is_there(index) holds.
template <class IsThere>
bool reaches(int64_t start, int64_t stop, int64_t size, const IsThere& is_there) {
  for (int64_t index = start; index < stop; ++index) {
    const int64_t source = reflected(index, size);
    if (source < 0 || source >= size || !is_there(source)) return false;
  }
  return true;
}

inline bool anywhere(int64_t) { return true; }

}  // namespace
