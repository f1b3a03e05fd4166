"""Attention kernels on the GPU: correctness against float64, then timings next to torch.

python3 test_attention.py            all checks and the bench (under 100 s)
python3 test_attention.py --tune     timings of other tile sizes as well
python3 test_attention.py --warpgroups [forward | query | key ...]   the warpgroup kernels (sm_90a) only: checks that say
                                     where an error sits, then timings next to the other kernels (about 30 s)
python3 test_attention.py --compile 80   NVRTC only, no GPU: compile what a card of this capability would run
"""
import concurrent.futures, ctypes, glob, math, os, statistics, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
KERNELS = os.path.join(HERE, '../../src/engine/cuda/kernels')
from attention_work import MACROS, Warpgroups, decode_work, head_split, key_work, query_work, row_bytes, shared_bytes, tile_rows

start_time = time.time()
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
    ('forward', 64): [W(8, 64, 2), W(4, 64, 4), W(4, 96, 3)],
    ('forward', 128): [W(4, 32, 3, 4), W(8, 32, 2, 4, 0), W(8, 64, 1, 1)],
    ('query', 64): [W(4, 64, 4, 1, 0), W(4, 64, 3, 1, 1), W(4, 64, 3, 1, 0, 1, 3), W(4, 96, 3, 1, 0), W(8, 64, 2, 1, 0), W(8, 64, 2, 1, 0, 1, 3), W(12, 64, 1, 1, 0, 1, 3), W(16, 64, 1, 1, 0), W(4, 32, 4, 1, 1)],
    ('query', 128): [W(4, 64, 2, 4, 0), W(4, 32, 3, 4, 0), W(8, 32, 2, 4, 0), W(12, 64, 1, 4, 0), W(12, 32, 1, 4, 0, 1, 3), W(16, 32, 1, 4, 0), W(8, 64, 1, 4, 0, 1, 3), W(8, 32, 2, 1, 0)],
    ('key', 64): [W(4, 64, 3, 1, 0), W(4, 64, 3, 1, 0, 1, 3), W(4, 32, 4, 1, 0), W(4, 32, 3, 1, 1), W(8, 32, 2, 1, 0), W(8, 32, 2, 1, 0, 1, 3), W(12, 64, 1, 1, 0), W(12, 64, 1, 1, 0, 1, 3), W(16, 32, 1, 1, 0), W(8, 64, 1, 1, 0), W(4, 96, 2, 1, 0), W(4, 64, 2, 1, 1)],
    ('key', 128): [W(4, 64, 1, 4, 0, 2, 3), W(4, 64, 1, 4, 0, 2, 2), W(4, 64, 2, 4, 0), W(4, 32, 1, 4, 0, 2, 3), W(4, 32, 2, 4, 0), W(4, 32, 2, 4, 0, 1, 3), W(8, 64, 1, 4, 0, 1, 3), W(4, 64, 1, 2, 0, 2, 3), W(4, 64, 1, 1, 0, 2, 3)],
}
WARPGROUP_KERNELS = [name for name in ('forward', 'query', 'key') if name in sys.argv] or ['forward', 'query', 'key']

def warpgroup_programs():
    return [('products', 90, head, W(4, stream, 1), 0) for head in (64, 128) for stream in (32, 64, 96, 128)] + [
        (kernel, 90, head, config, 0) for (kernel, head), configs in WARPGROUP_CANDIDATES.items() if kernel in WARPGROUP_KERNELS for config in configs]

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

def compile_kernel(key):
    """key = (kernel, capability, head, config, query_in_registers)"""
    kernel, capability, head, config, in_registers = key
    if isinstance(config, Warpgroups):
        text = PRODUCTS if kernel == 'products' else read((FILES[kernel].replace('attention-', 'attention-warpgroup-') + '.cu',))
        source, names, architecture = WARPGROUP_HELPERS + text, MACROS, 'sm_90a'
    else:
        source, names, architecture = HELPERS + read((FILES[kernel] + '.cu',)), ('WARPS', 'ROW_FRAGMENTS', 'STREAM_TILE', 'MIN_BLOCKS', 'HEAD_SPLIT'), f'sm_{capability}'
    options = [f'--gpu-architecture={architecture}', '--std=c++17', '--use_fast_math', '-default-device', f'-DHEAD_DIM={head}', *(f'-D{n}={v}' for n, v in zip(names, config))]
    if not isinstance(config, Warpgroups):
        options.append(f'-DQUERY_IN_REGISTERS={in_registers}')
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
    return [(kernel, capability, head, tiles(kernel, capability, head, group), 0) for kernel in FILES for head in heads for group in (1, 2)]

if '--compile' in sys.argv:
    capability = int(sys.argv[sys.argv.index('--compile') + 1])
    begin = time.time()
    compile_all(standard(capability) + (warpgroup_programs() if capability == 90 else []))
    for key, cubin in cubins.items():
        print(f'{key[0]:8s} D={key[2]:<4d} tiles {tuple(key[3])}: {len(cubin)} bytes' + (f', shared {shared_bytes(key[0], key[3], key[2])}' if key[0] != 'products' else ''))
    print(f'sm_{capability}: {len(cubins)} programs in {time.time() - begin:.1f} s')
    sys.exit()

import numpy as np
import torch
import torch.nn.attention
import torch.nn.functional as functional

torch.backends.cuda.matmul.allow_tf32 = False
torch.zeros(1, device='cuda')
device = torch.cuda.get_device_properties(0)
capability = device.major * 10 + device.minor
cuda = ctypes.CDLL('libcuda.so.1')
functions = {}
SEED = int(time.time())  # fresh inputs in every run; printed

def check(status, what):
    if status != 0:
        raise SystemExit(f'{what}: CUDA error {status}')

def function(key, name, shared):
    if (key, name) not in functions:
        module, handle = ctypes.c_void_p(), ctypes.c_void_p()
        check(cuda.cuModuleLoadData(ctypes.byref(module), cubins[key]), f'load {key}')
        check(cuda.cuModuleGetFunction(ctypes.byref(handle), module, name.encode()), name)
        if shared > 48 << 10:
            check(cuda.cuFuncSetAttribute(handle, 8, shared), f'shared {shared} for {key}')
        functions[(key, name)] = handle
    return functions[(key, name)]

def launch(key, name, grid, block, shared, *arguments):
    """Tensors and None are pointers, int is int32, float is fp32. Returns a callable that queues the launch."""
    handle = function(key, name, shared)
    values = [ctypes.c_void_p(a.data_ptr()) if torch.is_tensor(a) else ctypes.c_void_p(0) if a is None else ctypes.c_int(a) if isinstance(a, int) else ctypes.c_float(a) for a in arguments]
    pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
    keep = (values, arguments)
    def run():
        keep
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        check(cuda.cuLaunchKernel(handle, grid[0], grid[1], 1, block, 1, 1, shared, stream, pointers, None), name)
    return run

def heads_of(config):
    """Query heads that a block of the forward and of the backward of queries takes."""
    return config.group if isinstance(config, Warpgroups) else 1

def on_device(items):
    return torch.from_numpy(np.ascontiguousarray(items)).cuda()

class Problem:
    """Tensors of one attention call, as column ranges of wider rows, and launches of our kernels on them."""
    def __init__(self, head, heads, kv_heads, query_lengths, key_lengths, causal, seed=0, gap=0):
        torch.manual_seed(seed)
        self.head, self.heads, self.kv_heads, self.causal = head, heads, kv_heads, causal
        self.query_starts = [0, *np.cumsum(query_lengths).tolist()]
        self.key_lengths = list(key_lengths)
        self.key_starts = [0, *np.cumsum([n + gap for n in key_lengths]).tolist()][:-1]
        self.queries, self.keys = self.query_starts[-1], self.key_starts[-1] + self.key_lengths[-1]
        self.scale = head ** -0.5
        if list(query_lengths) == self.key_lengths and gap == 0:
            wide = self.split(torch.randn(self.queries, (heads + 2 * kv_heads) * head + 16, device='cuda').bfloat16())
            grads = self.split(torch.full((self.queries, (heads + 2 * kv_heads) * head + 16), math.nan, device='cuda', dtype=torch.bfloat16))
        else:
            rows = lambda t, n, f: f(t, n * head + 8)
            random = lambda t, n: torch.randn(t, n, device='cuda').bfloat16()
            poison = lambda t, n: torch.full((t, n), math.nan, device='cuda', dtype=torch.bfloat16)
            wide = [rows(self.queries, heads, random), rows(self.keys, kv_heads, random), rows(self.keys, kv_heads, random)]
            grads = [rows(self.queries, heads, poison), rows(self.keys, kv_heads, poison), rows(self.keys, kv_heads, poison)]
        self.q, self.k, self.v = wide
        self.q *= 2
        self.dq, self.dk, self.dv = grads
        self.do = torch.randn(self.queries, heads * head + 8, device='cuda').bfloat16()
        self.o = torch.full((self.queries, heads * head + 24), math.nan, device='cuda', dtype=torch.bfloat16)
        self.lse = torch.full((heads, self.queries), math.nan, device='cuda')
        self.delta = torch.full((heads, self.queries), math.nan, device='cuda')

    def split(self, x):
        a, b = self.heads * self.head, self.kv_heads * self.head
        return [x[:, :a], x[:, a:a + b], x[:, a + b:a + 2 * b]]

    def common(self, kernel, config, in_registers=0):
        config = config or tiles(kernel, capability, self.head, self.heads // self.kv_heads)
        return config, (kernel, capability, self.head, config, in_registers), shared_bytes(kernel, config, self.head)

    def forward(self, config=None, in_registers=0, save=True):
        config, key, shared = self.common('forward', config, in_registers)
        work = on_device(query_work(self.query_starts, self.key_starts, self.key_lengths, tile_rows(config, 'forward'), self.causal))
        return launch(key, NAMES['forward'], (self.heads // heads_of(config), len(work)), 32 * config[0], shared, self.o, self.lse if save else None, self.q, self.k, self.v, work,
                      self.o.stride(0), self.q.stride(0), self.k.stride(0), self.v.stride(0), self.kv_heads, self.queries, self.scale, int(self.causal))

    def backward_delta(self):
        config, key, _ = self.common('query', None)
        lanes = 1 << max(0, (self.head // 8 - 1).bit_length())
        return launch(key, 'attention_backward_delta', (-(-self.queries * self.heads * lanes // 256), 1), 256, 0, self.delta, self.do, self.o,
                      self.do.stride(0), self.o.stride(0), self.heads, self.queries)

    def backward_query(self, config=None):
        config, key, shared = self.common('query', config)
        work = on_device(query_work(self.query_starts, self.key_starts, self.key_lengths, tile_rows(config, 'query'), self.causal))
        return launch(key, NAMES['query'], (self.heads // heads_of(config), len(work)), 32 * config[0], shared, self.dq, self.do, self.q, self.k, self.v, self.lse, self.delta, work,
                      self.dq.stride(0), self.do.stride(0), self.q.stride(0), self.k.stride(0), self.v.stride(0), self.kv_heads, self.queries, self.scale, int(self.causal))

    def backward_key(self, config=None):
        config, key, shared = self.common('key', config)
        work = on_device(key_work(self.query_starts, self.key_starts, self.key_lengths, tile_rows(config, 'key'), self.causal))
        if len(work) == 0:
            return lambda: None
        return launch(key, NAMES['key'], (self.kv_heads, len(work)), 32 * config[0] * head_split(config), shared, self.dk, self.dv, self.do, self.q, self.k, self.v, self.lse, self.delta, work,
                      self.dk.stride(0), self.dv.stride(0), self.do.stride(0), self.q.stride(0), self.k.stride(0), self.v.stride(0), self.heads, self.queries, self.scale, int(self.causal))

    def decode(self, blocks, newest=None):
        """newest: k and v of each query row, cos, sin, query scales: the kernel turns q and appends them."""
        config, key, shared = self.common('decode', None)
        items, shares, slots = decode_work(self.query_starts, self.key_starts, self.key_lengths, self.kv_heads, self.causal, blocks)
        partial = torch.full((max(1, slots), self.heads, self.head), math.nan, device='cuda')
        partial_sum = torch.full((max(1, slots), self.heads), math.nan, device='cuda')
        self.arrived = torch.zeros(max(1, slots) * self.kv_heads, dtype=torch.int32, device='cuda')
        new_k, new_v, cos, sin, scales = newest or [None] * 5
        shares = on_device(shares) if slots else None
        return launch(key, NAMES['decode'], (self.kv_heads, len(items)), 32 * config[0], shared, self.o, partial, partial_sum, self.q, self.k, self.v,
                      on_device(items), shares, self.arrived, new_k, new_v, cos, sin, scales,
                      self.o.stride(0), self.q.stride(0), self.k.stride(0), self.v.stride(0),
                      new_k.stride(0) if newest else 0, new_v.stride(0) if newest else 0, self.heads, self.scale)

    def segments(self):
        for s in range(len(self.key_starts)):
            yield slice(self.query_starts[s], self.query_starts[s + 1]), slice(self.key_starts[s], self.key_starts[s] + self.key_lengths[s])

    def reference(self, dtype, gradients=True):
        """o, lse, dq, dk, dv by torch: explicit softmax in float64 or float32, scaled_dot_product_attention in bf16."""
        out = {n: torch.zeros(t.shape[0], c * self.head, device='cuda', dtype=dtype) for n, t, c in
               (('o', self.q, self.heads), ('dq', self.q, self.heads), ('dk', self.k, self.kv_heads), ('dv', self.v, self.kv_heads))}
        out['lse'] = torch.full((self.heads, self.queries), -math.inf, device='cuda', dtype=torch.float64)
        for rows, columns in self.segments():
            n, m = rows.stop - rows.start, columns.stop - columns.start
            if m == 0:
                continue
            heads = lambda t, r, c: t[r, :c * self.head].to(dtype).view(-1, c, self.head).transpose(0, 1).contiguous().requires_grad_(gradients)
            q, k, v = heads(self.q, rows, self.heads), heads(self.k, columns, self.kv_heads), heads(self.v, columns, self.kv_heads)
            kk, vv = (x.repeat_interleave(self.heads // self.kv_heads, 0) for x in (k, v))
            mask = torch.ones(n, m, dtype=torch.bool, device='cuda').tril(m - n) if self.causal else None
            if dtype == torch.bfloat16:
                if self.causal and n == m:
                    o = functional.scaled_dot_product_attention(q[None], kk[None], vv[None], is_causal=True)[0]
                else:
                    o = functional.scaled_dot_product_attention(q[None], kk[None], vv[None], attn_mask=mask)[0]
            else:
                s = q @ kk.transpose(1, 2) * self.scale
                if mask is not None:
                    s = s.masked_fill(~mask, -math.inf)
                out['lse'][:, rows] = s.detach().logsumexp(-1).double()
                empty = None if mask is None else ~mask.any(1)
                if empty is not None and empty.any():
                    s = s.masked_fill(empty[None, :, None], 0.0)
                    p = s.softmax(-1).masked_fill(empty[None, :, None], 0.0)
                else:
                    p = s.softmax(-1)
                o = p @ vv
            flat = lambda t: t.detach().transpose(0, 1).reshape(t.shape[1], -1)
            out['o'][rows] = flat(o)
            if gradients:
                grads = torch.autograd.grad(o, (q, k, v), heads(self.do, rows, self.heads).detach())
                for name, place, g in zip(('dq', 'dk', 'dv'), (rows, columns, columns), grads):
                    out[name][place] = flat(g)
        return out

def relative(a, b):
    a, b = a.double(), b.double()
    return ((a - b).norm() / b.norm().clamp_min(1e-30)).item()

failures = []

def test_training(head, heads, kv_heads, query_lengths, key_lengths, causal, gap_of_torch=True):
    p = Problem(head, heads, kv_heads, query_lengths, key_lengths, causal, seed=SEED)
    steps = [p.forward(), p.backward_delta(), p.backward_query(), p.backward_key()]
    def run():
        for step in steps:
            step()
        torch.cuda.synchronize()
        return [t.clone() for t in (p.o, p.lse, p.dq, p.dk, p.dv)]
    first = run()
    same = all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, run()))
    exact = p.reference(torch.float64)
    other = p.reference(torch.bfloat16) if gap_of_torch else None
    line, bad = [], not same
    width = {'o': heads * head, 'dq': heads * head, 'dk': kv_heads * head, 'dv': kv_heads * head}
    for name, got in zip(('o', 'dq', 'dk', 'dv'), (p.o, p.dq, p.dk, p.dv)):
        ours = relative(got[:, :width[name]], exact[name])
        theirs = relative(other[name], exact[name]) if other else 0.006
        # Nothing to compare with where the reference is nearly zero (one key: ds is rounding noise).
        bad |= not ours <= 1.5 * theirs + 1e-4
        line.append(f'{name} {ours:.2e}/{theirs:.2e}')
    bad |= not bool(p.o[:, heads * head:].isnan().all())
    seen = exact['lse'].isfinite()
    lse_error = relative(p.lse[seen], exact['lse'][seen])
    bad |= not lse_error < 1e-5 or bool((p.lse.isneginf() != ~seen).any())
    report(bad, f'D{head} {heads}/{kv_heads} {"causal" if causal else "full"} q{list(query_lengths)} k{"=q" if list(query_lengths) == list(key_lengths) else list(key_lengths)}: '
           + ' '.join(line) + f' lse {lse_error:.0e}' + ('' if same else ' NOT DETERMINISTIC'))

def test_forward_long():
    p = Problem(64, 1, 1, [12100], [12100], False)
    p.forward()()
    exact = p.reference(torch.float32, gradients=False)
    error = relative(p.o[:, :64], exact['o'])
    p.o.fill_(math.nan)
    p.forward(save=False)()
    again = relative(p.o[:, :64], exact['o'])
    report(not (error < 4e-3 and again == error), f'D64 one segment of 12100, full: o {error:.2e}, without lse {again:.2e}')

def test_decode(head, heads, kv_heads, query_lengths, key_lengths, blocks):
    p = Problem(head, heads, kv_heads, query_lengths, key_lengths, True, seed=SEED, gap=5)
    p.decode(blocks)()
    exact = p.reference(torch.float64, gradients=False)
    error = relative(p.o[:, :heads * head], exact['o'])
    report(not error < 4e-3, f'decode D{head} {heads}/{kv_heads} sequences {len(key_lengths)} keys {min(key_lengths)}..{max(key_lengths)} blocks {blocks}: o {error:.2e}')

def test_append(head, heads, kv_heads, key_lengths, blocks, scaled):
    """One new row a sequence: turned, put behind the cached keys and attended to, in one launch; twice, as counters must be zero again."""
    p = Problem(head, heads, kv_heads, [1] * len(key_lengths), key_lengths, True, seed=SEED, gap=5)
    rows, half = p.queries, head // 2
    angle = torch.rand(rows, half, device='cuda') * 7
    cos, sin = angle.cos().contiguous(), angle.sin().contiguous()
    scales = 1 + torch.rand(rows, device='cuda') if scaled else None
    places = torch.tensor([p.key_starts[s] + p.key_lengths[s] - 1 for s in range(len(key_lengths))], device='cuda')
    width = kv_heads * head
    both = torch.randn(rows, 2 * width + 24, device='cuda').to(torch.bfloat16)
    new_k, new_v = both[:, :width], both[:, width:2 * width]
    def turned(x, n, factor):
        a = x.float().reshape(rows, n, 2, half)
        c, s = cos[:, None], sin[:, None]
        y = torch.stack((a[:, :, 0] * c - a[:, :, 1] * s, a[:, :, 1] * c + a[:, :, 0] * s), 2).reshape(rows, -1)
        return (y * factor[:, None]).to(torch.bfloat16)
    one = torch.ones(rows, device='cuda')
    want_k, want_v = p.k.clone(), p.v.clone()
    want_k[places, :width] = turned(new_k, kv_heads, one)
    want_v[places, :width] = new_v
    run = p.decode(blocks, (new_k, new_v, cos, sin, scales))
    run()
    torch.cuda.synchronize()
    first = p.o.clone()
    kept = relative(p.k[places, :width], want_k[places, :width]) < 1e-3 and torch.equal(p.v[places, :width], want_v[places, :width])
    p.k[places, :width] = want_k[places, :width]
    kept = kept and torch.equal(p.k.nan_to_num(), want_k.nan_to_num()) and torch.equal(p.v.nan_to_num(), want_v.nan_to_num())
    run()
    torch.cuda.synchronize()
    same = torch.equal(first.nan_to_num(), p.o.nan_to_num()) and not bool(p.arrived.any())
    p.q[:, :heads * head] = turned(p.q[:, :heads * head], heads, one if scales is None else scales)
    exact = p.reference(torch.float64, gradients=False)
    error = relative(p.o[:, :heads * head], exact['o'])
    report(not (error < 4e-3 and kept and same), f'append D{head} {heads}/{kv_heads} keys {list(key_lengths)} blocks {blocks}: o {error:.2e} cache {kept} repeats {same}')

def report(bad, text):
    if bad:
        failures.append(text)
    print('BAD ' if bad else 'ok  ', text, flush=True)

def milliseconds(run, repeats=10, rounds=7):
    """Median over rounds of the mean of some runs, replayed as a graph so that launches from Python do not count."""
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            run()
    graph.replay()
    times = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / repeats)
    return statistics.median(times)

def torch_times(p, backend):
    """Forward and backward of torch's attention for equal segments, or nan."""
    batch, n = len(p.key_lengths), p.key_lengths[0]
    shape = lambda t, c: t[:, :c * p.head].reshape(batch, n, c, p.head).transpose(1, 2).contiguous()
    q, k, v, do = shape(p.q, p.heads), shape(p.k, p.kv_heads), shape(p.v, p.kv_heads), shape(p.do, p.heads)
    group = p.heads // p.kv_heads
    q, k, v = q.requires_grad_(), k.repeat_interleave(group, 1).requires_grad_(), v.repeat_interleave(group, 1).requires_grad_()
    def plain(run, repeats=10):
        for _ in range(3):
            run()
        times = []
        for _ in range(5):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            for _ in range(repeats):
                run()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / repeats)
        return statistics.median(times)
    try:
        with torch.nn.attention.sdpa_kernel(backend):
            with torch.no_grad():
                forward = plain(lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=p.causal))
            o = functional.scaled_dot_product_attention(q, k, v, is_causal=p.causal)
            backward = plain(lambda: torch.autograd.grad(o, (q, k, v), do, retain_graph=True))
        return forward, backward
    except RuntimeError:
        return math.nan, math.nan

def pairs(p):
    total = 0
    for rows, columns in p.segments():
        n = rows.stop - rows.start
        total += n * (n + 1) // 2 if p.causal else n * (columns.stop - columns.start)
    return total

def shapes():
    return [('text   8 x 516 H32/8 D128 causal', Problem(128, 32, 8, [516] * 8, [516] * 8, True)),
            ('vision 8 x 1400 H16 D64 full', Problem(64, 16, 16, [1400] * 8, [1400] * 8, False)),
            ('vision 1 x 12100 H16 D64 full', Problem(64, 16, 16, [12100], [12100], False)),
            ('long   1 x 8192 H32/8 D128 causal', Problem(128, 32, 8, [8192], [8192], True))]

def bench():
    backends = torch.nn.attention.SDPBackend
    for name, p in shapes():
        flops = 4 * p.head * p.heads * pairs(p)
        repeats = 10 if flops < 1e11 else 3
        f, d, q, k = (milliseconds(r, repeats) for r in (p.forward(), p.backward_delta(), p.backward_query(), p.backward_key()))
        rate = lambda ms, factor=1.0: f'{ms:.3f} ms {factor * flops / ms / 1e9:.0f}'
        print(f'{name}: fwd {rate(f)} TFLOP/s; bwd {rate(d + q + k, 2.5)} (delta {d:.3f}, dq {rate(q, 1.5)} raw, dkdv {rate(k, 2)} raw)')
        for label, backend in (('flash', backends.FLASH_ATTENTION), ('cudnn', backends.CUDNN_ATTENTION)):
            tf, tb = torch_times(p, backend)
            print(f'    torch {label}: fwd {rate(tf)}; bwd {rate(tb, 2.5)}', flush=True)
    for sequences in (1, 16, 140):
        p = Problem(128, 32, 8, [1] * sequences, [600] * sequences, True, gap=40)
        bytes_read = 2 * 2 * p.kv_heads * p.head * 600 * sequences
        for blocks in (1, 3 * device.multi_processor_count, 6 * device.multi_processor_count):
            ms = milliseconds(p.decode(blocks), 20)
            print(f'decode {sequences} x 600 keys, blocks {blocks}: {1000 * ms:.1f} us, {bytes_read / ms / 1e6:.0f} GB/s', flush=True)

def show_blocks(error, rows=128, columns=128):
    """The largest error of each 8 x 8 block, as characters: . below 0.01, then digits for powers of ten."""
    error = error.double().nan_to_num(nan=1e9)[:rows, :columns]
    error = functional.pad(error, (0, -error.shape[1] % 8, 0, -error.shape[0] % 8))
    blocks = error.reshape(error.shape[0] // 8, 8, -1, 8).amax((1, 3))
    for line in blocks.tolist():
        print('      ' + ' '.join('.' if v < 0.01 else 'N' if v >= 1e8 else f'{v:.2f}' if v < 10 else f'{v:.0f}' for v in line))

def test_products(head, stream):
    """Small whole numbers: every product is exact, so any difference is a wrong place."""
    key = ('products', capability, head, Warpgroups(4, stream, 1), 0)
    random = lambda rows: torch.randint(-4, 5, (rows, head), device='cuda').bfloat16()
    a, b = random(64), random(stream)
    c = [torch.full((64, n), math.nan, device='cuda') for n in (stream, stream, head)]
    launch(key, 'products', (1, 1), 128, (64 + stream) * 2 * head, *c, a, b)()
    torch.cuda.synchronize()
    depth = min(64, stream)
    wanted = [a.float() @ b.float().T] * 2 + [a[:, :depth].float() @ b[:depth].float()]
    for name, got, want in zip(('registers x [column][depth]', 'shared x [column][depth]', 'registers x [depth][column]'), c, wanted):
        bad = not torch.equal(got, want)
        report(bad, f'product D{head} {stream} columns, {name}')
        if bad:
            show_blocks((got - want).abs())
            print('      got ', got[0, :16].tolist(), got[9, :8].tolist(), '\n      want', want[0, :16].tolist(), want[9, :8].tolist())

def special_inputs(p, kind):
    """Inputs whose results say which product or tile is wrong."""
    if kind == 'all keys alike': p.q.zero_()          # o is the mean of v
    if kind == 'values are unit rows':                  # o is the probability of each key, 64 at a time
        p.v.zero_()
        for i in range(p.keys):
            p.v[i, i % p.head::p.head] = 1
    if kind == 'one key counts':                       # o is the row of v with the query's number
        p.q.zero_(); p.k.zero_()
        for i in range(p.queries): p.q[i, i % p.head::p.head] = 64
        for i in range(p.keys): p.k[i, i % p.head::p.head] = 64

def test_warpgroup_forward(head, heads, kv_heads, query_lengths, key_lengths, causal, config, kind=''):
    p = Problem(head, heads, kv_heads, query_lengths, key_lengths, causal, seed=SEED)
    special_inputs(p, kind)
    p.forward(config)()
    torch.cuda.synchronize()
    first = p.o.clone(), p.lse.clone()
    p.forward(config)()
    same = all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, (p.o, p.lse)))
    exact = p.reference(torch.float64, gradients=False)
    width = heads * head
    error = relative(p.o[:, :width], exact['o'])
    seen = exact['lse'].isfinite()
    lse_error = (p.lse[seen] - exact['lse'][seen]).abs().max().item()
    p.forward(config, save=False)()
    bad = not (error < 4e-3 and lse_error < 1e-3 and same) or not bool(p.o[:, width:].isnan().all()) or bool((p.lse.isneginf() != ~seen).any())
    bad |= not torch.equal(p.o.nan_to_num(), first[0].nan_to_num())
    report(bad, f'forward D{head} {heads}/{kv_heads} {"causal" if causal else "full"} {tuple(config)} q{list(query_lengths)} k{"=q" if list(query_lengths) == list(key_lengths) else list(key_lengths)} {kind}: '
           f'o {error:.1e} lse {lse_error:.0e}' + ('' if same else ' NOT DETERMINISTIC'))
    if bad:
        show_blocks((p.o[:, :width] - exact['o']).abs())
        print('      lse difference of the first head by rows of 8:', [f'{v:.2g}' for v in functional.pad((p.lse[0] - exact['lse'][0]).float(), (0, -p.queries % 8)).view(-1, 8).abs().amax(1)[:24].tolist()])
    return bad

def run_of(p, kernel, config=None):
    return {'forward': p.forward, 'query': p.backward_query, 'key': p.backward_key}[kernel](config)

def results_of(p, kernel):
    """Results without what lies behind their columns."""
    heads = {'o': p.heads, 'dq': p.heads, 'dk': p.kv_heads, 'dv': p.kv_heads}
    return {n: getattr(p, n)[:, :heads[n] * p.head] for n in {'forward': ('o',), 'query': ('dq',), 'key': ('dk', 'dv')}[kernel]}

def test_warpgroup_backward(head, heads, kv_heads, query_lengths, key_lengths, causal, kernel):
    """Each configuration against float64, no worse than the kernel without warpgroups."""
    p = Problem(head, heads, kv_heads, query_lengths, key_lengths, causal, seed=SEED)
    for step in (p.forward(), p.backward_delta(), run_of(p, kernel)):
        step()
    exact = p.reference(torch.float64)
    known = {n: relative(t, exact[n]) for n, t in results_of(p, kernel).items()}
    for config in WARPGROUP_CANDIDATES[(kernel, head)]:
        run, results = run_of(p, kernel, config), results_of(p, kernel)
        for t in results.values():
            t.fill_(math.nan)
        run()
        torch.cuda.synchronize()
        first = {n: t.clone() for n, t in results.items()}
        run()
        same = all(torch.equal(first[n].nan_to_num(), t.nan_to_num()) for n, t in results.items())
        errors = {n: relative(t, exact[n]) for n, t in results.items()}
        wide = all(bool(getattr(p, n)[:, t.shape[1]:].isnan().all()) for n, t in results.items())
        bad = not (same and wide and all(e <= 1.2 * known[n] + 1e-4 for n, e in errors.items()))
        report(bad, f'{kernel} D{head} {heads}/{kv_heads} {"causal" if causal else "full"} {tuple(config)} q{list(query_lengths)} k{"=q" if list(query_lengths) == list(key_lengths) else list(key_lengths)}: '
               + ' '.join(f'{n} {e:.2e}/{known[n]:.2e}' for n, e in errors.items()) + ('' if same else ' NOT DETERMINISTIC') + ('' if wide else ' WROTE BEHIND ITS COLUMNS'))
        if bad:
            for n, t in results.items():
                print(f'      {n}:')
                show_blocks((t - exact[n]).abs())

VISION = [2116, 1300, 900, 1500, 1100, 1000, 640, 900]
TEXT = [720, 560, 480, 600, 410, 520, 350, 500]
def warpgroup_checks_and_times():
    if capability != 90:
        raise SystemExit(f'the warpgroup kernels are for sm_90a; this is {device.name}, sm_{capability}')
    compile_all(warpgroup_programs() + [key for key in standard(capability, (64, 128)) if key[0] != 'decode'])
    print(f'{device.name} sm_{capability}: compiled at {time.time() - start_time:.0f} s, seed {SEED}', flush=True)
    for head in (64, 128):
        for stream in (32, 64, 96, 128):
            test_products(head, stream)
    for head, causal in ((64, False), (128, True)):
        for config in WARPGROUP_CANDIDATES[('forward', head)] if 'forward' in WARPGROUP_KERNELS else ():
            g = config.group
            if not test_warpgroup_forward(head, g, 1, [64], [64], False, config):
                test_warpgroup_forward(head, 2 * g, 2, [1, 7, 64, 129, 700], [1, 7, 64, 129, 700], causal, config)
                test_warpgroup_forward(head, 4, 1, [1, 5, 130, 64, 40], [100, 700, 90, 64, 0], not causal, config)
            else:
                for kind in ('all keys alike', 'values are unit rows', 'one key counts'):
                    test_warpgroup_forward(head, g, 1, [64], [64], False, config, kind)
        group = 1 if head == 64 else 4
        for kernel in WARPGROUP_KERNELS:
            if kernel != 'forward':
                test_warpgroup_backward(head, group, 1, [64], [64], False, kernel)
                test_warpgroup_backward(head, 2 * group, 2, [1, 7, 64, 129, 700], [1, 7, 64, 129, 700], causal, kernel)
                test_warpgroup_backward(head, 4, 1, [1, 5, 130, 64, 40], [100, 700, 90, 64, 0], not causal, kernel)
    print(f'{len(failures)} failures at {time.time() - start_time:.0f} s', flush=True)
    for head, heads, kv_heads, lengths, causal in ((64, 16, 16, VISION, False), (64, 16, 16, VISION[:4], False), (64, 16, 16, [1400] * 8, False), (64, 16, 16, [12100], False), (128, 32, 8, TEXT, True), (128, 32, 8, TEXT[:4], True)):
        p = Problem(head, heads, kv_heads, lengths, lengths, causal)
        print(f'D{head} {heads}/{kv_heads} {"causal" if causal else "full"} {lengths}:', flush=True)
        for step in (p.forward(), p.backward_delta()):
            step()
        for kernel in WARPGROUP_KERNELS:
            flops = {'forward': 4, 'query': 6, 'key': 8}[kernel] * head * heads * pairs(p)
            run_of(p, kernel)()
            results = results_of(p, kernel)
            wanted = {n: t.clone() for n, t in results.items()}
            for config in [None, *WARPGROUP_CANDIDATES[(kernel, head)]]:
                for t in results.values():
                    t.fill_(math.nan)
                run = run_of(p, kernel, config)
                run()
                error = max(relative(t, wanted[n]) for n, t in results.items())
                ms = milliseconds(run, 10 if flops < 1e11 else 3)
                print(f'    {kernel} {"as it was" if config is None else tuple(config)}: {1000 * ms:.1f} us, {flops / ms / 1e9:.0f} TFLOP/s{"" if error < 1e-2 else f"  WRONG {error:.1e}"}', flush=True)

CANDIDATES = {
    ('forward', 128): [(4, 2, 64, 2), (4, 2, 48, 2), (4, 2, 32, 2), (8, 1, 64, 1), (8, 1, 32, 1), (4, 1, 64, 2)],
    ('forward', 64): [(4, 2, 64, 2), (4, 2, 64, 3), (4, 2, 48, 3), (4, 2, 32, 3), (8, 1, 64, 2), (4, 1, 64, 4), (8, 2, 64, 1), (4, 2, 96, 2)],
    ('query', 128): [(4, 2, 32, 2), (8, 1, 32, 1), (8, 1, 64, 1), (4, 1, 32, 3), (4, 1, 32, 2), (4, 1, 64, 2)],
    ('query', 64): [(4, 2, 32, 2), (4, 2, 32, 3), (4, 2, 48, 2), (4, 2, 64, 2), (8, 1, 32, 2), (4, 1, 32, 4), (8, 1, 64, 1), (4, 1, 64, 3)],
    ('key', 128): [(8, 1, 32, 1), (8, 1, 64, 1), (4, 1, 32, 2), (4, 1, 64, 2), (4, 1, 32, 1, 2), (4, 1, 48, 1, 2), (2, 1, 32, 1, 4)],
    ('key', 64): [(4, 2, 32, 2), (8, 1, 32, 2), (8, 1, 64, 1), (4, 1, 64, 3), (4, 1, 32, 4), (4, 2, 16, 2), (4, 1, 32, 3), (4, 1, 64, 2)],
}

def tune():
    jobs = [(kernel, capability, head, config, 0) for (kernel, head), configs in CANDIDATES.items() for config in configs]
    jobs += [('forward', capability, 64, config, 1) for config in ((4, 2, 64, 2), (4, 2, 48, 2), (8, 1, 64, 2), (8, 1, 64, 1))]
    jobs += [('forward', capability, 128, config, 1) for config in ((8, 1, 64, 1), (8, 1, 48, 1))]
    compile_all(jobs)
    problems = {128: shapes()[0][1], 64: shapes()[1][1]}
    wanted = {}
    for p in problems.values():
        for step in (p.forward(), p.backward_delta(), p.backward_query(), p.backward_key()):
            step()
    for kernel, _, head, config, in_registers in jobs:
        p = problems[head]
        results = {'forward': (p.o,), 'query': (p.dq,), 'key': (p.dk, p.dv)}[kernel]
        wanted.setdefault((kernel, head), [r.clone() for r in results])
        for r in results:
            r.fill_(math.nan)
        run = {'forward': lambda: p.forward(config, in_registers), 'query': lambda: p.backward_query(config), 'key': lambda: p.backward_key(config)}[kernel]()
        run()
        columns = min(r.shape[1] for r in results) if kernel != 'forward' else p.heads * head
        error = max(relative(r[:, :columns], w[:, :columns]) for r, w in zip(results, wanted[(kernel, head)]))
        ms = milliseconds(run)
        flops = {'forward': 4, 'query': 6, 'key': 8}[kernel] * head * p.heads * pairs(p)
        print(f'tune {kernel:8s} D{head} {config} {"q in registers" if in_registers else ""}: {ms:.4f} ms {flops / ms / 1e9:.0f} raw TFLOP/s{"" if error < 1e-2 else f"  WRONG {error:.1e}"}', flush=True)

if '--warpgroups' in sys.argv:
    warpgroup_checks_and_times()
    print(f'{"FAILED" if failures else "passed"}: {len(failures)} failures, {time.time() - start_time:.0f} s')
    sys.exit(1 if failures else 0)
compile_all(standard(capability))
print(f'{device.name} sm_{capability}: compiled at {time.time() - start_time:.0f} s, seed {SEED}', flush=True)
# Numbers are relative L2 errors against float64, ours / torch bf16.
ragged = [1, 7, 64, 129, 700, 3080]
for head, heads, kv_heads in ((128, 8, 2), (64, 4, 4), (64, 4, 1), (32, 4, 2), (24, 4, 2)):
    for causal in (True, False):
        test_training(head, heads, kv_heads, ragged, ragged, causal)
for head in (128, 64, 24):
    for causal in (True, False):
        test_training(head, 4, 2, [1, 5, 130, 64, 700], [100, 700, 1000, 64, 741], causal)
test_training(64, 4, 2, [40, 9, 300], [12, 0, 130], True, gap_of_torch=False)
test_forward_long()
for blocks in (1, 400):
    test_decode(128, 32, 8, [1] * 9, [1, 15, 16, 17, 64, 65, 600, 1234, 4099], blocks)
    test_decode(64, 8, 8, [1, 3, 2], [70, 513, 300], blocks)
    test_decode(24, 18, 2, [1, 2], [3, 700], blocks)
    test_append(128, 32, 8, [1, 2, 15, 16, 17, 18, 64, 65, 600, 4099], blocks, True)
    test_append(64, 8, 8, [70, 513], blocks, False)
    test_append(24, 18, 2, [3, 700], blocks, True)
print(f'{len(failures)} failures at {time.time() - start_time:.0f} s', flush=True)
if '--tune' in sys.argv:
    tune()
bench()
print(f'{"FAILED" if failures else "passed"}: {len(failures)} failures, {time.time() - start_time:.0f} s')
sys.exit(1 if failures else 0)
