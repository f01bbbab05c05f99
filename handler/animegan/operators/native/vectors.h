// Vectors of fp32 as wide as the form's registers, and how they are read from maps of fp32 or bf16 and written to them.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

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

}  // namespace
