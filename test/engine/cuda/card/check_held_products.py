"""Products with a few rows of x from weights that are held in 4 or 8 bits."""
import torch
from backend import DEVICE
from check_quantized import VALUES
from check_rows import ACT
from dynamic_maps import dynamic_map
from kernel_checks import B16, F32, F64, I32, M, cdiv, check, judge, launch, rnd, up

def nf4_weight(rows, K, double):
    """Two parts of unequal heights, the second one stored first; arguments of the kernels and the values."""
    top, per_row = rows // 3, K // 64
    heights, starts = [top, rows - top], [0, top]
    units = [up(height * per_row, 256) for height in heights]
    firsts = [units[1], 0]
    blocks = sum(units)
    codes = torch.randint(256, (blocks * 32,), device=DEVICE).to(torch.uint8)
    tables = [torch.zeros(260, device=DEVICE) for _ in heights]
    if double:
        absmax_codes = torch.randint(256, (blocks,), device=DEVICE).to(torch.uint8)
        nested = torch.rand(blocks // 256, device=DEVICE) * 0.01 + 0.01
        for i, table in enumerate(tables):
            table[:256] = dynamic_map(True)[0].to(DEVICE)
            table[256] = 0.03 + 0.01 * i
    else:
        absmax_codes, nested = None, torch.rand(blocks, device=DEVICE) * 0.05
    values = []
    for height, first, table in zip(heights, firsts, tables):
        own = torch.arange(first, first + height * per_row, device=DEVICE)
        absmax = table[absmax_codes[own].long()] * nested[own // 256] + table[256] if double else nested[own]
        packed = codes.reshape(-1, 32)[own]
        of_codes = VALUES[torch.stack((packed >> 4, packed & 15), 2).long()].reshape(-1, 64)
        values.append((of_codes * absmax[:, None]).reshape(height, K))
    pointers = (codes, absmax_codes, nested, *(tables if double else (None, None)), None, None)
    return pointers, (0, 8 if double else 0, starts[1], rows, rows, firsts[0], firsts[1], 0, 0), torch.cat(values)

def e4m3_weight(rows, K):
    codes = rnd(rows, K).to(F32).to(torch.float8_e4m3fn)
    scales = torch.rand(rows, device=DEVICE) * 0.1
    return (codes.view(torch.uint8).flatten(), scales), (K,), codes.float() * scales[:, None]

counted = 0
def test_held(form, Mrows, N, K, E=0, activation=-1, norm=None):
    """y = x·Wᵀ + u·Bᵀ, u = bf16(x·Aᵀ); gate and up as one; x normalised first ('x' or 'sum')."""
    global counted
    rows = N if activation < 0 else 2 * N
    pointers, numbers, values = nf4_weight(rows, K, form == 'nf4') if form != 'e4m3' else e4m3_weight(rows, K)
    x, a, b = M(Mrows, K, rnd(Mrows, K)), M(max(E, 1), K, rnd(max(E, 1), K, scale=K**-0.5), 16), M(rows, max(E, 8), rnd(rows, max(E, 8)), 16)
    y = M(Mrows, N)
    low, ready = torch.full((4 * Mrows * E + 8,), float('nan'), device=DEVICE), torch.full((1,), counted - 2**31, dtype=I32, device=DEVICE)
    # At most two blocks, which take rows in turns: what the host launches for wide matrices.
    grid = E // 8 * 4 + min(2, cdiv(N, 16 if activation < 0 else 8))
    counted += E // 8 * 4
    target = (counted - 2**31) % 2**32
    adapter = (a, b, low, ready) if E else (None, None, None, None)
    layout = numbers if form != 'e4m3' else ()
    ldc = numbers if form == 'e4m3' else ()
    kind = 'e4m3' if form == 'e4m3' else 'nf4'
    if norm:
        residual, weight, total = M(1, K, rnd(1, K)), M(1, K, rnd(1, K)), M(1, K)
        name = {'nf4': 'small_linear_norm_nf4', 'e4m3': 'small_linear_norm_e4m3'}[kind]
        launch(name, (grid,), 256, y, x, *pointers, *adapter, total if norm == 'sum' else None, residual if norm == 'sum' else None, weight, *layout, N, K, E, *ldc, a.ld, b.ld, activation, target, 1e-5)
        s = x.v + residual.v if norm == 'sum' else x.v
        if norm == 'sum': check('norm sum', torch.equal(total.v, s) and total.whole())
        scale = torch.rsqrt(s.to(F64).square().mean(-1, keepdim=True) + 1e-5)
        given = (s.to(F64) * scale).to(B16) * weight.v
    else:
        width = 4 if kind == 'nf4' and Mrows <= 4 and K % 128 == 0 else 8 if Mrows <= 8 else 16
        name = {'nf4': f'small_linear_nf4_{width}', 'e4m3': f'small_linear_e4m3_{width}'}[kind]
        launch(name, (grid,), 256, y, x, *pointers, *adapter, *layout, Mrows, N, K, E, y.ld, x.ld, *ldc, a.ld, b.ld, activation, target)
        given = x.v
    exact, plain = given.to(F64) @ values.to(F64).T, given @ values.to(B16).T
    if E:
        u = (given.to(F64) @ a.v.to(F64).T).to(B16)
        exact, plain = exact + u.to(F64) @ b.v.to(F64).T, plain + u @ b.v.T
    if activation >= 0:
        act = ACT[activation]
        exact = exact.to(B16).to(F64)
        exact, plain = act(exact[:, :N]) * exact[:, N:], act(plain[:, :N]) * plain[:, N:]
    judge(f'{name} {form} {Mrows}x{N}x{K}+{E} activation {activation} norm {norm}', y.v, exact, plain)
    check('held guard', y.whole() and bool(low[4 * Mrows * E:].isnan().all()))
    check('held count', int(ready[0]) % 2**32 == target % 2**32)
