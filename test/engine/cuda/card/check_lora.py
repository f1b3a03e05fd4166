"""Kernels of LoRA: dropout bits, low-rank products, their gradients, the fused backward of the gated activation."""
import math
import numpy as np
import torch
from backend import DEVICE
from kernel_checks import B16, F64, I32, M, cdiv, check, grid2, judge, launch, rel, rnd, up

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

def make_bits(T, K, row_keys, seeds, thresholds):
    kb = 4 * cdiv(K, 32)
    bits = torch.full((len(seeds) * T * kb,), 0xff, dtype=torch.uint8, device=DEVICE)
    keys = torch.tensor(row_keys.view(np.int32), device=DEVICE)
    pad = lambda v: list(v) + [0] * (4 - len(v))
    E = 16 * len(seeds)
    x, A, u = M(T, K, rnd(T, K)), M(E, K, torch.zeros(E, K)), M(T, E)
    A.buffer.zero_()
    starts = [min(16 * i, E) for i in range(1, 4)]
    launch(f'lora_down_{E}', (cdiv(T, 64), 1, 1), 256, u, None, None, None, x, A, bits, keys, T, K, E, u.ld, 0, x.ld, A.ld, kb, up(K, 64), *starts, *pad(seeds), *pad([t << 16 for t in thresholds]), *[1.0] * 4)
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

def test_noise(T, K):
    """Of embeddings: uniform in ± the bound of each row, from the bits of dropout."""
    row_keys = np.random.randint(0, 2**32, T, dtype=np.uint64).astype(np.uint32)
    bounds = np.random.uniform(0.01, 2, T).astype(np.float32)
    x = M(T, K, rnd(T, K))
    before = x.v.clone()
    launch('add_noise', grid2(T, K), 128, x, torch.tensor(row_keys.view(np.int32), device=DEVICE), torch.tensor(bounds, device=DEVICE), T, K, x.ld, 0x299f31d0)
    noise = (2 * dropout_bits16(row_keys, 0x299f31d0, K).astype(np.float64) - 65535) * bounds[:, None] / 65536
    want = before.to(F64) + torch.tensor(noise, device=DEVICE)
    judge(f'noise {T}x{K}', x.v, want, want.to(B16))
    check('noise guard', x.whole())

def test_lora(T, K, ranks, outs, p, splits_at):
    tag = f'T{T} K{K} ranks {ranks} p {p}'
    padded = [up(r, 16) for r in ranks]
    starts = [sum(padded[:i]) for i in range(len(ranks))]
    E = sum(padded)
    s = (starts + [E] * 4)[1:4]
    seeds = [int(v) for v in np.random.randint(0, 2**32, len(ranks), dtype=np.uint64)]
    threshold = round(p * 65536)
    p = threshold / 65536
    bits, keys, kb, masks = None, None, 4 * cdiv(K, 32), [torch.ones(T, K, dtype=F64, device=DEVICE)] * len(ranks)
    keep = [1 / (1 - p)] * len(ranks)
    if p:
        row_keys = np.random.randint(0, 2**32, T, dtype=np.uint64).astype(np.uint32)
        bits, kb = make_bits(T, K, row_keys, seeds, [threshold] * len(ranks))
        got = np.unpackbits(bits.cpu().numpy().reshape(len(ranks), T, kb), axis=2, bitorder='little')
        want = np.stack([dropout_bits16(row_keys, seed, K) >= threshold for seed in seeds])
        check(f'bits {tag}', np.array_equal(got[:, :, :K], want) and not got[:, :, K:].any())
        masks = [torch.tensor(w, dtype=F64, device=DEVICE) for w in want]
        keys = torch.tensor(row_keys.view(np.int32), device=DEVICE)
    keeps = (keep + [1.0] * 4)[:4]
    pad4 = lambda v, z: (list(v) + [z] * 4)[:4]
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
    def down(to, second, made, split):
        splits, tiles = cdiv(K, split), cdiv(T, 64) * cdiv(E, W)
        partial = torch.full((splits * T * E,), float('nan'), device=DEVICE) if splits > 1 else None
        counters = torch.zeros(tiles, dtype=I32, device=DEVICE)
        ld = x.ld if second else to.ld
        launch(f'lora_down_{W}', (cdiv(T, 64), cdiv(E, W), splits), 256, to, second, partial, counters, x, A, made, keys, T, K, E, ld, second.ld if second else 0, x.ld, A.ld, kb, split, *s, *pad4(seeds, 0), *[threshold << 16] * 4, *keeps)
        check(f'down counters {tag}', not counters.any())
    made = torch.full_like(bits, 0xff) if p else None
    down(u, kept, made, up(K, 64))
    if p: check(f'down bits {tag}', torch.equal(made, bits))
    uv = x.buffer.as_strided((T, E), (x.ld, 1), KP)
    want = torch.cat([d @ A64[a:a + r].T for d, a, r in zip(dropped, starts, padded)], 1)
    plain = torch.cat([(x.v * m.to(B16) * k) @ A.v[a:a + r].T for m, k, a, r in zip(masks, keep, starts, padded)], 1)
    judge(f'down {tag}', uv, want, plain)
    check('down keeps x', torch.equal(x.v.to(F64), x64))
    check('down saves u', torch.equal(kept.v, uv) and kept.whole())
    kept.v.fill_(0)
    down(kept, None, None, up(K, 64))
    check('down alone', torch.equal(kept.v, uv))
    down(kept, None, None, 64)
    judge(f'down split {tag}', kept.v, want, plain)
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
    # The same again, with the largest magnitude of each row.
    again, most, factors = M(T, 2 * C), torch.zeros(T, dtype=I32, device=DEVICE), 0.5 + torch.rand(2 * C, device=DEVICE)
    launch(f'gated_backward_amax_{rank}', (cdiv(C, 64), splits), 256, again, again.buffer[C:], torch.zeros_like(gradA), nan(splits, rank, C), torch.zeros_like(partialB), counters, both, both.buffer[C:], dy, du, A, bits, u, T, C, again.ld, again.ld, both.ld, both.ld, dy.ld, du.ld, A.ld, kb, u.ld, split, ranks[0], keep, kind, most, factors)
    check(f'{tag} largest', torch.equal(again.v, out.v) and torch.equal(most.view(torch.float32), (out.v.float() * factors).abs().amax(1)))
    check(f'{tag} counters', not counters.any())
    check(f'{tag} guard', out.whole() and dy.whole() and both.whole())
    s, keeps = [rank] * 3, [keep, 1.0, 1.0, 1.0]
    dx, want, y = M(T, C, dy.v), M(T, 2 * C), M(T, C)
    launch('lora_input_gradient', (cdiv(C, 128), cdiv(T, 64)), 256, dx, du, A, bits, T, C, rank, dx.ld, du.ld, A.ld, kb, *s, *keeps)
    launch('gated_activation_backward', grid2(T, C), 128, want, want.buffer[C:], both, both.buffer[C:], dx, T, C, want.ld, want.ld, both.ld, both.ld, dx.ld, kind)
    launch('gated_activation_forward', grid2(T, C), 128, y, both, both.buffer[C:], T, C, y.ld, both.ld, both.ld, kind)
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
