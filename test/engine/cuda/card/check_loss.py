"""Kernels of the loss, the optimizer and generation."""
import math
import numpy as np
import torch
import torch.nn.functional as F
from backend import DEVICE
from check_rows import ACT
from dynamic_maps import dynamic_map
from kernel_checks import B16, F32, F64, I32, M, cdiv, check, grid2, judge, launch, rnd, up

# ---- loss
def test_cross_entropy(R, V, size, kind, epsilon=0.0, weighted=False):
    """In chunks; with label smoothing of epsilon, which takes the whole vocabulary as one chunk."""
    counts = torch.tensor([3.0, 1.0, 0.375, 0.0], device=DEVICE).repeat(cdiv(R, 4))[:R].contiguous() if weighted else None
    each = torch.ones(R, dtype=F64, device=DEVICE) if counts is None else counts.to(F64)
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
    if epsilon: launch('cross_entropy_smooth', (R,), 512, state[2], chunks[0][2], R, V, chunks[0][2].ld, 1 - epsilon, epsilon / V, kind)
    rowLoss, loss = torch.full((R,), float('nan'), device=DEVICE), torch.full((1,), float('nan'), device=DEVICE)
    launch('cross_entropy_finish', (1,), 1024, rowLoss, loss, *state, counts, R, 0.25)
    exact = F.cross_entropy(logits.to(F64), targets.long(), reduction='none', label_smoothing=epsilon)
    # The loss is a difference of logits and may come near zero: its error is one of theirs, in float32.
    limit = (8 if epsilon else 4) * float(np.spacing(np.float32(logits.float().abs().max().item())))
    off = float((rowLoss.to(F64) - exact).abs().max())
    check(f'row loss {R}x{V}', off <= limit, f'error {off:.2e} limit {limit:.2e}')
    off = abs(float(loss[0]) - float((each * exact).sum()) * 0.25)
    limit *= 0.25 * float(each.sum())
    check('loss', off <= limit, f'error {off:.2e} limit {limit:.2e}')
    own, other = 1 - epsilon + epsilon / V, epsilon / V
    wanted = F.one_hot(targets.long(), V).to(F64) * (own - other) + other
    want = (torch.softmax(logits.to(F64), -1) - wanted) * 0.25 * 1.7 * each[:, None]
    upstream = torch.tensor([1.7], device=DEVICE)
    for first, n, chunk in chunks:
        O = chunk if not kind else M(R, n)
        launch('cross_entropy_gradient', grid2(R, n), 128, O, chunk, state[0], state[1], targets, counts, upstream, R, n, O.ld, chunk.ld, first, 0.25, kind, own, other)
        judge(f'loss gradient {R}x{V} {first}', O.v, want[:, first:first + n], want[:, first:first + n].to(B16))
        check('loss gradient guard', O.whole())

def test_largest(R, V, kind):
    """Ties, NaN and infinities in rows that need not start at 16 bytes where they are float32."""
    logits = (torch.randn(R, V, device=DEVICE) * 4).to(F32 if kind else B16)
    logits[0, [V - 1, V // 2]] = 99
    if R > 1: logits[1, [V // 3, V - 1]] = float('nan')
    if R > 2: logits[2] = -math.inf
    value, index = torch.zeros(R, device=DEVICE), torch.full((R,), -1, dtype=I32, device=DEVICE)
    x = logits.contiguous() if kind else M(R, V, logits)
    launch('largest_logit', (R,), 1024, value, index, x, V, V if kind else x.ld, kind)
    # The first of all that are largest; torch, too, takes NaN for the largest.
    top = logits.float().amax(-1, keepdim=True)
    same = torch.where(top.isnan(), logits.isnan(), logits.float() == top)
    check(f'largest {R}x{V}', torch.equal(index.long(), same.int().argmax(-1)) and torch.equal(value.nan_to_num(7.0), top[:, 0].nan_to_num(7.0)))

# ---- optimizer
def test_optimizer():
    sizes = [5000, 33, 4096, 7, 9000]
    n = sum(sizes)
    offsets = np.cumsum([0] + sizes)
    active = [1, 1, 0, 1, 1]
    lr, b1, b2, eps, wd = 1e-2, 0.9, 0.999, 1e-8, 0.1
    # LoRA+: a rate for each parameter, which the host writes into the settings.
    rates = [lr * f for f in (1, 4, 1, 16, 4)]
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
    reference = torch.optim.AdamW([{'params': [q], 'lr': r} for q, r in zip(params, rates)], lr=lr, betas=(b1, b2), eps=eps, weight_decay=wd, foreach=False)
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
        settings = torch.tensor([[-r / (1 - b1**step), c, 1 - r * wd, a] for r, a in zip(rates, active)], dtype=F32, device=DEVICE)
        launch('adamw', (len(chunks),), 256, values['adamw'], gd, m, v, chunks, settings, norm, 1 - b1, b2, 1 - b2, eps)
        for i, q in enumerate(params): q.grad = g[offsets[i]:offsets[i + 1]] * clip if active[i] else None
        reference.step()
        want = torch.cat([q.detach() for q in params])
        got = values['adamw'].cpu()
        check(f'adamw step {step}', float((got - want).abs().max()) < 1e-6, float((got - want).abs().max()))
        settings = torch.tensor([[-r * c / (1 - b1**step), c * eps, 1 - r * wd, a] for r, a in zip(rates, active)], dtype=F32, device=DEVICE)
        launch('adamw8bit', (len(chunks),), 256, values['adamw8bit'], gd, cm, cv, sm, sv, fm, fv, table, chunks, settings, norm, b1, b2)
        gs = (g * clip).to(F64).numpy()
        for i, size in enumerate(sizes):
            if not active[i]: continue
            z = slice(offsets[i], offsets[i + 1])
            rm[z] = b1 * rm[z] + (1 - b1) * gs[z]; rv[z] = b2 * rv[z] + (1 - b2) * gs[z]**2
            ref8[z] = (ref8[z] - rates[i] * c / (1 - b1**step) * rm[z] / (np.sqrt(rv[z]) + c * eps)) * (1 - rates[i] * wd)
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
    launch('adamw', (len(chunks),), 256, values['adamw'], gd, m, v, chunks, settings, norm, 1 - b1, b2, 1 - b2, eps)
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
    name = 'small_linear_norm' if norm else 'small_linear_8' if Mrows <= 8 else 'small_linear_16'
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
