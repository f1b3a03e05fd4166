"""The warpgroup attention kernels on the CPU, emulated, against float64. Needs g++ and NumPy, no GPU.

python3 emulate_attention.py [seed] [forward | query | key ...]
"""
import ctypes, os, re, subprocess, sys, tempfile
import numpy as np
from attention_work import MACROS, Warpgroups, head_split, key_work, query_work, tile_rows

HERE = os.path.dirname(os.path.abspath(__file__))
KERNELS = os.path.join(HERE, '../../../../src/engine/cuda/kernels')
BUILD = os.path.join(tempfile.gettempdir(), 'emulated-attention')
FILES = {'forward': 'attention-warpgroup-forward', 'query': 'attention-warpgroup-backward-query', 'key': 'attention-warpgroup-backward-key-value'}
SEED = int(sys.argv[1]) if len(sys.argv) > 1 else np.random.SeedSequence().entropy % 10000
random = np.random.default_rng(SEED)
failures = 0

def text(name):
    return open(os.path.join(HERE if name.startswith('emulation/') else KERNELS, name)).read()

def build(kernel, head, config):
    source = text(FILES[kernel] + '.cu')
    name, parameters = re.search(r'extern "C" __global__ void __launch_bounds__\([^)]*\)\s*(\w+)\(([^)]*)\) {', source).groups()
    types = [re.sub(r'\s*(__restrict__)?\s*\w+$', '', p.strip()) for p in parameters.split(',')]
    arguments = ', '.join(f'*({t}*)a[{i}]' for i, t in enumerate(types))
    tiles = re.sub(r'extern __shared__ .*\n', '', text('warpgroup-tiles.cuh'))
    macros = ''.join(f'#define {name} {value}\n' for name, value in zip(('HEAD_DIM', *MACROS), (head, *config)))
    wrapper = f'extern "C" void launch(unsigned x, unsigned y, unsigned block, unsigned seed, void** a) {{ chance.seed(seed); gridDim = {{x, y, 1}}; body = [=] {{ {name}({arguments}); }}; for (unsigned j = 0; j < y; j++) for (unsigned i = 0; i < x; i++) {{ blockIdx = {{i, j, 0}}; run_block(block); }} }}\n'
    os.makedirs(BUILD, exist_ok=True)
    path = f'{BUILD}/{kernel}-{head}-{"-".join(map(str, config))}'
    open(path + '.cpp', 'w').write(macros + text('emulation/fibers.h') + text('emulation/warpgroups.h') + tiles + source + wrapper)
    subprocess.run(['g++', '-std=c++17', '-O1', '-w', '-shared', '-fPIC', '-o', path + '.so', path + '.cpp'], check=True)
    return ctypes.CDLL(path + '.so')

def to_bits(x):
    b = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((b + 0x7fff + (b >> 16 & 1)) >> 16).astype(np.uint16)

def to_float(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)

def launch(library, grid, block, *values):
    held = [ctypes.c_void_p(v.ctypes.data) if isinstance(v, np.ndarray) else ctypes.c_float(v) if isinstance(v, float) else ctypes.c_int(v) for v in values]
    pointers = (ctypes.c_void_p * len(held))(*[ctypes.addressof(h) for h in held])
    library.launch(*(ctypes.c_uint(int(v)) for v in (*grid, block, random.integers(1 << 30))), pointers)

class Problem:
    """Rows wider than the heads; what lies behind and all results are NaN at first."""
    def __init__(self, head, heads, kv_heads, query_lengths, key_lengths, causal):
        self.head, self.heads, self.kv_heads, self.causal = head, heads, kv_heads, causal
        self.query_starts = [0, *np.cumsum(query_lengths).tolist()]
        self.key_lengths, self.key_starts = list(key_lengths), [0, *np.cumsum(key_lengths).tolist()][:-1]
        self.queries, self.keys, self.scale = self.query_starts[-1], sum(key_lengths), head ** -0.5
        nan = lambda rows, count: np.full((max(rows, 1), count * head + 8), 0x7fc0, np.uint16)
        def filled(rows, count, factor=1.0):
            t = nan(rows, count)
            t[:, :count * head] = to_bits(factor * random.standard_normal((max(rows, 1), count * head)))
            return t
        self.q, self.k, self.v, self.do = filled(self.queries, heads, 2), filled(self.keys, kv_heads), filled(self.keys, kv_heads), filled(self.queries, heads)
        self.o, self.dq, self.dk, self.dv = nan(self.queries, heads), nan(self.queries, heads), nan(self.keys, kv_heads), nan(self.keys, kv_heads)
        self.lse = np.full((heads, self.queries), np.nan, np.float32)
        self.exact = self.reference()

    def reference(self):
        d, ratio = self.head, self.heads // self.kv_heads
        q, k, v, do = (to_float(t)[:, :n * d].astype(np.float64).reshape(len(t), n, d).transpose(1, 0, 2) for t, n in ((self.q, self.heads), (self.k, self.kv_heads), (self.v, self.kv_heads), (self.do, self.heads)))
        o, dq = np.zeros_like(q), np.zeros_like(q)
        dk, dv = np.zeros_like(k), np.zeros_like(v)
        lse = np.full((self.heads, self.queries), -np.inf)
        for s, c in enumerate(self.key_starts):
            a, b, n = self.query_starts[s], self.query_starts[s + 1], self.key_lengths[s]
            if n == 0 or a == b: continue
            seen = np.tril(np.ones((b - a, n), bool), n - (b - a)) if self.causal else np.ones((b - a, n), bool)
            for h in range(self.heads):
                kk, vv = k[h // ratio, c:c + n], v[h // ratio, c:c + n]
                score = np.where(seen, q[h, a:b] @ kk.T * self.scale, -np.inf)
                top = np.maximum(score.max(1, keepdims=True), -1e300)
                p = np.exp(score - top)
                total = p.sum(1, keepdims=True)
                with np.errstate(divide='ignore'): lse[h, a:b] = (top + np.log(total))[:, 0]
                p = p / np.maximum(total, 1e-300)
                o[h, a:b] = p @ vv
                dv[h // ratio, c:c + n] += p.T @ do[h, a:b]
                ds = p * (do[h, a:b] @ vv.T - (do[h, a:b] * o[h, a:b]).sum(1, keepdims=True)) * self.scale
                dq[h, a:b] = ds @ kk
                dk[h // ratio, c:c + n] += ds.T @ q[h, a:b]
        flat = lambda t: t.transpose(1, 0, 2).reshape(t.shape[1], -1)
        return {'o': flat(o), 'lse': lse, 'dq': flat(dq), 'dk': flat(dk), 'dv': flat(dv)}

    def forward(self, library, config):
        work = query_work(self.query_starts, self.key_starts, self.key_lengths, tile_rows(config, 'forward'), self.causal)
        launch(library, (self.heads // config.group, len(work)), 32 * config.warps, self.o, self.lse, self.q, self.k, self.v, work,
               self.o.shape[1], self.q.shape[1], self.k.shape[1], self.v.shape[1], self.kv_heads, self.queries, self.scale, int(self.causal))
        return ('o', 'lse')

    def statistics(self):
        """lse and delta as the kernels before leave them."""
        flat = to_float(self.do)[:, :self.heads * self.head].astype(np.float64) * self.exact['o']
        return self.exact['lse'].astype(np.float32), np.ascontiguousarray(flat.reshape(-1, self.heads, self.head).sum(2).T.astype(np.float32))

    def query(self, library, config):
        work = query_work(self.query_starts, self.key_starts, self.key_lengths, tile_rows(config, 'query'), self.causal)
        launch(library, (self.heads // config.group, len(work)), 32 * config.warps, self.dq, self.do, self.q, self.k, self.v, *self.statistics(), work,
               self.dq.shape[1], self.do.shape[1], self.q.shape[1], self.k.shape[1], self.v.shape[1], self.kv_heads, self.queries, self.scale, int(self.causal))
        return ('dq',)

    def key(self, library, config):
        work = key_work(self.query_starts, self.key_starts, self.key_lengths, tile_rows(config, 'key'), self.causal)
        launch(library, (self.kv_heads, len(work)), 32 * config.warps * head_split(config), self.dk, self.dv, self.do, self.q, self.k, self.v, *self.statistics(), work,
               self.dk.shape[1], self.dv.shape[1], self.do.shape[1], self.q.shape[1], self.k.shape[1], self.v.shape[1], self.heads, self.queries, self.scale, int(self.causal))
        return ('dk', 'dv')

    def faults(self, name):
        wanted, bits = self.exact[name], getattr(self, name)
        if name == 'lse':
            finite = np.isfinite(wanted)
            error = np.abs(bits[finite] - wanted[finite]).max(initial=0)
            return ('' if error < 1e-4 and (np.isneginf(bits) == ~finite).all() else 'BAD ') + f'{name} {error:.0e}'
        got = to_float(bits)[:, :wanted.shape[1]]
        behind = (bits[:, wanted.shape[1]:] == 0x7fc0).all()
        error = np.linalg.norm(got - wanted) / max(np.linalg.norm(wanted), 1e-30)
        bad = not (error < 6e-3 and behind)
        if bad:
            blocks = np.abs(np.nan_to_num(got - wanted, nan=99))[:128, :64]
            rows = -(-len(blocks) // 8) * 8
            blocks = np.pad(blocks, ((0, rows - len(blocks)), (0, 0))).reshape(rows // 8, 8, -1, 8).max((1, 3))
            print(np.array2string(blocks, precision=2, suppress_small=True, max_line_width=200))
        return ('BAD ' if bad else '') + f'{name} {error:.1e}' + ('' if behind else ' wrote behind its columns')

def check(kernel, head, config, heads, kv_heads, query_lengths, key_lengths, causal):
    global failures
    p = Problem(head, heads, kv_heads, query_lengths, key_lengths, causal)
    results = ' '.join(p.faults(name) for name in getattr(p, kernel)(build(kernel, head, config), config))
    failures += 'BAD' in results
    print(f'{kernel} D{head} {tuple(config)} {heads}/{kv_heads} heads {"causal" if causal else "full"} q{query_lengths} k{key_lengths}: {results}', flush=True)

W = Warpgroups
# Of every kernel: configurations for D 64, and those with grouped heads for D 128.
CONFIGS = {
    'forward': ([W(16, 64, 1, 1, 1, 1, 3), W(8, 64, 1, 1, 1, 1, 4), W(8, 64, 1), W(4, 64, 1, 1, 0), W(12, 96, 1), W(8, 128, 1)], [W(8, 32, 1, 4, 0, 1, 3), W(8, 64, 1, 1), W(8, 64, 1, 4), W(4, 128, 1, 1, 0), W(4, 128, 1, 4, 0)]),
    'query': ([W(8, 64, 1, 1, 0, 1, 4), W(8, 64, 1, 1, 0, 1, 3), W(4, 64, 1, 1, 0), W(8, 64, 1, 1, 0)], [W(8, 64, 1, 4, 0, 1, 3), W(4, 64, 1, 4, 0), W(8, 32, 1, 4, 0)]),
    'key': ([W(4, 64, 1, 1, 0), W(8, 32, 1, 1, 0, 1, 3), W(4, 96, 1, 1, 0)], [W(4, 64, 1, 4, 0, 2, 3), W(4, 32, 1, 2, 0, 2, 2), W(4, 64, 1, 4, 0, 1, 2), W(8, 64, 1, 1, 0)]),
}

if __name__ == '__main__':
    print('seed', SEED)
    for kernel in sys.argv[2:] or FILES:
        ones, groups = CONFIGS[kernel]
        for config in ones:
            check(kernel, 64, config, 2, 2, [64], [64], False)
            check(kernel, 64, config, 2, 1, [1, 7, 130, 200], [1, 300, 64, 129], False)
            check(kernel, 64, config, 2, 1, [1, 7, 130, 200, 9], [1, 300, 64, 200, 0], True)
            check(kernel, 64, config, 2, 1, [150, 5, 70, 1], [150, 145, 210, 141], True)
        for config in groups:
            check(kernel, 128, config, 4, 1, [1, 70, 9, 200], [40, 70, 0, 200], True)
            check(kernel, 128, config, 8, 2, [3, 100], [40, 150], False)
            check(kernel, 128, config, 4, 1, [90, 5, 70, 1], [90, 75, 140, 71], True)
    print(f'{failures} failures')
    sys.exit(failures > 0)
