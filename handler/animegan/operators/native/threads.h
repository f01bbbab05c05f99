// PyTorch's own OpenMP threads, reached through the runtime that it has loaded: not linked, so that there is no second
// pool, and weak, so that there may be none.
#pragma once

#include <cstdint>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

extern "C" __attribute__((weak, visibility("default"))) void GOMP_parallel(void (*)(void*), void*, unsigned, unsigned);

namespace {

constexpr int64_t WORTH_A_THREAD = 1 << 15;  // elements

// Calls body(unit, worker) for every unit; which of the workers, numbered below `threads`, takes which is left to chance.
template <class Body>
void each_unit(int64_t units, int64_t elements, int64_t threads, const Body& body) {
  struct Job {
    const Body& body;
    int64_t units, next, workers;
  } job{body, units, 0, 0};
  auto work = [](void* data) {
    Job& shared = *static_cast<Job*>(data);
    const int64_t worker = __atomic_fetch_add(&shared.workers, 1, __ATOMIC_RELAXED);
    for (;;) {
      const int64_t unit = __atomic_fetch_add(&shared.next, 1, __ATOMIC_RELAXED);
      if (unit >= shared.units) break;
      shared.body(unit, worker);
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

}  // namespace
