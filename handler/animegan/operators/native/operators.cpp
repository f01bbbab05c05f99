// The compiled form of `animegan.operators`: the same passes over channels-last maps of fp32 or bf16, fp32 arithmetic.
//
// One source, built once for each vector width, linked to nothing. A map is given with the strides (in elements) of its
// pictures and rows; its pixels lie side by side. So a band of a larger map, being a part of its memory, is a map too.

#include "depthwise.h"
#include "direct.h"
#include "direct16.h"
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

// A map as it is passed: of bf16, or of fp32.
struct AnyMap {
  int64_t bf16;
  void* data;
  int64_t pictures, channels, rows, columns, picture, row;

  template <class T>
  Map<T> of() const {
    return {static_cast<T*>(data), picture, row};
  }
  Band band(int64_t first_row, int64_t height) const { return {pictures, channels, rows, columns, first_row, height}; }
};

template <class T>
Map<T> map_or_none(const AnyMap* map) {
  return map ? map->of<T>() : Map<T>{};
}

// Calls body with an element of the map's type.
template <class Body>
auto with_element(const AnyMap& map, const Body& body) {
  return map.bf16 ? body(Bf16{}) : body(float{});
}

}  // namespace

// The source and the recipe that this library was built from.
EXPORT const char animegan_build[] = ANIMEGAN_BUILD;

// parts: room for 3 doubles a row of each picture. out: mean and variance, (pictures, 2).
EXPORT void animegan_moments(const AnyMap* x, void* parts, double* out, int64_t threads) {
  with_element(*x, [&](auto element) {
    return moments(x->band(0, x->rows), x->of<const decltype(element)>(), static_cast<Part*>(parts), out, threads);
  });
}

// residual may be null. The functions below return 0, or 1 with nothing written: the window needs rows or columns that are
// not there.
EXPORT int animegan_norm_act_pad(const AnyMap* x, const AnyMap* residual, const AnyMap* out, const Norm* norm,
                                 const Window* window, int64_t threads) {
  return with_element(*x, [&](auto element) {
    using T = decltype(element);
    return norm_act_pad_checked(x->band(window->first_row, window->height), x->of<const T>(),
                                map_or_none<const T>(residual), out->of<T>(), *norm, *window, threads);
  });
}

EXPORT int animegan_upsample_pad(const AnyMap* x, const AnyMap* out, const Norm* norm, const Upsampling* upsampling,
                                 const Window* window, int64_t threads) {
  return with_element(*x, [&](auto element) {
    using T = decltype(element);
    return upsample_pad_checked(x->band(window->first_row, window->height), x->of<const T>(), out->of<T>(), *norm,
                                *upsampling, *window, threads);
  });
}

// How a convolution is computed: `Filters.kind`.
enum Kind : int64_t { FILTERING, DIRECT, DEPTHWISE };

// Calls body with the form of filtering for filters of that side: 2, 3 or 7.
template <class Body>
inline auto with_form(int64_t side, const Body& body) {
  return side == 2 ? body(Winograd2{}) : side == 3 ? body(Winograd3{}) : body(Winograd7{});
}

// Calls body with the convolution, whose maps are of the type that its filters name.
template <class Body>
inline auto with_maps(const void* convolution, const Body& body) {
  const auto* floats = static_cast<const Convolution<float>*>(convolution);
  return floats->filters.bf16 ? body(*static_cast<const Convolution<Bf16>*>(convolution)) : body(*floats);
}

inline int64_t blocks_of(const Convolution<float>& convolution) {
  const Filters& filters = convolution.filters;
  if (filters.kind == DEPTHWISE) return Tiles(convolution).count;
  if (filters.kind == DIRECT) return direct_blocks(filters, convolution.target).count;
  return with_form(filters.side,
                   [&](auto form) { return filtering_blocks<decltype(form)>(filters, convolution.target).count; });
}

inline int64_t blocks_of(const Convolution<Bf16>& convolution) {
  if (convolution.filters.kind == DEPTHWISE) return Tiles(convolution).count;
  return direct_units_16(convolution.filters, convolution.target);
}

inline void convolve(const Convolution<float>& convolution, void* scratch, Part* parts, int64_t threads) {
  float* const memory = static_cast<float*>(scratch);
  if (convolution.filters.kind == DEPTHWISE)
    convolve_depthwise(convolution, parts, threads);
  else if (convolution.filters.kind == DIRECT)
    convolve_direct(convolution, memory, parts, threads);
  else
    with_form(convolution.filters.side,
              [&](auto form) { convolve_filtering<decltype(form)>(convolution, memory, parts, threads); });
}

inline void convolve(const Convolution<Bf16>& convolution, void* scratch, Part* parts, int64_t threads) {
  if (convolution.filters.kind == DEPTHWISE)
    convolve_depthwise(convolution, parts, threads);
  else
    convolve_direct_16(convolution, scratch, parts, threads);
}

// Once, before anything else: 0 where the kernel lets this form's instructions run.
EXPORT int animegan_start() { return permit_tiles(); }

// Whether convolutions take maps of bf16.
EXPORT int animegan_convolves_bf16() {
#if defined(__AVX512BF16__)
  return 1;
#else
  return 0;
#endif
}

// Of animegan_pack's `packed`.
EXPORT int64_t animegan_packed_bytes(const Filters* filters) {
  const int64_t taps = filters->side * filters->side, padded = padded_columns(filters->channels);
  if (filters->kind == DEPTHWISE) return taps * filters->channels * int64_t(sizeof(float));
  if (filters->bf16) return Layout16(*filters).depth * Layout16(*filters).columns * int64_t(sizeof(Bf16));
  if (filters->kind == DIRECT) return taps * filters->channels_in * padded * int64_t(sizeof(float));
  return with_form(filters->side, [&](auto form) {
    constexpr int64_t POINTS = decltype(form)::POINTS;
    return POINTS * POINTS * filters->channels_in * padded * int64_t(sizeof(float));
  });
}

// packed: zeros.
EXPORT void animegan_pack(const Filters* filters, const float* weight, void* packed) {
  float* const floats = static_cast<float*>(packed);
  if (filters->kind == DEPTHWISE) return pack_depthwise(*filters, weight, floats);
  if (filters->bf16) return pack_direct_16(*filters, weight, static_cast<Bf16*>(packed));
  if (filters->kind == DIRECT) return pack_direct(*filters, weight, floats);
  with_form(filters->side,
            [&](auto form) { pack_filtering<decltype(form)>(filters->channels_in, filters->channels, weight, floats); });
}

EXPORT int64_t animegan_scratch_bytes() { return SCRATCH_BYTES; }

// The blocks that a convolution's outputs are computed in, of each of which the moments are taken: 0 if none fits.
EXPORT int64_t animegan_conv_blocks(const void* convolution) {
  return with_maps(convolution, [](const auto& typed) { return blocks_of(typed); });
}

// scratch: its bytes for each of the threads, 64-byte aligned. parts: room for 3 doubles a block, or null; if it is not,
// out takes the outputs' mean and variance, and their pixels lie side by side.
EXPORT void animegan_conv(const void* convolution, void* scratch, Part* parts, double* out, int64_t threads) {
  with_maps(convolution, [&](const auto& typed) { convolve(typed, scratch, parts, threads); });
  if (parts) merge_parts(parts, animegan_conv_blocks(convolution), out);
}

// values: (side, side, side, 4), 16-byte aligned. from: three planes; out: up to four.
EXPORT void animegan_read_table(const float* values, int64_t side, const float* from, int64_t from_plane, int64_t pixels,
                                float* out, int64_t out_plane, int64_t planes, int64_t threads) {
  read_table(reinterpret_cast<const Entry*>(values), side, from, from_plane, pixels, out, out_plane, planes, threads);
}
