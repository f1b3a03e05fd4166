"""The attention kernels compiled with NVRTC, in the tiles that the engine uses and in others that are tried. No GPU."""
import concurrent.futures, ctypes, glob, os, sys, threading, time
from attention_work import MACROS, Warpgroups, shared_bytes

KERNELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../../../src/engine/cuda/kernels')

FILES = {'forward': 'attention-forward', 'query': 'attention-backward-query', 'key': 'attention-backward-key-value', 'decode': 'attention-decode'}
NAMES = {'forward': 'attention_forward', 'query': 'attention_backward_query', 'key': 'attention_backward_key_value', 'decode': 'attention_decode'}
# (WARPS, ROW_FRAGMENTS, STREAM_TILE, MIN_BLOCKS) as in attention-work.ts: [D up to 64, D above].
TILES = {
    'forward': {'large': [(4, 2, 64, 2), (4, 2, 64, 2)], 'middle': [(4, 2, 64, 2), (4, 2, 32, 2)], 'small': [(8, 1, 32, 1), (8, 1, 32, 1)]},
    'query': {'large': [(4, 2, 32, 2), (4, 2, 32, 2)], 'middle': [(4, 2, 32, 2), (8, 1, 32, 1)], 'small': [(8, 1, 32, 1), (8, 1, 16, 1)]},
    'key': {'large': [(4, 2, 32, 2), (8, 1, 32, 1)], 'middle': [(4, 2, 32, 2), (8, 1, 32, 1)], 'small': [(8, 1, 32, 1), (8, 1, 16, 1)]},
    'decode': {'large': [(4, 1, 16, 3), (4, 1, 16, 3)], 'middle': [(4, 1, 16, 3), (4, 1, 16, 2)], 'small': [(4, 1, 16, 2), (4, 1, 16, 1)]},
}

def size_of(capability):
    return 'large' if 90 <= capability < 120 else 'middle' if capability in (80, 87) else 'small'

def tiles(kernel, capability, head, group=1):
    if kernel == 'key' and size_of(capability) == 'large' and head > 64 and group % 2 == 0: return (4, 1, 32, 1, 2)
    return TILES[kernel][size_of(capability)][1 if head > 64 else 0]

PRODUCTS = '''
// Three products of tiles with nothing around them: c0 = a·bᵀ with a in registers, c1 with a in shared memory, c2 = a'·b' with
// b' [depth][column] the first up to 64 rows of b and a' as many columns of a.
constexpr int depths = stream_tile < 64 ? stream_tile / 16 : 4;
extern "C" __global__ void products(float* c0, float* c1, float* c2, const bf16* a, const bf16* b) {
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const u32 left_tile = shared_address(shared_memory), right_tile = left_tile + 64 * HEAD_DIM * 2;
  copy_rows<64, 1, 128>(left_tile, a, HEAD_DIM, 64, thread);
  copy_rows<stream_tile, 1, 128>(right_tile, b, HEAD_DIM, stream_tile, thread);
  close_copy_group();
  wait_copy_groups<0>();
  publish_rows();
  __syncthreads();
  u32 left[head_steps][4], first[depths][4];
  load_left<64>(left, left_tile, warp * 16, lane);
  for (int d = 0; d < depths; d++) for (int i = 0; i < 4; i++) first[d][i] = left[d][i];
  float x[stream_tile / 8][4], y[stream_tile / 8][4], z[HEAD_DIM / 8][4];
  clear(z);
  hold(left); hold(first); hold(z);
  const u64 right = describe_rows(right_tile, stream_tile * 128);
  fence_products();
  multiply_transposed(x, left, right);
  close_products();
  wait_products<0>();
  hold(x);
  fence_products();
  multiply_transposed<64>(y, describe_rows(left_tile, 64 * 128), right);
  close_products();
  wait_products<0>();
  hold(y);
  fence_products();
  multiply_packed(z, first, right);
  close_products();
  wait_products<0>();
  hold(z);
  for (int half = 0; half < 2; half++) for (int j = 0; j < 2; j++) {
    const int row = warp * 16 + half * 8 + lane / 4, column = lane % 4 * 2 + j;
    for (int n = 0; n < stream_tile / 8; n++) {
      c0[row * stream_tile + n * 8 + column] = x[n][half * 2 + j];
      c1[row * stream_tile + n * 8 + column] = y[n][half * 2 + j];
    }
    for (int n = 0; n < HEAD_DIM / 8; n++) c2[row * HEAD_DIM + n * 8 + column] = z[n][half * 2 + j];
  }
}
'''

W = Warpgroups
WARPGROUP_CANDIDATES = {
    ('forward', 64): [W(16, 64, 1, 1, 1, 1, 3), W(8, 64, 2), W(4, 64, 4), W(4, 96, 3)],
    ('forward', 128): [W(8, 32, 2, 4, 0, 1, 3), W(4, 32, 3, 4), W(8, 32, 2, 4, 0), W(8, 64, 1, 1)],
    ('query', 64): [W(8, 64, 2, 1, 0, 1, 4), W(4, 64, 4, 1, 0), W(4, 64, 3, 1, 0, 1, 3), W(4, 96, 3, 1, 0), W(8, 64, 2, 1, 0), W(8, 64, 2, 1, 0, 1, 3), W(12, 64, 1, 1, 0, 1, 3), W(16, 64, 1, 1, 0)],
    ('query', 128): [W(8, 64, 1, 4, 0, 1, 3), W(4, 64, 2, 4, 0), W(4, 32, 3, 4, 0), W(8, 32, 2, 4, 0), W(12, 64, 1, 4, 0), W(12, 32, 1, 4, 0, 1, 3), W(16, 32, 1, 4, 0), W(8, 32, 2, 1, 0)],
    ('key', 64): [W(4, 64, 3, 1, 0), W(4, 64, 3, 1, 0, 1, 3), W(4, 32, 4, 1, 0), W(8, 32, 2, 1, 0), W(8, 32, 2, 1, 0, 1, 3), W(12, 64, 1, 1, 0), W(12, 64, 1, 1, 0, 1, 3), W(16, 32, 1, 1, 0), W(8, 64, 1, 1, 0), W(4, 96, 2, 1, 0)],
    ('key', 128): [W(4, 64, 1, 4, 0, 2, 3), W(4, 64, 1, 4, 0, 2, 2), W(4, 64, 2, 4, 0), W(4, 32, 1, 4, 0, 2, 3), W(4, 32, 2, 4, 0), W(4, 32, 2, 4, 0, 1, 3), W(8, 64, 1, 4, 0, 1, 3), W(4, 64, 1, 2, 0, 2, 3), W(4, 64, 1, 1, 0, 2, 3)],
}
WARPGROUP_KERNELS = [name for name in ('forward', 'query', 'key') if name in sys.argv] or ['forward', 'query', 'key']

def warpgroup_programs():
    return [('products', 90, head, W(4, stream, 1)) for head in (64, 128) for stream in (32, 64, 96, 128)] + [
        (kernel, 90, head, config) for (kernel, head), configs in WARPGROUP_CANDIDATES.items() if kernel in WARPGROUP_KERNELS for config in configs]

def open_nvrtc():
    folders = [os.path.join(p, 'nvidia', '*', 'lib') for p in sys.path if p] + ['/usr/local/cuda*/lib64']
    for folder in folders:
        for path in sorted(glob.glob(os.path.join(folder, 'libnvrtc.so.1[23]'))):
            for builtins in glob.glob(os.path.join(os.path.dirname(path), 'libnvrtc-builtins.so.*')):
                try:
                    ctypes.CDLL(builtins, mode=ctypes.RTLD_GLOBAL)
                except OSError:
                    pass
            return ctypes.CDLL(path)
    raise SystemExit('no libnvrtc found')

nvrtc = open_nvrtc()
read = lambda files: ''.join(open(os.path.join(KERNELS, f)).read() for f in files)
HELPERS = read(('mma-helpers.cuh', 'attention-tiles.cuh'))
WARPGROUP_HELPERS = read(('mma-helpers.cuh', 'warpgroup-helpers.cuh', 'warpgroup-tiles.cuh'))
cubins = {}
start_time = time.time()

def compile_kernel(key):
    """key = (kernel, capability, head, config)"""
    kernel, capability, head, config = key
    if isinstance(config, Warpgroups):
        text = PRODUCTS if kernel == 'products' else read((FILES[kernel].replace('attention-', 'attention-warpgroup-') + '.cu',))
        source, names, architecture = WARPGROUP_HELPERS + text, MACROS, 'sm_90a'
    else:
        source, names, architecture = HELPERS + read((FILES[kernel] + '.cu',)), ('WARPS', 'ROW_FRAGMENTS', 'STREAM_TILE', 'MIN_BLOCKS', 'HEAD_SPLIT'), f'sm_{capability}'
    options = [f'--gpu-architecture={architecture}', '--std=c++17', '--use_fast_math', '-default-device', f'-DHEAD_DIM={head}', *(f'-D{n}={v}' for n, v in zip(names, config))]
    source = source.encode()
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, (kernel + '.cu').encode(), 0, None, None) == 0
    status = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*[o.encode() for o in options]))
    size = ctypes.c_size_t()
    if status != 0:
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        raise SystemExit(f'{key}: {log.value.decode()}')
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    cubin = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, cubin)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    cubins[key] = cubin

def compile_all(keys):
    threading.stack_size(64 << 20)
    with concurrent.futures.ThreadPoolExecutor(max(1, min(16, os.cpu_count() or 1))) as pool:
        list(pool.map(compile_kernel, [k for k in dict.fromkeys(keys) if k not in cubins]))

def standard(capability, heads=(24, 32, 64, 128)):
    return [(kernel, capability, head, tiles(kernel, capability, head, group)) for kernel in FILES for head in heads for group in (1, 2)]

def compile_and_tell(capability):
    begin = time.time()
    compile_all(standard(capability) + (warpgroup_programs() if capability == 90 else []))
    for key, cubin in cubins.items():
        print(f'{key[0]:8s} D={key[2]:<4d} tiles {tuple(key[3])}: {len(cubin)} bytes' + (f', shared {shared_bytes(key[0], key[3], key[2])}' if key[0] != 'products' else ''))
    print(f'sm_{capability}: {len(cubins)} programs in {time.time() - begin:.1f} s')
