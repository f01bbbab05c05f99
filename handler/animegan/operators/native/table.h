// A function of a pixel's colour, read from its values over the cube of colours: the eight nearest are mixed (trilinear).
#pragma once

#include "maps.h"
#include "threads.h"

namespace {

typedef float Entry __attribute__((vector_size(16)));  // of up to four planes

constexpr int64_t PIXELS_OF_UNIT = 1 << 13;

// Where a channel lies among the `side` entries of its axis: the entry below it, and how far it is to the next.
struct Channel {
  int64_t entry;
  float share;
  Channel(float value, int64_t side) {
    const float place = (value > 0 ? value < 1 ? value : 1 : 0) * float(side - 1);  // what is no number counts as 0
    entry = smaller(int64_t(place), side - 2);
    share = place - float(entry);
  }
};

inline Entry between(Entry low, Entry high, float share) { return low + (high - low) * share; }

// values: (side, side, side) entries along blue, green and red. from: planes of red, green and blue, `from_plane` apart;
// to: as many planes as wanted, up to four, `to_plane` apart.
inline void read_table(const Entry* values, int64_t side, const float* from, int64_t from_plane, int64_t pixels, float* to,
                       int64_t to_plane, int64_t planes, int64_t threads) {
  const int64_t green = side, blue = side * side, units = (pixels + PIXELS_OF_UNIT - 1) / PIXELS_OF_UNIT;
  each_unit(units, pixels * 8, threads, [&](int64_t unit, int64_t) {
    const int64_t last = smaller(pixels, (unit + 1) * PIXELS_OF_UNIT);
    for (int64_t i = unit * PIXELS_OF_UNIT; i < last; ++i) {
      const Channel r(from[i], side), g(from[i + from_plane], side), b(from[i + 2 * from_plane], side);
      const Entry* const at = values + b.entry * blue + g.entry * green + r.entry;
      auto along_red = [&](int64_t place) { return between(at[place], at[place + 1], r.share); };
      auto along_green = [&](int64_t place) { return between(along_red(place), along_red(place + green), g.share); };
      const Entry read = between(along_green(0), along_green(blue), b.share);
      for (int64_t plane = 0; plane < planes; ++plane) to[i + plane * to_plane] = read[plane];
    }
  });
}

}  // namespace
