"""Every kernel against torch or numpy; then timings on the GPU.
python3 test_kernels.py [seed] [--no-timing]; EMULATE=1 runs the same checks on a CPU (needs torch, numpy, g++)."""
import sys, time, math
import numpy as np
import torch
import torch.nn.functional as F
import backend
from backend import DEVICE, EMULATED, signature_faults, sync
from dynamic_maps import dynamic_map

SEED = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else int(time.time())
torch.manual_seed(SEED)
np.random.seed(SEED)
B16, F32, F64, I32 = torch.bfloat16, torch.float32, torch.float64, torch.int32
passed = failed = 0
ROWS = (1, 7) if EMULATED else (1, 7, 129)
WIDTHS = (5, 24, 64, 1032) if EMULATED else (5, 24, 48, 64, 1024, 5120, 16384)
cdiv = lambda a, b: -(-a // b)
up = lambda a, b: cdiv(a, b) * b
grid2 = lambda rows, C: (cdiv(C, 1024), min(rows, 65535))

def check(name, ok, note=''):
    global passed, failed
    if ok: passed += 1
    else:
        failed += 1
        print('FAILED', name, note)

class M:
    """A strided matrix in a poisoned buffer; `whole` tells that nothing outside it changed."""
    def __init__(self, rows, C, data=None, extra=8, dtype=B16):
        self.ld = up(C, 8) + extra
        self.buffer = torch.full(((rows + 1) * self.ld + 64,), float('nan'), dtype=dtype, device=DEVICE)
        self.v = self.buffer.as_strided((rows, C), (self.ld, 1), 0)
        if data is not None: self.v.copy_(data)
        self.size = (rows, C)
    def whole(self):
        outside = self.buffer.clone()
        outside.as_strided(self.size, (self.ld, 1), 0).fill_(float('nan'))
        return bool(outside.isnan().all())
    def data_ptr(self): return self.buffer.data_ptr()

_launch = backend.launch
def launch(name, grid, block, *values):
    _launch(name, grid, block, *[v.buffer if isinstance(v, M) else v for v in values])
    sync()

def rnd(*shape, scale=1.0): return (torch.randn(*shape, device=DEVICE) * scale).to(B16)
def rel(a, b):
    a, b = a.to(F64), b.to(F64)
    return float((a - b).norm() / (b.norm() + 1e-30))
def judge(name, got, ref, plain=None, bound=None):
    """Against a float64 reference: at most 1.5 times the error of torch in bf16, or the bound."""
    err = rel(got, ref)
    limit = bound if bound is not None else 1.5 * max(rel(plain, ref), 1.4e-3)  # a single rounding stays below 2^-9
    check(name, math.isfinite(err) and err <= limit, f'error {err:.2e} limit {limit:.2e}')

def dropout_bits16(row_keys, seed, K):
    """The 16 bits of every element [rows, K], by the formula in random.ts."""
    u = np.uint32
    with np.errstate(over='ignore'):
        rows = row_keys.astype(u)[:, None]
        x = rows ^ u(seed)
        x = (x ^ (x >> u(16))) * u(0x7feb352d)
        x = (x ^ (x >> u(15))) * u(0x846ca68b)
        key = x ^ (x >> u(16))
        step = (key * u(0x9e3779b9) ^ rows) | u(1)
        column = np.arange(K, dtype=u)[None, :]
        z = key + (column >> u(1)) * step
        h = (z ^ (z >> u(15))) * u(0x846ca68b)
        return np.where(column & u(1), h + (h << u(16)), h) >> u(16)

# ---- normalization, rotary
def norm_block(C): return min(512, 32 * cdiv(C, 512))
def test_norm(rows, C):
    x, r, w = rnd(rows, C), rnd(rows, C), (1 + 0.2 * torch.randn(C, device=DEVICE)).to(B16)
    wp = torch.zeros(up(C, 8), dtype=B16, device=DEVICE); wp[:C] = w
    X, R, Y, S = M(rows, C, x), M(rows, C, r, 16), M(rows, C, None, 24), M(rows, C)
    rstd = torch.full((rows,), float('nan'), device=DEVICE)
    launch('rms_norm_forward', (rows,), norm_block(C), Y, S, rstd, X, R, wp, rows, C, Y.ld, S.ld, X.ld, R.ld, 1e-5)
    s = x + r
    sf = s.float()
    scale = torch.rsqrt(sf.pow(2).mean(-1, keepdim=True) + 1e-5)
    hf = w * (sf * scale).to(B16)
    check(f'norm sum {rows}x{C}', torch.equal(S.v, s) and S.whole() and Y.whole())
    check(f'norm y {rows}x{C}', rel(Y.v, hf) < (1e-3 if rows * C > 1000 else 5e-3), rel(Y.v, hf))
    judge(f'norm rstd {rows}x{C}', rstd, scale[:, 0], bound=1e-6)
    launch('rms_norm_forward', (rows,), norm_block(C), Y, None, None, X, None, wp, rows, C, Y.ld, 0, X.ld, 0, 1e-5)
    xf = x.float()
    hf = w * (xf * torch.rsqrt(xf.pow(2).mean(-1, keepdim=True) + 1e-5)).to(B16)
    check(f'norm plain {rows}x{C}', rel(Y.v, hf) < (1e-3 if rows * C > 1000 else 5e-3), rel(Y.v, hf))
    dy, direct = rnd(rows, C), rnd(rows, C)
    def grads(dtype, direct_):
        a = s.detach().clone().to(dtype).requires_grad_()
        f = a.float() if dtype == B16 else a
        y = w.to(dtype) * (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + 1e-5)).to(dtype)
        y.backward(dy.to(dtype))
        return a.grad + direct.to(dtype) if direct_ else a.grad
    for given in (True, False):
        DY, D, DX = M(rows, C, dy), M(rows, C, direct, 16), M(rows, C, None, 0)
        launch('rms_norm_backward', (rows,), norm_block(C), DX, DY, D if given else None, S, rstd, wp, rows, C, DX.ld, DY.ld, D.ld, S.ld)
        judge(f'norm dx {rows}x{C} {given}', DX.v, grads(F64, given), grads(B16, given))
        check('norm dx guard', DX.whole())

def test_rotary(rows, heads, kv, D):
    half = D // 2
    angle = torch.rand(rows, half, device=DEVICE) * 7
    cos, sin = angle.cos().contiguous(), angle.sin().contiguous()
    scale = 1 + torch.rand(rows, device=DEVICE)
    q, k = rnd(rows, heads * D), rnd(rows, kv * D)
    def turn(x, n, sign, s, dtype):
        a = x.to(dtype).reshape(rows, n, 2, half)
        c, i = cos.to(dtype)[:, None], (sin * sign).to(dtype)[:, None]
        y = torch.stack((a[:, :, 0] * c - a[:, :, 1] * i, a[:, :, 1] * c + a[:, :, 0] * i), 2).reshape(rows, -1)
        return y * s.to(dtype)[:, None]
    one = torch.ones_like(scale)
    for sign in (1.0, -1.0):
        Q, K, QO, KO = M(rows, heads * D, q), M(rows, kv * D, k, 24), M(rows, heads * D, None, 16), M(rows, kv * D)
        launch('rotary', (rows,), min(256, 32 * cdiv((heads + kv) * cdiv(D, 16), 32)), QO, KO, Q, K, cos, sin, scale, rows, heads, kv, D, QO.ld, KO.ld, Q.ld, K.ld, sign)
        judge(f'rotary q {D} {sign}', QO.v, turn(q, heads, sign, scale, F64), turn(q, heads, sign, scale, B16))
        judge(f'rotary k {D} {sign}', KO.v, turn(k, kv, sign, one, F64), turn(k, kv, sign, one, B16))
        check('rotary guard', QO.whole() and KO.whole())
        launch('rotary', (rows,), 64, Q, K, Q, K, cos, sin, scale, rows, heads, kv, D, Q.ld, K.ld, Q.ld, K.ld, sign)
        check('rotary in place', torch.equal(Q.v, QO.v) and torch.equal(K.v, KO.v))

# ---- activations, copies, rows
ACT = [F.silu, F.gelu, lambda x: F.gelu(x, approximate='tanh'), F.relu]
def test_activation(rows, C, kind):
    act = ACT[kind]
    both = M(rows, 2 * up(C, 8), torch.cat([F.pad(rnd(rows, C, scale=2), (0, up(C, 8) - C)) for _ in 'gu'], 1))
    gate, upv = both.v[:, :C].contiguous(), both.v[:, up(C, 8):up(C, 8) + C].contiguous()
    upPointer = both.buffer[up(C, 8):]
    dy = rnd(rows, C)
    O, DY = M(rows, C), M(rows, C, dy, 16)
    tag = f'{rows}x{C} kind {kind}'
    launch('gated_activation_forward', grid2(rows, C), 128, O, both, upPointer, rows, C, O.ld, both.ld, both.ld, kind)
    judge(f'gated {tag}', O.v, act(gate.to(F64)) * upv.to(F64), act(gate) * upv)
    check('gated guard', O.whole())
    def grads(dtype):
        g, u = gate.clone().to(dtype).requires_grad_(), upv.clone().to(dtype).requires_grad_()
        (act(g) * u).backward(dy.to(dtype))
        return g.grad, u.grad
    out = M(rows, 2 * up(C, 8))
    Y = M(rows, C)
    launch('gated_activation_backward', grid2(rows, C), 128, out, out.buffer[up(C, 8):], Y, both, upPointer, DY, rows, C, out.ld, out.ld, Y.ld, both.ld, both.ld, DY.ld, kind)
    exact, plain = grads(F64), grads(B16)
    judge(f'dgate {tag}', out.v[:, :C], exact[0], plain[0])
    judge(f'dup {tag}', out.v[:, up(C, 8):up(C, 8) + C], exact[1], plain[1])
    check(f'remade {tag}', torch.equal(Y.v, O.v) and Y.whole() and out.whole())
    X = M(rows, C, gate)
    launch('activation_forward', grid2(rows, C), 128, O, X, rows, C, O.ld, X.ld, kind)
    judge(f'activation {tag}', O.v, act(gate.to(F64)), act(gate))
    g = [gate.clone().to(d).requires_grad_() for d in (F64, B16)]
    for v in g: act(v).backward(dy.to(v.dtype))
    launch('activation_backward', grid2(rows, C), 128, O, X, DY, rows, C, O.ld, X.ld, DY.ld, kind)
    judge(f'activation back {tag}', O.v, g[0].grad, g[1].grad)

def test_elementwise(rows, C):
    a, b = rnd(rows, C), rnd(rows, C)
    A, Bm, O = M(rows, C, a), M(rows, C, b, 16), M(rows, C, None, 24)
    launch('add', grid2(rows, C), 128, O, A, Bm, rows, C, O.ld, A.ld, Bm.ld)
    check('add', torch.equal(O.v, a + b) and O.whole())
    launch('add', grid2(rows, C), 128, A, A, Bm, rows, C, A.ld, A.ld, Bm.ld)
    check('add in place', torch.equal(A.v, a + b))
    bias = torch.zeros(up(C, 8), dtype=B16, device=DEVICE); bias[:C] = rnd(C)
    launch('add_bias', grid2(rows, C), 128, Bm, bias, rows, C, Bm.ld)
    check('bias', torch.equal(Bm.v, b + bias[:C]) and Bm.whole())
    factor = torch.tensor([0.37], device=DEVICE)
    launch('scale', grid2(rows, C), 128, O, A, factor, 3.0, rows, C, O.ld, A.ld)
    judge('scale', O.v, A.v.to(F64) * 0.37 * 3, bound=2e-3 if rows * C > 64 else 4e-3)
    # Conversions from packed, unaligned sources.
    for name, dtype in (('copy_bf16', B16), ('f32_to_bf16', F32), ('f16_to_bf16', torch.float16)):
        flat = torch.randn(rows * C + 3, device=DEVICE).to(dtype)
        for shift in (0, 3):
            source = flat[shift:shift + rows * C]
            O = M(rows, C)
            launch(name, grid2(rows, C), 128, O, source, rows, C, O.ld, C)
            check(f'{name} {rows}x{C} +{shift}', torch.equal(O.v, source.reshape(rows, C).to(B16)) and O.whole())
    out = torch.full((rows * C,), float('nan'), device=DEVICE)
    A = M(rows, C, a)
    launch('bf16_to_f32', grid2(rows, C), 128, out, A, rows, C, C, A.ld)
    check('bf16_to_f32', torch.equal(out.reshape(rows, C), a.float()))
    # One factor for the whole, blocks that are cut at both borders, and rows that are not the matrix's first.
    for block_rows, block_columns, first in ((rows + 9, C, 0), (3, 7, 0), (2, 16, 5)):
        codes = torch.randint(0, 256, (rows * C,), device=DEVICE).to(torch.uint8)
        if first: codes[codes & 127 == 127] = 5
        across = cdiv(C, block_columns)
        factors = torch.rand(cdiv(first + rows, block_rows), across, device=DEVICE) * 0.02 + 0.001
        flag = torch.zeros(1, dtype=I32, device=DEVICE)
        O = M(rows, C)
        launch('e4m3_to_bf16', grid2(rows, C), 128, O, codes, rows, C, O.ld, C, factors, first, block_rows, block_columns, across, flag)
        spread = factors.repeat_interleave(block_rows, 0).repeat_interleave(block_columns, 1)[first:first + rows, :C]
        exact = (codes.view(torch.float8_e4m3fn).float().reshape(rows, C) * spread).to(B16)
        check('e4m3', torch.equal(O.v.float().nan_to_num(7e7), exact.float().nan_to_num(7e7)) and O.whole())
        check('e4m3 flag', bool(flag[0]) == bool((codes & 127 == 127).any()))

def test_flat():
    n = 5003
    a, b, o = torch.randn(n, device=DEVICE), torch.randn(n, device=DEVICE), torch.full((n + 1,), float('nan'), device=DEVICE)
    launch('add_f32', (5,), 256, o, a, b, n)
    check('add_f32', torch.equal(o[:n], a + b) and bool(o[n].isnan()))
    launch('scale_f32', (5,), 256, o, a, None, 2.5, n)
    check('scale_f32', torch.equal(o[:n], a * 2.5))
    launch('fill_u32', (5,), 256, o, 0x7fc07fc0, n)
    check('fill', bool((o[:n].view(I32) == 0x7fc07fc0).all()) and bool(o[:n].isnan().all()) and bool(o[:n].view(B16).isnan().all()))
    r = torch.empty(20000, dtype=B16, device=DEVICE)
    launch('fill_random_bf16', (20,), 256, r, 20000, 5, 0.02)
    check('random', abs(float(r.float().std()) / 0.02 - 1) < 0.02 and abs(float(r.float().mean())) < 6e-4)

def test_rows(T, C):
    x, src = rnd(T, C), rnd(max(1, T // 2), C)
    n = src.shape[0]
    index = torch.randperm(T, device=DEVICE)[:n].to(I32)
    X, S = M(T, C, x), M(n, C, src, 16)
    O = M(n, C)
    launch('gather_rows', grid2(n, C), 128, O, X, index, n, C, O.ld, X.ld)
    check(f'gather {T}x{C}', torch.equal(O.v, x[index.long()]) and O.whole())
    want = x.clone(); want[index.long()] = src
    Y = M(T, C, x)
    launch('scatter_rows', grid2(n, C), 128, Y, S, index, n, C, Y.ld, S.ld)
    check('scatter', torch.equal(Y.v, want) and Y.whole())
    maps = torch.full((T,), -1, dtype=I32, device=DEVICE); maps[index.long()] = torch.arange(n, dtype=I32, device=DEVICE)
    O = M(T, C)
    launch('select_rows', grid2(T, C), 128, O, X, S, maps, T, C, O.ld, X.ld, S.ld)
    check('select', torch.equal(O.v, want) and O.whole())
    zero = x.clone(); zero[index.long()] = 0
    launch('scatter_rows', grid2(n, C), 128, Y, None, index, n, C, Y.ld, 0)
    check('scatter zero', torch.equal(Y.v, zero))
    launch('select_rows', grid2(T, C), 128, O, X, None, maps, T, C, O.ld, X.ld, 0)
    check('select zero', torch.equal(O.v, zero))
    only = torch.zeros_like(x); only[index.long()] = src
    launch('select_rows', grid2(T, C), 128, O, None, S, maps, T, C, O.ld, 0, S.ld)
    check('select none', torch.equal(O.v, only))
    for block in (1, 4, 9):
        outs = 3
        x = rnd(outs * block, C)
        order = torch.randperm(outs * block, device=DEVICE).to(I32)
        X, O, D = M(outs * block, C, x), M(outs, C * block), M(outs * block, C)
        launch('merge_patches_forward', grid2(outs, C), 128, O, X, order, outs, C, block, O.ld, X.ld)
        check(f'merge {block}x{C}', torch.equal(O.v, x[order.long()].reshape(outs, block, C).transpose(1, 2).reshape(outs, -1)) and O.whole())
        launch('merge_patches_backward', grid2(outs, C), 128, D, O, order, outs, C, block, D.ld, O.ld)
        check('merge back', torch.equal(D.v, x) and D.whole())

# ---- LoRA
def make_bits(T, K, row_keys, seeds, thresholds):
    kb = 4 * cdiv(K, 32)
    bits = torch.full((len(seeds) * T * kb,), 0xff, dtype=torch.uint8, device=DEVICE)
    keys = torch.tensor(row_keys.view(np.int32), device=DEVICE)
    pad = lambda v: list(v) + [0] * (4 - len(v))
    block = min(256, 32 * cdiv(kb // 4, 32))
    grid = (cdiv(kb // 4, block), min(cdiv(T, 4), 65535), len(seeds))
    launch('dropout_bits', grid, block, bits, keys, T, K, kb, *pad(seeds), *pad([t << 16 for t in thresholds]))
    return bits, kb

def test_dropout(T, K, ps):
    """Parts with thresholds of their own, and rows that keep their masks when they move."""
    row_keys = np.random.randint(0, 2**32, T, dtype=np.uint64).astype(np.uint32)
    seeds = [int(v) for v in np.random.randint(0, 2**32, len(ps), dtype=np.uint64)]
    thresholds = [min(65535, round(p * 65536)) for p in ps]
    def masks(keys):
        bits, kb = make_bits(len(keys), K, keys, seeds, thresholds)
        return np.unpackbits(bits.cpu().numpy().reshape(len(ps), len(keys), kb), axis=2, bitorder='little')
    got = masks(row_keys)
    want = np.stack([dropout_bits16(row_keys, seed, K) >= t for seed, t in zip(seeds, thresholds)])
    check(f'dropout {T}x{K} {ps}', np.array_equal(got[:, :, :K], want) and not got[:, :, K:].any())
    order = np.random.permutation(T)[:cdiv(T, 2)]
    check('dropout moved', np.array_equal(masks(row_keys[order]), got[:, order]))
    check('dropout zero', all(got[i, :, :K].all() for i, p in enumerate(ps) if p == 0))
    if T * K >= 4096:
        for i, t in enumerate(thresholds):
            rate = t / 65536
            check('dropout rate', abs((got[i, :, :K] == 0).mean() - rate) <= 5 * math.sqrt(rate * (1 - rate) / (T * K)))

def test_lora(T, K, ranks, outs, p, splits_at):
    tag = f'T{T} K{K} ranks {ranks} p {p}'
    padded = [up(r, 16) for r in ranks]
    starts = [sum(padded[:i]) for i in range(len(ranks))]
    E = sum(padded)
    s = (starts + [E] * 4)[1:4]
    seeds = [int(v) for v in np.random.randint(0, 2**32, len(ranks), dtype=np.uint64)]
    threshold = round(p * 65536)
    p = threshold / 65536
    bits, kb, masks = None, 0, [torch.ones(T, K, dtype=F64, device=DEVICE)] * len(ranks)
    keep = [1 / (1 - p)] * len(ranks)
    if p:
        row_keys = np.random.randint(0, 2**32, T, dtype=np.uint64).astype(np.uint32)
        bits, kb = make_bits(T, K, row_keys, seeds, [threshold] * len(ranks))
        got = np.unpackbits(bits.cpu().numpy().reshape(len(ranks), T, kb), axis=2, bitorder='little')
        want = np.stack([dropout_bits16(row_keys, seed, K) >= threshold for seed in seeds])
        check(f'bits {tag}', np.array_equal(got[:, :, :K], want) and not got[:, :, K:].any())
        masks = [torch.tensor(w, dtype=F64, device=DEVICE) for w in want]
    keeps = (keep + [1.0] * 4)[:4]
    x = M(T, K, rnd(T, K), extra=E)
    A = M(E, K, torch.zeros(E, K)); A.buffer.zero_()
    for i, r in enumerate(ranks): A.v[starts[i]:starts[i] + r] = rnd(r, K, scale=K**-0.5)
    x64, A64 = x.v.to(F64), A.v.to(F64)
    dropped = [x64 * m * k for m, k in zip(masks, keep)]
    # down, into the columns behind x
    W = min(E, 64)
    KP = up(K, 8)
    u = x.buffer[KP:]
    kept = M(T, E)
    launch(f'lora_down_{W}', (cdiv(T, 32), cdiv(E, W)), 512, u, kept, x, A, bits, T, K, E, x.ld, kept.ld, x.ld, A.ld, kb, *s, *keeps)
    uv = x.buffer.as_strided((T, E), (x.ld, 1), KP)
    want = torch.cat([d @ A64[a:a + r].T for d, a, r in zip(dropped, starts, padded)], 1)
    plain = torch.cat([(x.v * m.to(B16) * k) @ A.v[a:a + r].T for m, k, a, r in zip(masks, keep, starts, padded)], 1)
    judge(f'down {tag}', uv, want, plain)
    check('down keeps x', torch.equal(x.v.to(F64), x64))
    check('down saves u', torch.equal(kept.v, uv) and kept.whole())
    kept.v.fill_(0)
    launch(f'lora_down_{W}', (cdiv(T, 32), cdiv(E, W)), 512, kept, None, x, A, bits, T, K, E, kept.ld, 0, x.ld, A.ld, kb, *s, *keeps)
    check('down alone', torch.equal(kept.v, uv))
    # input gradient
    du = M(T, E, rnd(T, E))
    for a, r, q in zip(starts, ranks, padded): du.v[:, a + r:a + q] = 0
    base = rnd(T, K)
    dx = M(T, K, base, extra=24)
    launch('lora_input_gradient', (cdiv(K, 128), cdiv(T, 64)), 256, dx, du, A, bits, T, K, E, dx.ld, du.ld, A.ld, kb, *s, *keeps)
    du64 = du.v.to(F64)
    want = base.to(F64) + sum((du64[:, a:a + q] @ A64[a:a + q]) * m * k for a, q, m, k in zip(starts, padded, masks, keep))
    plain = base + sum(((du.v[:, a:a + q] @ A.v[a:a + q]) * m.to(B16) * k) for a, q, m, k in zip(starts, padded, masks, keep))
    judge(f'input gradient {tag}', dx.v, want, plain)
    check('input gradient guard', dx.whole())
    # dA
    split = splits_at
    splits = cdiv(T, split)
    scratch = lambda n: torch.full((n,), float('nan'), device=DEVICE)
    counters = torch.zeros(4096, dtype=I32, device=DEVICE)
    pad4 = lambda v, z: (list(v) + [z] * 4)[:4]
    def check_a(name, values):
        for i, r in enumerate(ranks):
            want = du64[:, starts[i]:starts[i] + r].T @ (values * masks[i] * keep[i])
            judge(f'{name} {i} {tag}', grads[i].to(F64) - before[i], want, bound=5e-5)
        check(f'{name} counters', not counters.any())
    grads = [torch.randn(r, K, device=DEVICE) for r in ranks]
    before = [g.clone().to(F64) for g in grads]
    launch('lora_gradient_a', (cdiv(K, 64), splits, cdiv(E, 64)), 256, *pad4(grads, None), scratch(splits * E * K), counters, du, x, bits, T, K, E, du.ld, x.ld, kb, *s, *pad4(ranks, 0), split, *keeps)
    check_a('dA', x64)
    # both in one, x as it is and as a norm's result
    if E <= 64 and len(ranks) <= 3:
        rstd, weight = 0.5 + torch.rand(T, device=DEVICE), torch.zeros(up(K, 8), dtype=B16, device=DEVICE)
        weight[:K] = rnd(K)
        normed = (x.v.float() * rstd[:, None]).to(B16) * weight[:K]
        for given in (False, True):
            grads = [torch.randn(r, K, device=DEVICE) for r in ranks]
            before = [g.clone().to(F64) for g in grads]
            both = M(T, K, base, extra=24)
            launch(f'lora_backward_{E}', (cdiv(K, 64), splits), 256, *pad4(grads, None), scratch(splits * E * K), counters, both, x, rstd if given else None, weight if given else None, du, A, bits, T, K, both.ld, x.ld, du.ld, A.ld, kb, *s, *pad4(ranks, 0), split, *keeps)
            check(f'backward dx {tag}', torch.equal(both.v, dx.v) and both.whole(), rel(both.v, dx.v))
            check_a(f'backward dA {given}', normed.to(F64) if given else x64)
        check('backward keeps x', torch.equal(x.v.to(F64), x64))
    # dB; the parts' outputs are column ranges of dy
    N = sum(outs)
    n0 = [sum(outs[:i]) for i in range(len(outs))]
    n = (n0 + [N] * 4)[1:4]
    dy = M(T, N, rnd(T, N))
    width = max(padded)
    tiles = sum(cdiv(o, 64) for o in outs)
    partial = scratch(splits * width * N)
    grads = [torch.randn(o, r, device=DEVICE) for o, r in zip(outs, ranks)]
    again = [g.clone() for g in grads]
    before = [g.clone().to(F64) for g in grads]
    factors = [1.5 + i for i in range(len(ranks))]
    launch('lora_gradient_b', (tiles, splits, cdiv(width, 64)), 256, *pad4(grads, None), partial, counters, u, dy, T, N, width, x.ld, dy.ld, *n, *s, E, *pad4(ranks, 0), split, *pad4(factors, 0.0))
    check('dB counters', not counters.any())
    launch('lora_finish_b', (cdiv(N * width, 1024),), 256, *pad4(again, None), partial, N, width, splits, *n, *pad4(ranks, 0), *pad4(factors, 0.0))
    check(f'dB finished {tag}', all(torch.equal(a, b) for a, b in zip(again, grads)))
    for i, (o, r) in enumerate(zip(outs, ranks)):
        want = factors[i] * dy.v[:, n0[i]:n0[i] + o].to(F64).T @ uv[:, starts[i]:starts[i] + r].to(F64)
        judge(f'dB {i} {tag}', grads[i].to(F64) - before[i], want, bound=5e-5)

def test_gated_backward(T, C, ranks, p, kind, split):
    """One pass against the separate kernels, which test_lora and test_activation check."""
    rank = up(max(ranks), 16)
    assert all(up(r, 16) == rank for r in ranks)
    tag = f'gated backward T{T} C{C} ranks {ranks} p {p} kind {kind}'
    threshold = round(p * 65536)
    p = threshold / 65536
    row_keys = np.random.randint(0, 2**32, T, dtype=np.uint64).astype(np.uint32)
    bits, kb = make_bits(T, C, row_keys, [7], [threshold]) if p else (None, 0)
    keep = 1 / (1 - p)
    both = M(T, 2 * C, rnd(T, 2 * C, scale=2))
    dy, du, u = M(T, C, rnd(T, C), extra=rank), M(T, rank, rnd(T, rank)), M(T, 2 * rank, rnd(T, 2 * rank), 16)
    du.v[:, ranks[0]:] = 0
    A = M(rank, C, torch.zeros(rank, C)); A.buffer.zero_()
    A.v[:ranks[0]] = rnd(ranks[0], C, scale=C**-0.5)
    splits = cdiv(T, split)
    nan = lambda *shape: torch.full(shape, float('nan'), device=DEVICE)
    out, partialB, gradA = M(T, 2 * C), nan(splits, 2 * C, rank), torch.randn(ranks[0], C, device=DEVICE)
    before, counters = gradA.clone().to(F64), torch.zeros(cdiv(C, 64), dtype=I32, device=DEVICE)
    launch(f'gated_backward_lora_{rank}', (cdiv(C, 64), splits), 256, out, out.buffer[C:], gradA, nan(splits, rank, C), partialB, counters, both, both.buffer[C:], dy, du, A, bits, u, T, C, out.ld, out.ld, both.ld, both.ld, dy.ld, du.ld, A.ld, kb, u.ld, split, ranks[0], keep, kind)
    check(f'{tag} counters', not counters.any())
    check(f'{tag} guard', out.whole() and dy.whole() and both.whole())
    s, keeps = [rank] * 3, [keep, 1.0, 1.0, 1.0]
    dx, want, y = M(T, C, dy.v), M(T, 2 * C), M(T, C)
    launch('lora_input_gradient', (cdiv(C, 128), cdiv(T, 64)), 256, dx, du, A, bits, T, C, rank, dx.ld, du.ld, A.ld, kb, *s, *keeps)
    launch('gated_activation_backward', grid2(T, C), 128, want, want.buffer[C:], y, both, both.buffer[C:], dx, T, C, want.ld, want.ld, y.ld, both.ld, both.ld, dx.ld, kind)
    # The compiler may contract other products in another kernel: now and then another rounding.
    check(f'{tag} gradients', float((out.v != want.v).float().mean()) < 1e-3 and rel(out.v, want.v) < 1e-4, rel(out.v, want.v))
    mask = torch.ones(T, C, dtype=F64, device=DEVICE)
    if p: mask = torch.tensor(np.unpackbits(bits.cpu().numpy().reshape(T, kb), axis=1, bitorder='little')[:, :C], dtype=F64, device=DEVICE)
    judge(f'{tag} dA', gradA.to(F64) - before, keep * du.v[:, :ranks[0]].to(F64).T @ (mask * y.v.to(F64)), bound=5e-5)
    for i in range(2):
        judge(f'{tag} dB {i}', partialB.sum(0)[i * C:(i + 1) * C], out.v[:, i * C:(i + 1) * C].to(F64).T @ u.v[:, i * rank:(i + 1) * rank].to(F64), bound=5e-5)

def test_refresh():
    K, r, N, s = 48, 4, 200, 1.5
    shapes = [(r, K), (N, r), (24, 300)]
    values = torch.randn(sum(a * b for a, b in shapes), device=DEVICE)
    A, Wt, Z = M(16, K), M(N, K + 16), M(24, 300)
    Wt.v.fill_(3.0)
    entries, block, first = [], 0, 0
    for (rows, columns), target, ld, factor in zip(shapes, (A.buffer.data_ptr(), Wt.buffer.data_ptr() + 2 * K, Z.buffer.data_ptr()), (A.ld, Wt.ld, Z.ld), (1.0, s, 1.0)):
        entries.append([target & 0xffffffff, target >> 32, first, rows, columns, ld, int(np.float32(factor).view(np.uint32)), block])
        first += rows * columns
        block += cdiv(rows * columns, 4096)
    table = torch.tensor(np.array(entries, dtype=np.uint32).view(np.int32), device=DEVICE)
    launch('lora_refresh', (block,), 256, values, table, 3)
    check('refresh A', torch.equal(A.v[:r], values[:r * K].reshape(r, K).to(B16)))
    check('refresh B', torch.equal(Wt.v[:, K:K + r], (values[r * K:r * K + N * r].reshape(N, r) * s).to(B16)) and bool((Wt.v[:, :K] == 3).all()) and bool((Wt.v[:, K + r:] == 3).all()))
    check('refresh 3', torch.equal(Z.v, values[r * K + N * r:].reshape(24, 300).to(B16)) and Z.whole())

# ---- loss
def test_cross_entropy(R, V, size, kind):
    logits = (torch.randn(R, V, device=DEVICE) * 4)
    targets = torch.randint(0, V, (R,), device=DEVICE).to(I32)
    logits = logits.to(F32 if kind else B16)
    state = [torch.full((R,), float('nan'), device=DEVICE) for _ in range(3)]
    chunks = []
    for first in range(0, V, size):
        n = min(size, V - first)
        chunk = M(R, n, logits[:, first:first + n], dtype=logits.dtype)
        chunks.append((first, n, chunk))
        launch('cross_entropy_chunk', (R,), 512, *state, chunk, targets, R, n, chunk.ld, first, int(first == 0), kind)
    rowLoss, loss = torch.full((R,), float('nan'), device=DEVICE), torch.full((1,), float('nan'), device=DEVICE)
    launch('cross_entropy_finish', (1,), 1024, rowLoss, loss, *state, R, 0.25)
    exact = F.cross_entropy(logits.to(F64), targets.long(), reduction='none')
    # The loss is a difference of logits and may come near zero: its error is one of theirs, in float32.
    limit = 4 * float(np.spacing(np.float32(logits.float().abs().max().item())))
    off = float((rowLoss.to(F64) - exact).abs().max())
    check(f'row loss {R}x{V}', off <= limit, f'error {off:.2e} limit {limit:.2e}')
    off = abs(float(loss[0]) - float(exact.sum()) * 0.25)
    check('loss', off <= 0.25 * R * limit, f'error {off:.2e} limit {0.25 * R * limit:.2e}')
    want = (torch.softmax(logits.to(F64), -1) - F.one_hot(targets.long(), V)) * 0.25 * 1.7
    upstream = torch.tensor([1.7], device=DEVICE)
    for first, n, chunk in chunks:
        O = chunk if not kind else M(R, n)
        launch('cross_entropy_gradient', grid2(R, n), 128, O, chunk, state[0], state[1], targets, upstream, R, n, O.ld, chunk.ld, first, 0.25, kind)
        judge(f'loss gradient {R}x{V} {first}', O.v, want[:, first:first + n], want[:, first:first + n].to(B16))
        check('loss gradient guard', O.whole())

# ---- optimizer
def test_optimizer():
    sizes = [5000, 33, 4096, 7, 9000]
    n = sum(sizes)
    offsets = np.cumsum([0] + sizes)
    active = [1, 1, 0, 1, 1]
    lr, b1, b2, eps, wd = 1e-2, 0.9, 0.999, 1e-8, 0.1
    maps = [dynamic_map(True), dynamic_map(False)]
    table = torch.cat([maps[0][0], maps[0][1], maps[1][0], maps[1][1]]).to(DEVICE)
    chunks, codes, full, scales = [], 0, 0, 0
    for i, size in enumerate(sizes):
        quantised = size >= 4096
        for at in range(0, size, 2048):
            chunks.append([i, offsets[i] + at, min(2048, size - at), int(quantised), (codes if quantised else full) + at, scales + at // 256, 0, 0])
        if quantised: codes += size; scales += cdiv(size, 256)
        else: full += size
    chunks = torch.tensor(np.array(chunks, dtype=np.int32), device=DEVICE)
    start = torch.randn(n)
    values = {k: start.clone().to(DEVICE) for k in ('adamw', 'adamw8bit')}
    m, v = torch.zeros(n, device=DEVICE), torch.zeros(n, device=DEVICE)
    cm, cv = torch.zeros(codes, dtype=torch.uint8, device=DEVICE), torch.zeros(codes, dtype=torch.uint8, device=DEVICE)
    sm, sv = torch.zeros(scales, device=DEVICE), torch.zeros(scales, device=DEVICE)
    fm, fv = torch.zeros(full, device=DEVICE), torch.zeros(full, device=DEVICE)
    params = [torch.nn.Parameter(start[a:a + s].clone()) for a, s in zip(offsets, sizes)]
    reference = torch.optim.AdamW(params, lr=lr, betas=(b1, b2), eps=eps, weight_decay=wd, foreach=False)
    ref8, rm, rv = start.to(F64).numpy().copy(), np.zeros(n), np.zeros(n)
    norm, blocks = torch.full((2,), float('nan'), device=DEVICE), min(1024, cdiv(n, 1024))
    partials = torch.full((blocks,), float('nan'), dtype=F64, device=DEVICE)
    for step in range(1, 5):
        g = torch.randn(n) * 10**torch.empty(n).uniform_(-3, 0)
        gd = g.to(DEVICE)
        launch('squared_norm', (blocks,), 256, partials, gd, n)
        launch('clip_scale', (1,), 256, norm, partials, blocks, 1.0)
        total = float(g.to(F64).norm())
        g0 = gd.clone()
        g0[offsets[0]:offsets[1]] = 0
        largest = torch.full((len(chunks),), float('nan'), device=DEVICE)
        launch('largest_magnitude', (len(chunks),), 256, largest, g0, chunks)
        tops = torch.stack([g0[a:a + count].abs().max() for _, a, count, *_ in chunks.tolist()])
        check('largest magnitude', torch.equal(largest, tops) and bool((largest == 0).any()))
        check('norm', abs(float(norm[0]) / total - 1) < 1e-6 and abs(float(norm[1]) * (total + 1e-6) - 1) < 1e-6)
        clip = norm[1].cpu()
        c = math.sqrt(1 - b2**step)
        settings = torch.tensor([[-lr / (1 - b1**step), c, 1 - lr * wd, a] for a in active], dtype=F32, device=DEVICE)
        launch('adamw', (len(chunks),), 256, values['adamw'], gd, m, v, chunks, settings, norm, b1, b2, eps)
        for i, q in enumerate(params): q.grad = g[offsets[i]:offsets[i + 1]] * clip if active[i] else None
        reference.step()
        want = torch.cat([q.detach() for q in params])
        got = values['adamw'].cpu()
        check(f'adamw step {step}', float((got - want).abs().max()) < 1e-6, float((got - want).abs().max()))
        settings = torch.tensor([[-lr * c / (1 - b1**step), c * eps, 1 - lr * wd, a] for a in active], dtype=F32, device=DEVICE)
        launch('adamw8bit', (len(chunks),), 256, values['adamw8bit'], gd, cm, cv, sm, sv, fm, fv, table, chunks, settings, norm, b1, b2)
        gs = (g * clip).to(F64).numpy()
        for i, size in enumerate(sizes):
            if not active[i]: continue
            z = slice(offsets[i], offsets[i + 1])
            rm[z] = b1 * rm[z] + (1 - b1) * gs[z]; rv[z] = b2 * rv[z] + (1 - b2) * gs[z]**2
            ref8[z] = (ref8[z] - lr * c / (1 - b1**step) * rm[z] / (np.sqrt(rv[z]) + c * eps)) * (1 - lr * wd)
            if size < 4096: continue
            for first in range(offsets[i], offsets[i + 1], 256):
                y = slice(first, min(first + 256, offsets[i + 1]))
                for moment, (mv, mid) in ((rm, maps[0]), (rv, maps[1])):
                    top = np.float32(np.abs(moment[y]).max())
                    if top == 0: continue
                    code = np.searchsorted(mid.numpy()[:255], (moment[y].astype(np.float32) / top), side='left')
                    code[(moment[y] < 0) & (mv.numpy()[code] == 0)] -= 1
                    moment[y] = mv.numpy()[code].astype(np.float64) * top
        off = np.abs(values['adamw8bit'].cpu().numpy() - ref8)
        check(f'adamw8bit step {step}', (off > 3e-6).mean() < 2e-3 and np.isfinite(off).all(), f'{(off > 3e-6).mean():.1e} of elements off, {off.max():.1e}')
    kept = values['adamw'].clone()
    norm[1] = float('nan')
    launch('adamw', (len(chunks),), 256, values['adamw'], gd, m, v, chunks, settings, norm, b1, b2, eps)
    check('adamw broken step', torch.equal(kept, values['adamw']))

# ---- generation
counted = 0
def test_small(Mrows, N, K, E=0, activation=-1, norm=None):
    """y = x·Wᵀ + u·Bᵀ, u = bf16(x·Aᵀ), B behind the columns of W; gate and up as one; x normalised first ('x' or 'sum')."""
    global counted
    KP, rows = up(K, 8), N if activation < 0 else 2 * N
    both = torch.zeros(rows, KP + E, dtype=B16, device=DEVICE)
    both[:, :K] = rnd(rows, K, scale=K**-0.5)
    if E: both[:, KP:] = rnd(rows, E)
    x, w, a = M(Mrows, K, rnd(Mrows, K)), M(rows, KP + E, both, 16), M(max(E, 1), K, rnd(max(E, 1), K, scale=K**-0.5), 16)
    y = M(Mrows, N)
    low, ready = torch.full((4 * Mrows * E + 8,), float('nan'), device=DEVICE), torch.full((1,), counted - 2**31, dtype=I32, device=DEVICE)
    grid = E // 8 * 4 + cdiv(N, 8 if activation < 0 else 4)
    counted += E // 8 * 4
    target = (counted - 2**31) % 2**32
    adapter = (a if E else None, low if E else None, ready if E else None)
    name = 'small_linear_norm' if norm else 'small_linear' if Mrows <= 8 else 'small_linear_16'
    if norm:
        residual, weight = M(1, K, rnd(1, K)), M(1, K, rnd(1, K))
        total = M(1, K)
        launch(name, (grid,), 128, y, x, w, *adapter, total if norm == 'sum' else None, residual if norm == 'sum' else None, weight, N, K, E, w.ld, a.ld, activation, target, 1e-5)
        s = x.v + residual.v if norm == 'sum' else x.v
        if norm == 'sum': check('norm sum', torch.equal(total.v, s) and total.whole())
        # As transformers rounds it; a sum of squares in another order may turn the last bit of an element.
        scale = torch.rsqrt(s.to(F64).square().mean(-1, keepdim=True) + 1e-5)
        exact_x = plain_x = ((s.to(F64) * scale).to(B16) * weight.v)
    else:
        launch(name, (grid,), 128, y, x, w, *adapter, Mrows, N, K, E, y.ld, x.ld, w.ld, a.ld, activation, target)
        exact_x = plain_x = x.v
    exact = exact_x.to(F64) @ w.v[:, :K].to(F64).T
    plain = plain_x @ w.v[:, :K].T
    if E:
        u = (exact_x.to(F64) @ a.v.to(F64).T).to(B16)
        exact = exact + u.to(F64) @ w.v[:, KP:].to(F64).T
        plain = plain + u @ w.v[:, KP:].T
    if activation >= 0:
        act = ACT[activation]
        exact = exact.to(B16).to(F64)  # gate and up are rounded, as if they were apart
        exact = act(exact[:, :N]) * exact[:, N:]
        plain = act(plain[:, :N]) * plain[:, N:]
    judge(f'{name} {Mrows}x{N}x{K}+{E} activation {activation} norm {norm}', y.v, exact, plain)
    check('small guard', y.whole() and bool(low[4 * Mrows * E:].isnan().all()))
    check('small count', int(ready[0]) % 2**32 == target % 2**32)

def test_argmax(rows, V, kind):
    logits = M(rows, V, (torch.randn(rows, V, device=DEVICE)).to(B16), dtype=F32 if kind else B16)
    logits.v[rows // 2, V // 2] = 9; logits.v[rows // 2, V - 1] = 9
    out = torch.full((rows + 1,), -7, dtype=I32, device=DEVICE)
    launch('argmax_rows', (rows,), 1024, out, logits, rows, V, logits.ld, kind)
    want = [int((r == r.max()).nonzero()[0]) for r in logits.v] + [-7]
    check(f'argmax {rows}x{V}', out.tolist() == want, (out.tolist(), want))

def run_tests():
    check('README signatures', not signature_faults(), signature_faults())
    for rows in ROWS:
        for C in WIDTHS:
            test_norm(rows, C)
            test_elementwise(rows, C)
            if C <= 5120: test_rows(rows, C)
            for kind in range(4): test_activation(rows, C, kind)
        for heads, kv, D in ((4, 2, 64), (3, 1, 6), (32, 8, 128)): test_rotary(rows, heads, kv, D)
    test_flat()
    cases = [(1, 24, [4], [24], 0.0, 64), (7, 72, [8, 20], [40, 16], 0.05, 64), (70, 520, [16, 16, 4], [64, 80, 16], 0.1, 64), (33, 13, [16], [8], 0.5, 64), (66, 128, [48, 32], [136, 72], 0.3, 64), (200, 64, [64], [72], 0.1, 128), (65, 40, [32, 32], [64, 8], 0.2, 64), (130, 136, [48, 16], [24, 64], 0.2, 64)]
    if not EMULATED: cases += [(129, 5120, [16, 16, 16], [4096, 1024, 1024], 0.05, 64), (500, 1024, [64, 64], [4096, 4096], 0.1, 128), (500, 1024, [256], [1000], 0.0, 192), (129, 16384, [16], [5120], 0.05, 128)]
    for case in ((1, 5, [0.5]), (3, 64, [0.1, 0.25]), (9, 1000, [0.05, 0, 0.3, 0.9]), (6, 9000, [0.1])) + (() if EMULATED else ((4128, 5120, [0.05] * 3), (4128, 16384, [0.1]))): test_dropout(*case)
    for case in cases: test_lora(*case)
    cases = [(1, 8, [4, 4, 4], 0.0, 0, 64), (7, 72, [8, 4, 16], 0.05, 2, 64), (129, 136, [16] * 3, 0.1, 0, 64), (131, 64, [32, 20, 24], 0.5, 1, 128), (70, 200, [32] * 3, 0.0, 3, 64)]
    if not EMULATED: cases += [(1, 16384, [16] * 3, 0.05, 0, 64), (1029, 16384, [16] * 3, 0.05, 0, 1088), (777, 4096, [32] * 3, 0.1, 2, 256)]
    for case in cases: test_gated_backward(*case)
    test_refresh()
    for R, V, size in ((1, 11, 11), (7, 1000, 384)) + (() if EMULATED else ((129, 131072, 16384),)):
        for kind in (0, 1): test_cross_entropy(R, V, size, kind)
    test_optimizer()
    for Mr, N, K in ((1, 24, 48), (3, 1030, 520), (8, 40, 13), (9, 40, 136), (16, 21, 600)) + (() if EMULATED else ((1, 6144, 5120), (8, 5120, 16384), (4, 48, 5120), (2, 131072, 5120))):
        for E in (0, 16, 48): test_small(Mr, N, K, E)
        # Enough elements that one whose last bit turned does not count.
        test_small(Mr, min(max(N, 131), 16384), K, 32, activation=Mr % 4)
    test_small(2, 40, 24, E=288)
    for N, K in ((24, 48), (37, 13), (9, 5130)) + (() if EMULATED else ((6144, 5120), (16384, 5120), (1030, 8192))):
        for norm in ('x', 'sum'):
            for E in (0, 48): test_small(1, N, K, E, norm=norm)
            test_small(1, max(N, 131), K, 32, activation=0, norm=norm)
    if not EMULATED:
        for _ in range(20): test_small(1, 6144, 5120, E=48)
    for V in (5, 3001) + (() if EMULATED else (131072,)):
        for rows in ROWS:
            for kind in (0, 1): test_argmax(rows, V, kind)

started = time.time()
run_tests()
if not EMULATED and '--no-timing' not in sys.argv:
    import timing
    timing.run(_launch)
print(f'seed {SEED}; {time.time() - started:.0f} s; {passed} passed, {failed} failed')
sys.exit(failed > 0)
