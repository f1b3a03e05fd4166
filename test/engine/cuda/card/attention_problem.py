"""One attention call on the GPU: tensors, launches of our kernels, and what torch makes of it."""
import ctypes, math, time
import numpy as np
import torch
import torch.nn.functional as functional
from attention_compile import NAMES, cubins, tiles
from attention_work import Warpgroups, decode_work, head_split, key_work, query_work, shared_bytes, tile_rows

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

    def common(self, kernel, config):
        config = config or tiles(kernel, capability, self.head, self.heads // self.kv_heads)
        return config, (kernel, capability, self.head, config), shared_bytes(kernel, config, self.head)

    def forward(self, config=None, save=True):
        config, key, shared = self.common('forward', config)
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

def report(bad, text):
    if bad:
        failures.append(text)
    print('BAD ' if bad else 'ok  ', text, flush=True)
