"""Kernels that make the operands of e4m3 products."""
import torch
from backend import DEVICE
from kernel_checks import B16, F32, I32, M, cdiv, check, grid2, launch, rel, rnd

U8 = torch.uint8
def block(C, W=2): return min(512, 32 * cdiv(C, 256 * W))
def codes_of(x, scale): return (x * (448 / scale[:, None])).clamp(-448, 448).to(torch.float8_e4m3fn).view(U8)
def test_e4m3_operands(rows, C, W):
    x, factors = rnd(rows, C) * (10.0 ** (torch.rand(rows, 1, device=DEVICE) * 6 - 3)).to(B16), 0.5 + torch.rand(C, device=DEVICE)
    x[0] = 0
    X, ld = M(rows, C, x, 16), C + 32
    for given in (None, factors):
        v = x.float() * (given if given is not None else 1)
        codes, scales = torch.full((rows, ld), 0x55, dtype=U8, device=DEVICE), torch.zeros(rows, device=DEVICE)
        launch(f'quantize_e4m3_{W}', (rows,), block(C, W), codes, scales, X, given, None, rows, C, ld, X.ld)
        amax = v.abs().amax(1).clamp(min=1e-30)
        check(f'e4m3 codes {rows}x{C}', torch.equal(codes[:, :C], codes_of(v, amax)) and bool((codes[:, C:] == 0x55).all()))
        check(f'e4m3 scales {rows}x{C}', torch.equal(scales, amax / 448))
        most = torch.zeros(1, dtype=I32, device=DEVICE)
        launch('tensor_amax', (rows,), block(C), most, X, given, rows, C, X.ld)
        check(f'e4m3 amax {rows}x{C}', most.view(F32)[0] == v.abs().max())
        launch(f'quantize_e4m3_{W}', (rows,), block(C, W), codes, scales, X, given, most, rows, C, ld, X.ld)
        whole = v.abs().max().clamp(min=1e-30).expand(rows)
        check(f'e4m3 codes, one scale {rows}x{C}', torch.equal(codes[:, :C], codes_of(v, whole)) and scales[0] == whole[0] / 448)
    # What is no number stays none.
    x[0, 3], x[-1, 5] = float('nan'), float('inf')
    X = M(rows, C, x)
    launch(f'quantize_e4m3_{W}', (rows,), block(C, W), codes, scales, X, None, None, rows, C, ld, X.ld)
    check(f'e4m3 NaN {rows}x{C}', (codes[0, 3] & 127) == 127 and (codes[-1, 5] & 127) == 127)
    y = rnd(rows, C)
    Y = M(rows, C, y)
    launch('scale_columns', grid2(rows, C), 128, Y, factors, rows, C, Y.ld)
    check(f'e4m3 scaled columns {rows}x{C}', torch.equal(Y.v, (y.float() * factors).to(B16)) and Y.whole())

def test_gated_e4m3(rows, C, W, kind):
    gate, up = rnd(rows, C), rnd(rows, C)
    G, U, plain, Y = M(rows, C, gate, 16), M(rows, C, up), M(rows, C), M(rows, C, None, 24)
    codes, scales = torch.zeros((2, rows, C), dtype=U8, device=DEVICE), torch.zeros((2, rows), device=DEVICE)
    launch('gated_activation_forward', grid2(rows, C), 128, plain, G, U, rows, C, plain.ld, G.ld, U.ld, kind)
    launch(f'quantize_e4m3_{W}', (rows,), block(C, W), codes[0], scales[0], plain, None, None, rows, C, C, plain.ld)
    launch(f'gated_activation_e4m3_{W}', (rows,), block(C, W), Y, codes[1], scales[1], G, U, rows, C, Y.ld, C, G.ld, U.ld, kind)
    check(f'gated e4m3 {rows}x{C} {kind}', torch.equal(Y.v, plain.v) and Y.whole() and torch.equal(codes[0], codes[1]) and torch.equal(scales[0], scales[1]))

def test_norm_e4m3(rows, C):
    x, r, w = M(rows, C, rnd(rows, C)), M(rows, C, rnd(rows, C), 16), rnd(C)
    y, s = [M(rows, C, None, 24) for _ in range(2)], [M(rows, C) for _ in range(2)]
    codes, scales = torch.zeros((2, rows, C), dtype=U8, device=DEVICE), torch.zeros((2, rows), device=DEVICE)
    rstd = torch.zeros((2, rows), device=DEVICE)
    launch('rms_norm_forward', (rows,), block(C), y[0], s[0], rstd[0], x, r, w, rows, C, y[0].ld, s[0].ld, x.ld, r.ld, 1e-5)
    launch('quantize_e4m3_8', (rows,), block(C, 8), codes[0], scales[0], y[0], None, None, rows, C, C, y[0].ld)
    launch('rms_norm_e4m3', (rows,), block(C), y[1], codes[1], scales[1], s[1], rstd[1], x, r, w, rows, C, y[1].ld, C, s[1].ld, x.ld, r.ld, 1e-5)
    same = lambda pair: torch.equal(pair[0], pair[1])
    check(f'norm e4m3 {rows}x{C}', torch.equal(y[0].v, y[1].v) and torch.equal(s[0].v, s[1].v) and y[1].whole() and same(codes) and same(scales) and same(rstd))

def test_low_rank_e4m3(rows, n, R):
    X, factors, b = M(rows, 2 * n, rnd(rows, 2 * n), 16), 0.5 + torch.rand(2 * n, device=DEVICE), M(2 * n, 2 * R, rnd(2 * n, 2 * R), 8)
    B = torch.zeros((R, 2 * n), dtype=B16, device=DEVICE)
    launch(f'transpose_low_rank_{R}', (cdiv(2 * n, 256),), 256, B, b, n, b.ld)
    parts = torch.cat([b.v[:n, :R], b.v[n:, R:]])
    check(f'low rank transposed {n} {R}', torch.equal(B, parts.t()))
    codes, scales = torch.zeros((2, rows, 2 * n), dtype=U8, device=DEVICE), torch.zeros((2, rows), device=DEVICE)
    launch('quantize_e4m3_8', (rows,), block(2 * n, 8), codes[0], scales[0], X, factors, None, rows, 2 * n, 2 * n, X.ld)
    most, du = (X.v.float() * factors).abs().amax(1).view(I32), M(rows, 2 * R)
    launch(f'quantize_low_rank_{R}', (cdiv(rows, 16), 2), 256, codes[1], scales[1], du, X, factors, most, B, rows, n, 2 * n, du.ld, X.ld)
    check(f'low rank codes {rows}x{n} {R}', torch.equal(codes[0], codes[1]) and torch.equal(scales[0], scales[1]) and du.whole())
    want = torch.cat([X.v[:, i * n:(i + 1) * n].double() @ parts[i * n:(i + 1) * n].double() for i in range(2)], 1)
    check(f'low rank du {rows}x{n} {R}', rel(du.v, want) < 4e-3, rel(du.v, want))

def test_adapted_e4m3(rows, C, E):
    X, factors, b = M(rows, C, rnd(rows, C), 16), 0.5 + torch.rand(C, device=DEVICE), M(C, E, rnd(C, E), 8)
    codes, scales = torch.zeros((2, rows, C), dtype=U8, device=DEVICE), torch.zeros((2, rows), device=DEVICE)
    launch('quantize_e4m3_8', (rows,), block(C, 8), codes[0], scales[0], X, factors, None, rows, C, C, X.ld)
    du, y = M(rows, E), M(rows, C, None, 24)
    if E <= 32: launch(f'quantize_adapted_{E}', (cdiv(rows, 8),), 256, codes[1], scales[1], du, X, factors, b, rows, C, C, du.ld, X.ld, b.ld)
    check(f'adapted codes {rows}x{C} {E}', E > 32 or torch.equal(codes[0], codes[1]) and torch.equal(scales[0], scales[1]) and du.whole())
    if E > 32: du = M(rows, E, rnd(rows, E))
    else: check(f'adapted du {rows}x{C} {E}', rel(du.v, X.v.double() @ b.v.double()) < 4e-3, rel(du.v, X.v.double() @ b.v.double()))
    if E == 48: return
    launch(f'low_rank_up_{E}', (cdiv(C, 256), cdiv(rows, 64)), 256, y, du, b, rows, C, y.ld, du.ld, b.ld)
    want = du.v.double() @ b.v.double().t()
    check(f'low rank up {rows}x{C} {E}', rel(y.v, want) < 4e-3 and y.whole(), rel(y.v, want))

def test_transposed_bytes(rows, C):
    x = torch.randint(0, 256, (rows, C + 16), dtype=torch.int32, device=DEVICE).to(U8)
    out = torch.full((C, rows + 32), 0x55, dtype=U8, device=DEVICE)
    launch('transpose_bytes', (cdiv(C, 64), cdiv(rows, 64)), 256, out, x, rows, C, rows + 32, C + 16)
    check(f'bytes {rows}x{C}', torch.equal(out[:, :rows], x[:, :C].t()) and bool((out[:, rows:] == 0x55).all()))
