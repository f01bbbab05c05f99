// The compiled form of `animegan.operators`: the same passes over channels-last maps of fp32 or bf16, fp32 arithmetic.
//
// One source, built once for each vector width, linked to nothing. A map is given with the strides (in elements) of its
// pictures and rows; its pixels lie side by side. So a band of a larger map, being a part of its memory, is a map too.
// Every function returns 0, or 1 with nothing written: the window needs rows or columns that are not there.

#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#ifndef ANIMEGAN_BUILD
#define ANIMEGAN_BUILD ""
#endif
#define EXPORT extern "C" __attribute__((visibility("default")))

// PyTorch's own OpenMP threads, reached through the runtime that it has loaded: not linked, so that there is no second
// pool, and weak, so that there may be none.
extern "C" __attribute__((weak, visibility("default"))) void GOMP_parallel(void (*)(void*), void*, unsigned, unsigned);

namespace {

// ---- Vectors --------------------------------------------------------------------------------------------------------

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

struct Bf16 {
  uint16_t bits;
};

template <class To, class From>
inline To bits_of(const From& value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

// `load<V>` and `store` move V's lanes between a map and fp32; V is `Floats`, or `float` for the channels left over.
template <class V>
inline V load(const float* from) {
  V value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class V>
inline V load(const Bf16* from);

template <>
inline Floats load<Floats>(const Bf16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
#if defined(__AVX512F__)
  return bits_of<Floats>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits_of<__m256i>(halves)), 16));
#elif defined(__AVX2__)
  return bits_of<Floats>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits_of<__m128i>(halves)), 16));
#else
  return bits_of<Floats>(__builtin_convertvector(halves, Words) << 16);
#endif
}

template <>
inline float load<float>(const Bf16* from) {
  return bits_of<float>(uint32_t{from->bits} << 16);
}

// To the nearest, ties to even; a NaN stays one.
inline Bf16 narrowed(float value) {
  const uint32_t word = bits_of<uint32_t>(value);
  return {value == value ? uint16_t((word + 0x7fff + (word >> 16 & 1)) >> 16) : uint16_t{0x7fc0}};
}

inline Halves narrowed(Floats value) {
#if defined(__AVX512BF16__)
  return bits_of<Halves>(_mm512_cvtneps_pbh(bits_of<__m512>(value)));
#else
  const Words word = bits_of<Words>(value);
  const Words rounded = (word + 0x7fff + (word >> 16 & 1)) >> 16;
  return __builtin_convertvector(value == value ? rounded : Words{} + 0x7fc0, Halves);
#endif
}

// Past the caches, to an address that is a multiple of the size.
template <class V>
inline void stream(void* to, const V& value) {
#if defined(__AVX512F__)
  if constexpr (sizeof value == 64) return _mm512_stream_si512(static_cast<__m512i*>(to), bits_of<__m512i>(value));
#endif
#if defined(__AVX2__)
  if constexpr (sizeof value == 32) return _mm256_stream_si256(static_cast<__m256i*>(to), bits_of<__m256i>(value));
#endif
#if defined(__SSE2__)
  if constexpr (sizeof value == 16) return _mm_stream_si128(static_cast<__m128i*>(to), bits_of<__m128i>(value));
#endif
  std::memcpy(to, &value, sizeof value);
}

template <bool STREAM, class V>
inline void store(float* to, const V& value) {
  if constexpr (STREAM)
    stream(to, value);
  else
    std::memcpy(to, &value, sizeof value);
}

template <bool STREAM, class V>
inline void store(Bf16* to, const V& value) {
  const auto halves = narrowed(value);
  if constexpr (STREAM)
    stream(to, halves);
  else
    std::memcpy(to, &halves, sizeof halves);
}

template <auto N>
struct Constant {
  static constexpr auto value = N;
};

// Calls body(channel, V, G) until all channels are done: G vectors V from that channel on, few enough for registers.
template <class Body>
inline void each_group(int64_t channels, const Body& body) {
  constexpr int GROUP = 4;
  int64_t c = 0;
  for (; c + GROUP * LANES <= channels; c += GROUP * LANES) body(c, Floats{}, Constant<GROUP>{});
  for (; c + LANES <= channels; c += LANES) body(c, Floats{}, Constant<1>{});
  for (; c < channels; ++c) body(c, float{}, Constant<1>{});
}

// ---- Threads --------------------------------------------------------------------------------------------------------

constexpr int64_t WORTH_A_THREAD = 1 << 15;  // elements

// Calls body(unit) for every unit; which thread takes which is left to chance.
template <class Body>
void each_unit(int64_t units, int64_t elements, int64_t threads, const Body& body) {
  struct Job {
    const Body& body;
    int64_t units, next;
  } job{body, units, 0};
  auto work = [](void* data) {
    Job& shared = *static_cast<Job*>(data);
    for (;;) {
      const int64_t unit = __atomic_fetch_add(&shared.next, 1, __ATOMIC_RELAXED);
      if (unit >= shared.units) break;
      shared.body(unit);
    }
#if defined(__SSE2__)
    _mm_sfence();  // what was streamed is there before another thread is told so
#endif
  };
  if (threads > 1 && units > 1 && elements > WORTH_A_THREAD && GOMP_parallel)
    GOMP_parallel(work, &job, unsigned(threads), 0);
  else
    work(&job);
}

// ---- Geometry -------------------------------------------------------------------------------------------------------

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

inline int64_t reflected(int64_t index, int64_t size) {
  if (index < 0) index = -index;
  return index < size ? index : 2 * (size - 1) - index;
}

// Of an index of the larger axis: its two neighbours on the smaller one, and the second's share.
struct Between {
  int64_t first, second;
  float share;
};

inline Between between(int64_t index, int64_t size, int64_t out_size) {
  const int64_t steps = larger(out_size - 1, 1), place = index * (size - 1), first = place / steps;
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

struct Window {
  int64_t top, bottom, left, right;
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

// ---- Norm and activation --------------------------------------------------------------------------------------------

struct Norm {
  const double *moments, *weight, *bias;
  float* table;  // (2, pictures, channels): scales, then shifts
  float slope;
};

void fill_table(const Band& band, const Norm& norm) {
  constexpr double EPS = 1e-5;
  float *scales = norm.table, *shifts = norm.table + band.pictures * band.channels;
  for (int64_t n = 0; n < band.pictures; ++n) {
    const double mean = norm.moments[2 * n], inverse = 1 / __builtin_sqrt(norm.moments[2 * n + 1] + EPS);
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

// ---- Moments --------------------------------------------------------------------------------------------------------

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

template <class T>
int moments(const Band& band, const Map<const T>& x, Part* parts, double* out, int64_t threads) {
  const int64_t length = band.columns * band.channels, units = band.pictures * band.rows;
  each_unit(units, units * length, threads, [&](int64_t unit) {
    parts[unit] = row_moments(x.at(unit / band.rows, unit % band.rows), length);
  });
  for (int64_t n = 0; n < band.pictures; ++n) {
    Part all{0, 0, 0};
    for (int64_t r = 0; r < band.rows; ++r) all = merged(all, parts[n * band.rows + r]);
    out[2 * n] = all.mean;
    out[2 * n + 1] = all.squares / all.count;
  }
  return 0;
}

// ---- Norm, activation, padding --------------------------------------------------------------------------------------

// Whether what is written is better streamed: it would not stay in the caches until it is read.
template <class T>
bool streams(const Band& band, const Window& window, const Map<T>& out) {
  constexpr int64_t BYTES = 8 << 20;
  const int64_t elements = band.pictures * band.channels * window.rows() * window.columns();
  const int64_t apart = band.channels | out.row | (band.pictures > 1 ? out.picture : 0);  // aligned if all are
  return elements * int64_t(sizeof(T)) > BYTES && apart % LANES == 0 && reinterpret_cast<uintptr_t>(out.data) % 64 == 0;
}

template <bool STREAM, class T>
void norm_act_pad(const Band& band, const Map<const T>& x, const Map<const T>& residual, const Map<T>& out, const Norm& norm,
                  const Window& window, int64_t threads) {
  const int64_t channels = band.channels, columns = window.columns(), rows = window.rows();
  const int64_t inner_left = smaller(larger(window.left, 0), window.right);
  const int64_t inner_right = larger(smaller(window.right, band.columns), inner_left);
  const float slope = norm.slope;
  each_unit(band.pictures * rows, band.pictures * rows * columns * channels, threads, [&](int64_t unit) {
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
int norm_act_pad(const Band& band, const Map<const T>& x, const Map<const T>& residual, const Map<T>& out, const Norm& norm,
                 const Window& window, int64_t threads) {
  if (!reaches(window.top, window.bottom, band.height, [&](int64_t row) { return band.holds(row); }) ||
      !reaches(window.left, window.right, band.columns, anywhere))
    return 1;
  fill_table(band, norm);
  if (streams(band, window, out))
    norm_act_pad<true>(band, x, residual, out, norm, window, threads);
  else
    norm_act_pad<false>(band, x, residual, out, norm, window, threads);
  return 0;
}

// ---- Upsampling and padding -----------------------------------------------------------------------------------------

// A thread walks down a block of columns whose two activated source rows, in fp32, fit into the first-level cache.
constexpr int64_t BLOCK_CHANNELS = 128, BLOCK_FLOATS = 4096, BLOCK_COLUMNS = 512;

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
void place_block(Block& block, int64_t column, int64_t right, int64_t width, int64_t out_width) {
  Between found[BLOCK_COLUMNS];
  block.left = width, block.right = 0, block.count = 0;
  for (; column < right && block.count < BLOCK_COLUMNS; ++column) {
    const Between place = between(reflected(column, out_width), width, out_width);
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
void upsample_block(const Band& band, const Map<const T>& x, const Map<T>& out, const float* scales,
                    const float* shifts, float slope, const Window& window, int64_t out_height, int64_t first,
                    int64_t last, const Block& block) {
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
    const Between down = between(reflected(window.top + y, out_height), band.height, out_height);
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
void upsample_pad(const Band& band, const Map<const T>& x, const Map<T>& out, const Norm& norm, const Window& window, int64_t out_height,
                  int64_t out_width, int64_t threads) {
  const int64_t rows = window.rows(), columns = window.columns(), channels = band.channels;
  const int64_t share = rows / (4 * larger(threads, 1)), step = larger(smaller(share, 64), 8);
  const int64_t chunks = (rows + step - 1) / step;
  each_unit(band.pictures * chunks, band.pictures * rows * columns * channels, threads, [&](int64_t unit) {
    const int64_t n = unit / chunks, first = unit % chunks * step, last = smaller(first + step, rows);
    Block block;
    for (int64_t c = 0; c < channels; c += BLOCK_CHANNELS) {
      block.channels = smaller(BLOCK_CHANNELS, channels - c);
      const float* scales = norm.table + n * channels + c;
      const float* shifts = scales + band.pictures * channels;
      for (int64_t column = window.left; column < window.right; column += block.count) {
        place_block(block, column, window.right, band.columns, out_width);
        const Map<const T> from{x.at(n, 0) + c, 0, x.row};
        const Map<T> to{out.at(n, 0) + (column - window.left) * channels + c, 0, out.row};
        upsample_block<STREAM>(band, from, to, scales, shifts, norm.slope, window, out_height, first, last, block);
      }
    }
  });
}

template <class T>
int upsample_pad(const Band& band, const Map<const T>& x, const Map<T>& out, const Norm& norm, const Window& window, int64_t out_height,
                 int64_t out_width, int64_t threads) {
  const bool there = reaches(window.top, window.bottom, out_height, [&](int64_t index) {
    const Between place = between(index, band.height, out_height);
    return band.holds(place.first) && band.holds(place.second);
  });
  if (!there || !reaches(window.left, window.right, out_width, anywhere)) return 1;
  fill_table(band, norm);
  if (streams(band, window, out))
    upsample_pad<true>(band, x, out, norm, window, out_height, out_width, threads);
  else
    upsample_pad<false>(band, x, out, norm, window, out_height, out_width, threads);
  return 0;
}

template <class T>
Map<const T> map(const void* data, int64_t picture, int64_t row) {
  return {static_cast<const T*>(data), picture, row};
}

template <class T>
Map<T> map(void* data, int64_t picture, int64_t row) {
  return {static_cast<T*>(data), picture, row};
}

}  // namespace

// ---- What Python calls ----------------------------------------------------------------------------------------------

// The source and the recipe that this library was built from.
EXPORT const char animegan_build[] = ANIMEGAN_BUILD;

// A map is given as (bf16, x, pictures, channels, rows, columns, picture stride, row stride); it is fp32 if bf16 is 0.

// parts: room for 3 doubles a row of each picture. out: mean and variance, (pictures, 2).
EXPORT int animegan_moments(int64_t bf16, const void* x, int64_t pictures, int64_t channels, int64_t rows,
                            int64_t columns, int64_t picture, int64_t row, void* parts, double* out, int64_t threads) {
  const Band band{pictures, channels, rows, columns, 0, rows};
  auto run = [&](auto element) {
    using T = decltype(element);
    return moments(band, map<T>(x, picture, row), static_cast<Part*>(parts), out, threads);
  };
  return bf16 ? run(Bf16{}) : run(float{});
}

// table: room for 2 floats a channel of each picture. residual may be null.
EXPORT int animegan_norm_act_pad(int64_t bf16, const void* x, int64_t pictures, int64_t channels, int64_t rows,
                                 int64_t columns, int64_t picture, int64_t row, const void* residual,
                                 int64_t residual_picture, int64_t residual_row, void* out, int64_t out_picture,
                                 int64_t out_row, const double* moments, const double* weight, const double* bias,
                                 float* table, float slope, int64_t first_row, int64_t height, int64_t top,
                                 int64_t bottom, int64_t left, int64_t right, int64_t threads) {
  const Band band{pictures, channels, rows, columns, first_row, height};
  auto run = [&](auto element) {
    using T = decltype(element);
    return norm_act_pad(band, map<T>(x, picture, row), map<T>(residual, residual_picture, residual_row),
                        map<T>(out, out_picture, out_row), {moments, weight, bias, table, slope},
                        {top, bottom, left, right}, threads);
  };
  return bf16 ? run(Bf16{}) : run(float{});
}

// table: as above.
EXPORT int animegan_upsample_pad(int64_t bf16, const void* x, int64_t pictures, int64_t channels, int64_t rows,
                                 int64_t columns, int64_t picture, int64_t row, void* out, int64_t out_picture,
                                 int64_t out_row, const double* moments, const double* weight, const double* bias,
                                 float* table, float slope, int64_t first_row, int64_t height, int64_t out_height,
                                 int64_t out_width, int64_t top, int64_t bottom, int64_t left, int64_t right,
                                 int64_t threads) {
  const Band band{pictures, channels, rows, columns, first_row, height};
  auto run = [&](auto element) {
    using T = decltype(element);
    return upsample_pad(band, map<T>(x, picture, row), map<T>(out, out_picture, out_row),
                        {moments, weight, bias, table, slope}, {top, bottom, left, right}, out_height, out_width,
                        threads);
  };
  return bf16 ? run(Bf16{}) : run(float{});
}
