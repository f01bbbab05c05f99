// The compiled form of `animegan.operators`: the same passes over channels-last maps of fp32 or bf16, fp32 arithmetic.
//
// One source, built once for each vector width, linked to nothing. A map is given with the strides (in elements) of its
// pictures and rows; its pixels lie side by side. So a band of a larger map, being a part of its memory, is a map too.
// Every function returns 0, or 1 with nothing written: the window needs rows or columns that are not there.

#include "convolution.h"
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

// Calls body with the form of the convolutions with filters of that side: 2, 3 or 7.
template <class Body>
inline auto with_form(int64_t side, const Body& body) {
  return side == 2 ? body(Winograd2{}) : side == 3 ? body(Winograd3{}) : body(Winograd7{});
}

// Filters are (channels, channels in, side, side); below, they are packed, of animegan_packed_floats.
EXPORT int64_t animegan_packed_floats(int64_t side, int64_t channels_in, int64_t channels) {
  return with_form(side, [&](auto form) { return packed_floats<decltype(form)>(channels_in, channels); });
}

// packed: zeros.
EXPORT int animegan_pack(int64_t side, int64_t channels_in, int64_t channels, const float* weight, float* packed) {
  return with_form(side, [&](auto form) { return pack<decltype(form)>(channels_in, channels, weight, packed), 0; });
}

EXPORT int64_t animegan_scratch_bytes() { return SCRATCH_BYTES; }

// Maps are fp32, given as (x, row stride, pixel stride). bias, slopes and the residuals may be null. scratch: its bytes
// for each of the threads, 64-byte aligned.
EXPORT int animegan_conv(int64_t side, int64_t channels_in, int64_t channels, const float* packed, const float* x,
                         int64_t row, int64_t pixel, int64_t rows, int64_t columns, int64_t above, int64_t left, float* out,
                         int64_t out_row, int64_t out_pixel, int64_t out_rows, int64_t out_columns, const float* bias,
                         const float* slopes, const float* residual, int64_t residual_row, int64_t residual_pixel,
                         const float* residual2, int64_t residual2_row, int64_t residual2_pixel, float slope, float alpha,
                         float beta, float gamma, float* scratch, int64_t threads) {
  const Source source{{x, row, pixel}, rows, columns, above, left};
  const Filters filters{channels_in, channels, packed};
  const Target target{{out, out_row, out_pixel}, out_rows, out_columns, (out_columns + TILE - 1) / TILE};
  const Finish finish{bias, slopes, slope, alpha, beta, gamma,
                      {residual, residual_row, residual_pixel}, {residual2, residual2_row, residual2_pixel}};
  return with_form(side, [&](auto form) { return convolve<decltype(form)>(source, filters, target, finish, scratch, threads); });
}

// values: (side, side, side, 4), 16-byte aligned. from: three planes; out: up to four.
EXPORT void animegan_read_table(const float* values, int64_t side, const float* from, int64_t from_plane, int64_t pixels,
                                float* out, int64_t out_plane, int64_t planes, int64_t threads) {
  read_table(reinterpret_cast<const Entry*>(values), side, from, from_plane, pixels, out, out_plane, planes, threads);
}
