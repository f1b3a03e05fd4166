// The functions of NCCL that the binding calls, for a test without a card: they tell what they were given.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

struct ncclUniqueId {
  char internal[128];
};
struct ncclConfig {
  uint64_t size;
  uint32_t magic, version;
  int32_t blocking;
};
static char communicator[8];
static char last[512];
static int under_way = 0;

extern "C" {
int ncclGetVersion(int* version) {
  const char* given = getenv("NCCL_STUB_VERSION");
  *version = given ? atoi(given) : 22803;
  return 0;
}
int ncclGetUniqueId(ncclUniqueId* id) {
  for (int i = 0; i < 128; i++) id->internal[i] = (char)(7 * i);
  return 0;
}
int ncclCommInitRankConfig(void** out, int ranks, ncclUniqueId id, int rank, ncclConfig* config) {
  for (int i = 0; i < 128; i++)
    if (id.internal[i] != (char)(7 * i)) return 4;
  snprintf(last, sizeof last, "%d of %d, config %lu %x %u %d", rank, ranks, (unsigned long)config->size, config->magic,
           config->version, config->blocking);
  *out = communicator;
  under_way = 2;
  return 7;
}
int ncclCommGetAsyncError(void* of, int* result) {
  *result = of != communicator ? 4 : under_way > 0 ? 7 : under_way < 0 ? 6 : 0;
  if (under_way > 0) under_way--;
  return 0;
}
int ncclCommCuDevice(void*, int* device) {
  *device = 3;
  return 0;
}
int ncclAllReduce(void* from, void* to, size_t count, int type, int operation, void* of, void* stream) {
  snprintf(last, sizeof last, "%p %p %zu %d %d %d %p", from, to, count, type, operation, of == communicator, stream);
  if (count == 0) return 4;
  under_way = count == 1 ? -1 : 1;
  return 7;
}
int ncclCommFinalize(void*) { return 7; }
int ncclCommDestroy(void*) { return 0; }
int ncclCommAbort(void* of) { return of == communicator ? 0 : 4; }
const char* ncclGetErrorString(int result) { return result == 6 ? "remote process exited" : "invalid argument"; }
const char* ncclGetLastError(void*) { return last; }
}
