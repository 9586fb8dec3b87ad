/* libFuzzer, with our changes beside its own. */
#include "fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  if (fuzz_random(&state, 5) == 0) return LLVMFuzzerMutate(data, size, room);
  return fuzz_mutate(data, size, room, &state);
}
