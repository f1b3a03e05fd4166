"""Kernels of normalization, rotary positions, activations, copies and rows."""
import torch
import torch.nn.functional as F
from backend import DEVICE
from kernel_checks import B16, F32, F64, I32, M, cdiv, check, grid2, judge, launch, rel, rnd, up

# ---- normalization, rotary
def norm_block(C): return min(1024, 32 * cdiv(C, 256))
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
        launch('rms_norm_backward_16384' if C > 8192 else 'rms_norm_backward_8192', (rows,), norm_block(C), DX, DY, D if given else None, S, rstd, wp, rows, C, DX.ld, DY.ld, D.ld, S.ld)
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
    launch('gated_activation_backward', grid2(rows, C), 128, out, out.buffer[up(C, 8):], both, upPointer, DY, rows, C, out.ld, out.ld, both.ld, both.ld, DY.ld, kind)
    exact, plain = grads(F64), grads(B16)
    judge(f'dgate {tag}', out.v[:, :C], exact[0], plain[0])
    judge(f'dup {tag}', out.v[:, up(C, 8):up(C, 8) + C], exact[1], plain[1])
    check(f'gated back guard {tag}', out.whole())
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
    # The patches of an image of one channel, then of three.
    for channels, size in ((1, 1), (3, 2), (3, 14)):
        across = max(1, min(rows, 5))
        down, columns = cdiv(rows, across), channels * size * size
        image = torch.randn(channels, down * size, across * size, device=DEVICE)
        O = M(down * across, columns)
        launch('image_patches', grid2(down * across, columns), 128, O, image, down * across, columns, O.ld, size, across)
        patches = image.reshape(channels, down, size, across, size).permute(1, 3, 0, 2, 4).reshape(-1, columns)
        check(f'image_patches {down}x{across} of {channels}x{size}x{size}', torch.equal(O.v, patches.to(B16)) and O.whole())
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

def test_repeated_rows(T, C):
    """Copies of key rows, and the sums of what comes back for them; the last row has none where there are several."""
    k, v = rnd(T, C), rnd(T, C)
    n = 3 * T + 1
    rows = torch.randint(0, max(1, T - 1), (n,), device=DEVICE).to(I32)
    K, V, KO, VO = M(T, C, k), M(T, C, v, 16), M(n, C, None, 24), M(n, C)
    launch('gather_key_value', grid2(n, C), 128, KO, VO, K, V, rows, None, n, C, KO.ld, VO.ld, K.ld, V.ld)
    index = rows.long()
    check(f'key rows {T}x{C}', torch.equal(KO.v, k[index]) and torch.equal(VO.v, v[index]) and KO.whole() and VO.whole())
    to = torch.randperm(n + 2, device=DEVICE)[:n].to(I32)
    KC, VC = M(n + 2, C), M(n + 2, C, None, 16)
    launch('gather_key_value', grid2(n, C), 128, KC, VC, K, V, rows, to, n, C, KC.ld, VC.ld, K.ld, V.ld)
    check('key rows to a cache', torch.equal(KC.v[to.long()], k[index]) and torch.equal(VC.v[to.long()], v[index]) and int(KC.v.isnan().sum()) == 2 * C)
    counts = torch.bincount(index, minlength=T)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64, device=DEVICE), counts.cumsum(0)]).to(I32)
    places = torch.sort(index, stable=True).indices.to(I32)
    dk, dv = rnd(n, C), rnd(n, C)
    DK, DV, A, B = M(n, C, dk), M(n, C, dv, 16), M(T, C), M(T, C, None, 24)
    launch('sum_rows', grid2(T, C), 128, A, B, DK, DV, starts, places, T, C, A.ld, B.ld, DK.ld, DV.ld)
    for name, got, of in (('dk', A, dk), ('dv', B, dv)):
        exact = torch.zeros(T, C, dtype=F64, device=DEVICE).index_add_(0, index, of.to(F64))
        judge(f'sums of rows {name} {T}x{C}', got.v, exact, exact.to(B16))
        check('sums guard', got.whole())
    first = A.v.clone()
    launch('sum_rows', grid2(T, C), 128, A, None, DK, None, starts, places, T, C, A.ld, 0, DK.ld, 0)
    check('sums of one matrix, again', torch.equal(A.v, first))
