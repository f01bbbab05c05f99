// Convolutions in bf16, summed in fp32, as they are defined: the processor multiplies 16 bits so fast that minimal
// filtering, which would cost precision here, gains nothing. 32 outputs of a row at a time are one product, C = A B, by
// tiles (Intel AMX) or by products of pairs (AVX512-BF16; elsewhere in fp32). See "Intel Architecture Instruction Set
// Extensions Programming Reference", TDPBF16PS and VDPBF16PS. A's rows are pixels where they lie in a map, so a tap is no
// copy of it.
#pragma once

#include "convolution.h"

#if defined(__AMX_BF16__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

constexpr int64_t ROWS_16 = 32, PANEL_16 = 16,
                  DEPTH_16 = 32;  // rows of C; columns of a panel of B; of both, what k divides by

// A: of 32 pixels `step` apart, side x side taps from `at` on, each of `channels`, a multiple of DEPTH_16.
struct Pixels16 {
  const Bf16* at;
  int64_t side, row, pixel, step, channels;
};

// Where element (k, column) of B lies: in panels, by pairs of k.
inline int64_t packed_place_16(int64_t k, int64_t column, int64_t depth) {
  return column / PANEL_16 * PANEL_16 * depth + k / 2 * 2 * PANEL_16 + column % PANEL_16 * 2 + k % 2;
}

// Calls body(pixels of A, rows of B) for each DEPTH_16 of k.
template <class Body>
inline void each_depth(const Pixels16& a, const Bf16* b, const Body& body) {
  for (int64_t y = 0; y < a.side; ++y)
    for (int64_t x = 0; x < a.side; ++x) {
      const Bf16* const from = a.at + y * a.row + x * a.pixel;
      for (int64_t k = 0; k < a.channels; k += DEPTH_16, b += DEPTH_16 * PANEL_16) body(from + k, b);
    }
}

#if defined(__AMX_BF16__)

// The kernel lets a process use tiles once it has asked: arch_prctl(2), ARCH_REQ_XCOMP_PERM of XTILEDATA.
inline int permit_tiles() { return int(syscall(SYS_arch_prctl, 0x1023, 18)); }

// A thread's tiles, while it multiplies: eight of 16 rows of 64 bytes.
struct Tiles16 {
  Tiles16() {
    struct __attribute__((packed)) {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } const shapes;
    _tile_loadconfig(&shapes);
  }
  ~Tiles16() { _tile_release(); }
};

template <int PANELS>
__attribute__((noinline)) void multiply_16(const Pixels16& a, const Bf16* b, int64_t panel, float* c, int64_t c_row) {
  const int64_t step = a.step * int64_t(sizeof(Bf16)), c_bytes = c_row * int64_t(sizeof(float));
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  each_depth(a, b, [&](const Bf16* pixels, const Bf16* rows) {
    _tile_loadd(4, pixels, step);
    _tile_loadd(6, rows, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, pixels + 16 * a.step, step);
    _tile_dpbf16ps(1, 5, 6);
    if constexpr (PANELS == 2) {
      _tile_loadd(7, rows + panel, 64);
      _tile_dpbf16ps(2, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    }
  });
  _tile_stored(0, c, c_bytes);
  _tile_stored(1, c + 16 * c_row, c_bytes);
  if constexpr (PANELS == 2) {
    _tile_stored(2, c + PANEL_16, c_bytes);
    _tile_stored(3, c + 16 * c_row + PANEL_16, c_bytes);
  }
}

#else

inline int permit_tiles() { return 0; }

struct Tiles16 {
  Tiles16() {}
};

// sum + a[0] b[0] + a[1] b[1] in every lane, of a pair of A's and the pairs of a row of B.
inline Floats pairs_added(Floats sum, const Bf16* a, const Bf16* b) {
#if defined(__AVX512BF16__)
  int pair;
  std::memcpy(&pair, a, sizeof pair);
  return bits_of<Floats>(_mm512_dpbf16_ps(bits_of<__m512>(sum), bits_of<__m512bh>(_mm512_set1_epi32(pair)),
                                          bits_of<__m512bh>(load<Floats>(reinterpret_cast<const float*>(b)))));
#else
  Words pairs;
  std::memcpy(&pairs, b, sizeof pairs);
  return sum + load<float>(a) * bits_of<Floats>(pairs << 16) + load<float>(a + 1) * bits_of<Floats>(pairs & 0xffff0000);
#endif
}

template <int PANELS>
__attribute__((noinline)) void multiply_16(const Pixels16& a, const Bf16* b, int64_t panel, float* c, int64_t c_row) {
  constexpr int VECTORS = PANEL_16 / LANES, ROWS = LANES == 16 ? 8 : 2;  // sums that registers hold
  for (int64_t first = 0; first < ROWS_16; first += ROWS) {
    Floats sum[ROWS][PANELS][VECTORS] = {};
    each_depth(a, b, [&](const Bf16* pixels, const Bf16* rows) {
      for (int64_t k = 0; k < DEPTH_16; k += 2, rows += 2 * PANEL_16)
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
          for (int p = 0; p < PANELS; ++p)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; ++v)
              sum[i][p][v] = pairs_added(sum[i][p][v], pixels + (first + i) * a.step + k, rows + p * panel + v * 2 * LANES);
    });
    for (int i = 0; i < ROWS; ++i)
      for (int p = 0; p < PANELS; ++p)
        for (int v = 0; v < VECTORS; ++v) store<false>(c + (first + i) * c_row + p * PANEL_16 + v * LANES, sum[i][p][v]);
  }
}

#endif

// B: packed, `columns` a multiple of PANEL_16. C: 32 rows, c_row apart.
inline void gemm_16(const Pixels16& a, const Bf16* b, int64_t columns, float* c, int64_t c_row) {
  const int64_t panel = a.side * a.side * a.channels * PANEL_16;
  int64_t column = 0;
  for (; column + 2 * PANEL_16 <= columns; column += 2 * PANEL_16, b += 2 * panel)
    multiply_16<2>(a, b, panel, c + column, c_row);
  if (column < columns) multiply_16<1>(a, b, panel, c + column, c_row);
}

constexpr int64_t SEGMENT = 128;  // outputs of a row that are one unit of work

// How a convolution's filters are laid out, and what a thread needs to multiply with them.
struct Layout16 {
  bool in_place;  // pixels fill tiles; else a patch's are laid side by side
  int64_t depth, columns, across, patch_bytes;

  explicit Layout16(const Filters& filters)
      : in_place(filters.channels_in % DEPTH_16 == 0),
        depth(padded(filters.side * filters.side * filters.channels_in, DEPTH_16)),
        columns(padded(filters.channels, PANEL_16)),
        across((ROWS_16 - 1) * filters.stride + filters.side),
        patch_bytes(int64_t(sizeof(Bf16)) * (in_place ? filters.side * across * filters.channels_in : ROWS_16 * depth)) {}

  int64_t product_bytes() const { return ROWS_16 * columns * int64_t(sizeof(float)); }
  bool fits() const { return padded(patch_bytes, 64) + product_bytes() <= SCRATCH_BYTES; }
};

inline int64_t segments_of_row(const Target<Bf16>& target) { return (target.columns + SEGMENT - 1) / SEGMENT; }

// Units of work; 0 if a thread's memory is too small.
inline int64_t direct_units_16(const Filters& filters, const Target<Bf16>& target) {
  return Layout16(filters).fits() ? target.rows * segments_of_row(target) : 0;
}

// weight: (channels, channels in, side, side). packed: zeros.
inline void pack_direct_16(const Filters& filters, const float* weight, Bf16* packed) {
  const int64_t taps = filters.side * filters.side;
  const Layout16 layout(filters);
  for (int64_t to = 0; to < filters.channels; ++to)
    for (int64_t from = 0; from < filters.channels_in; ++from)
      for (int64_t tap = 0; tap < taps; ++tap)
        packed[packed_place_16(tap * filters.channels_in + from, to, layout.depth)] = narrowed(*weight++);
}

// What the outputs [left, left + count) of a row read; laid into `patch` where they do not lie on the map, or not aptly.
inline Pixels16 lay_pixels(const Source<Bf16>& source, const Filters& filters, const Layout16& layout, int64_t row,
                           int64_t left, int64_t count, Bf16* patch) {
  const int64_t side = filters.side, channels = filters.channels_in;
  const int64_t top = row * filters.stride - source.above, start = left * filters.stride - source.left;
  if (layout.in_place) {
    if (source.holds(top, start, side, layout.across))
      return {source.x.at(top, start), side, source.x.row, source.x.pixel, filters.stride * source.x.pixel, channels};
    copy_patch(source, top, start, side, layout.across, channels, patch);
    return {patch, side, layout.across * channels, channels, filters.stride * channels, channels};
  }
  const int64_t values = side * side * channels;
  for (int64_t k = 0; k < count; ++k) {
    Bf16* const to = patch + k * layout.depth;
    lay_patch(source, top, start + k * filters.stride, side, channels, to);
    for (int64_t i = values; i < layout.depth; ++i) to[i] = Bf16{};
  }
  return {patch, 1, 0, 0, layout.depth, layout.depth};
}

inline void convolve_direct_16(const Convolution<Bf16>& convolution, void* memory, Part* parts, int64_t threads) {
  const Filters& filters = convolution.filters;
  const Target<Bf16>& target = convolution.target;
  const Layout16 layout(filters);
  const int64_t channels = filters.channels, segments = segments_of_row(target);
  const int64_t work = target.rows * target.columns * layout.depth;
  each_unit(target.rows * segments, work, threads, [&](int64_t unit, int64_t worker) {
    float* const products = reinterpret_cast<float*>(static_cast<char*>(memory) + worker * SCRATCH_BYTES);
    Bf16* const patch = reinterpret_cast<Bf16*>(products + ROWS_16 * layout.columns);
    const int64_t row = unit / segments, first = unit % segments * SEGMENT;
    const int64_t last = smaller(first + SEGMENT, target.columns);
    const Tiles16 tiles;
    for (int64_t left = first; left < last; left += ROWS_16) {
      const int64_t count = smaller(ROWS_16, last - left);
      const Pixels16 pixels = lay_pixels(convolution.source, filters, layout, row, left, count, patch);
      gemm_16(pixels, static_cast<const Bf16*>(filters.packed), layout.columns, products, layout.columns);
      for (int64_t k = 0; k < count; ++k)
        write_pixel(products + k * layout.columns, channels, row, left + k, target, convolution.finish);
    }
    if (parts) parts[unit] = row_moments<Bf16>(target.out.at(row, first), (last - first) * channels);
  });
}

}  // namespace
