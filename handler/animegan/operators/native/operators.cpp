// The compiled form of `animegan.operators`: the same passes over channels-last maps of fp32 or bf16, fp32 arithmetic.
//
// One source, built once for each vector width, linked to nothing. A map is given with the strides (in elements) of its
// pictures and rows; its pixels lie side by side. So a band of a larger map, being a part of its memory, is a map too.
// Every function returns 0, or 1 with nothing written: the window needs rows or columns that are not there.

#include "depthwise.h"
#include "direct.h"
#include "filtering.h"
#include "maps.h"
#include "moments.h"
#include "norm.h"
#include "table.h"
#include "upsampling.h"

#ifndef ANIMEGAN_BUILD
#define ANIMEGAN_BUILD ""
#endif
#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

template <class T>
Map<const T> map(const void* data, int64_t picture, int64_t row) {
  return {static_cast<const T*>(data), picture, row};
}

template <class T>
Map<T> map(void* data, int64_t picture, int64_t row) {
  return {static_cast<T*>(data), picture, row};
}

}  // namespace

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
                                 float* table, float slope, int64_t asymmetric, int64_t first_row, int64_t height,
                                 int64_t out_height, int64_t out_width, int64_t top, int64_t bottom, int64_t left,
                                 int64_t right, int64_t threads) {
  const Band band{pictures, channels, rows, columns, first_row, height};
  auto run = [&](auto element) {
    using T = decltype(element);
    return upsample_pad(band, map<T>(x, picture, row), map<T>(out, out_picture, out_row),
                        {moments, weight, bias, table, slope}, asymmetric != 0, {top, bottom, left, right}, out_height,
                        out_width, threads);
  };
  return bf16 ? run(Bf16{}) : run(float{});
}

// How a convolution is computed: `Filters.kind`.
enum Kind : int64_t { FILTERING, DIRECT, DEPTHWISE };

// Calls body with the form of filtering for filters of that side: 2, 3 or 7.
template <class Body>
inline auto with_form(int64_t side, const Body& body) {
  return side == 2 ? body(Winograd2{}) : side == 3 ? body(Winograd3{}) : body(Winograd7{});
}

// Of animegan_pack's `packed`.
EXPORT int64_t animegan_packed_floats(const Filters* filters) {
  const int64_t taps = filters->side * filters->side, padded = padded_columns(filters->channels);
  if (filters->kind == DEPTHWISE) return taps * filters->channels;
  if (filters->kind == DIRECT) return taps * filters->channels_in * padded;
  return with_form(filters->side, [&](auto form) {
    return decltype(form)::POINTS * decltype(form)::POINTS * filters->channels_in * padded;
  });
}

// packed: zeros.
EXPORT void animegan_pack(const Filters* filters, const float* weight, float* packed) {
  if (filters->kind == DEPTHWISE) return pack_depthwise(*filters, weight, packed);
  if (filters->kind == DIRECT) return pack_direct(*filters, weight, packed);
  with_form(filters->side, [&](auto form) {
    pack_filtering<decltype(form)>(filters->channels_in, filters->channels, weight, packed);
  });
}

EXPORT int64_t animegan_scratch_bytes() { return SCRATCH_BYTES; }

// The blocks that a convolution's outputs are computed in, of each of which the moments are taken: 0 if none fits.
EXPORT int64_t animegan_conv_blocks(const Convolution* convolution) {
  const Filters& filters = convolution->filters;
  if (filters.kind == DEPTHWISE) return Tiles(*convolution).count;
  if (filters.kind == DIRECT) return direct_blocks(filters, convolution->target).count;
  return with_form(filters.side, [&](auto form) {
    return filtering_blocks<decltype(form)>(filters, convolution->target).count;
  });
}

// scratch: its bytes for each of the threads, 64-byte aligned. parts: room for 3 doubles a block, or null; if it is not, out
// takes the outputs' mean and variance, and their pixels lie side by side.
EXPORT void animegan_conv(const Convolution* convolution, float* scratch, Part* parts, double* out, int64_t threads) {
  if (convolution->filters.kind == DEPTHWISE)
    convolve_depthwise(*convolution, parts, threads);
  else if (convolution->filters.kind == DIRECT)
    convolve_direct(*convolution, scratch, parts, threads);
  else
    with_form(convolution->filters.side,
              [&](auto form) { convolve_filtering<decltype(form)>(*convolution, scratch, parts, threads); });
  if (parts) merge_parts(parts, animegan_conv_blocks(convolution), out);
}

// values: (side, side, side, 4), 16-byte aligned. from: three planes; out: up to four.
EXPORT void animegan_read_table(const float* values, int64_t side, const float* from, int64_t from_plane, int64_t pixels,
                                float* out, int64_t out_plane, int64_t planes, int64_t threads) {
  read_table(reinterpret_cast<const Entry*>(values), side, from, from_plane, pixels, out, out_plane, planes, threads);
}
