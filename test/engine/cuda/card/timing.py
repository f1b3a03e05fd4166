"""Times at the shapes of the 14B model, 4128 rows: a graph of launches over rotating buffers, so that L2 does not help."""
import statistics
import numpy as np
import torch

T, H, FF, V = 4128, 5120, 16384, 131072
cdiv = lambda a, b: -(-a // b)
grid2 = lambda rows, C: (cdiv(C, 1024), min(rows, 65535))
peak = 0.0

def run(launch):
    import cupy
    device = 'cuda'
    mat = lambda rows, C, dtype=torch.bfloat16: torch.randn(rows, C, device=device, dtype=dtype)
    f32 = lambda *shape: torch.randn(*shape, device=device)

    def bench(name, size, calls, extra=''):
        """calls: one function a buffer set; size: bytes one call moves."""
        count = max(8, len(calls))
        for c in calls: c()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
                for i in range(count): calls[i % len(calls)]()
        times = []
        for _ in range(7):
            a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            a.record(); graph.replay(); b.record(); b.synchronize()
            times.append(a.elapsed_time(b) * 1000 / count)
        t = statistics.median(times[1:])
        print(f'{name:44s} {t:8.1f} us {size / t / 1e3:6.0f} GB/s {extra}')
        return t

    a, b = torch.empty(1 << 29, dtype=torch.uint8, device=device), torch.empty(1 << 29, dtype=torch.uint8, device=device)
    bench('device copy, 512 MiB', 1 << 30, [lambda: b.copy_(a)])
    del a, b
    S = 2  # sets: a few hundred MB each
    M = T * H * 2
    x, r, s, y = [[mat(T, H) for _ in range(S)] for _ in range(4)]
    w, rstd = mat(1, H), f32(T)
    bench('rms_norm_forward, residual', 4 * M, [lambda i=i: launch('rms_norm_forward', (T,), 640, y[i], s[i], rstd, x[i], r[i], w, T, H, H, H, H, H, 1e-5) for i in range(S)])
    bench('rms_norm_backward, direct', 4 * M, [lambda i=i: launch('rms_norm_backward_8192', (T,), 640, y[i], x[i], r[i], s[i], rstd, w, T, H, H, H, H, H) for i in range(S)])
    bench('add', 3 * M, [lambda i=i: launch('add', grid2(T, H), 128, y[i], x[i], r[i], T, H, H, H, H) for i in range(S)])
    bench('copy_bf16', 2 * M, [lambda i=i: launch('copy_bf16', grid2(T, H), 128, y[i], x[i], T, H, H, H) for i in range(S)])
    index = torch.randperm(T, device=device).int()
    bench('gather_rows', 2 * M, [lambda i=i: launch('gather_rows', grid2(T, H), 128, y[i], x[i], index, T, H, H, H) for i in range(S)])
    qkv = [mat(T, 6144) for _ in range(4)]
    cos, sin = f32(T, 64), f32(T, 64)
    bench('rotary in place', T * 5120 * 4, [lambda i=i: launch('rotary', (T,), 256, qkv[i], qkv[i][:, 4096:], qkv[i], qkv[i][:, 4096:], cos, sin, None, T, 32, 8, 128, 6144, 6144, 6144, 6144, 1.0) for i in range(4)])
    gu, dgu, o, do = [mat(T, 2 * FF)], [mat(T, 2 * FF)], [mat(T, FF)], [mat(T, FF)]
    bench('gated_activation_forward', 3 * T * FF * 2, [lambda: launch('gated_activation_forward', grid2(T, FF), 128, o[0], gu[0], gu[0][:, FF:], T, FF, FF, 2 * FF, 2 * FF, 0)])
    bench('gated_activation_backward', 5 * T * FF * 2, [lambda: launch('gated_activation_backward', grid2(T, FF), 128, dgu[0], dgu[0][:, FF:], gu[0], gu[0][:, FF:], do[0], T, FF, 2 * FF, 2 * FF, 2 * FF, 2 * FF, FF, 0)])
    counters = torch.zeros(4096, dtype=torch.int32, device=device)
    kb = 4 * cdiv(FF, 32)
    for rank in (16, 32):
        A, du, u, bits = mat(rank, FF), mat(T, rank), mat(T, 2 * rank), torch.zeros(T * kb, dtype=torch.uint8, device=device)
        for split in (64 * cdiv(T, 64), 64 * cdiv(T, 128)):
            splits = cdiv(T, split)
            partialA, partialB, gradA = f32(splits, rank, FF), f32(splits, rank, 2 * FF), f32(rank, FF)
            for mask, extra in ((None, 'no dropout'), (bits, 'dropout')):
                bench(f'gated_backward_lora_{rank}, {splits} splits', 5 * T * FF * 2, [lambda: launch(f'gated_backward_lora_{rank}', (FF // 64, splits), 256, dgu[0], dgu[0][:, FF:], gradA, partialA, partialB, counters, gu[0], gu[0][:, FF:], do[0], du, A, mask, u, T, FF, 2 * FF, 2 * FF, 2 * FF, 2 * FF, FF, rank, FF, kb, 2 * rank, split, rank, 1.1, 0)], extra)

    for name, K, parts, rank, outs in (('q,k,v', H, 3, 16, [4096, 1024, 1024]), ('gate,up', H, 2, 16, [FF, FF]), ('down', FF, 1, 16, [H]), ('q,k,v r64', H, 3, 64, [4096, 1024, 1024])):
        E, N = parts * rank, sum(outs)
        starts = ([i * rank for i in range(parts)] + [E] * 4)[1:4]
        ns = ([sum(outs[:i]) for i in range(parts)] + [N] * 4)[1:4]
        kb = 4 * cdiv(K, 32)
        bits = torch.zeros(parts * T * kb, dtype=torch.uint8, device=device)
        keys = torch.randint(-2**31, 2**31, (T,), device=device).int()
        xs = [mat(T, K + E) for _ in range(3)]
        A, du, dy = mat(E, K), mat(T, E), mat(T, N)
        W = min(E, 64)
        splitted = lambda blocks: (lambda n: 64 * cdiv(cdiv(T, 64), n))(max(1, 264 // blocks))
        split, splitB = splitted(cdiv(K, 64) * cdiv(E, 64)), splitted(N // 64 * cdiv(rank, 64))
        splits, splitsB = cdiv(T, split), cdiv(T, splitB)
        partial = f32(max(splits * E * K, splitsB * rank * N))
        ga, gb = [f32(rank, K) for _ in range(parts)], [f32(n, rank) for n in outs]
        p4 = lambda v, z: (list(v) + [z] * 4)[:4]
        X = T * K * 2
        for mask, extra in ((None, 'no dropout'), (bits, 'dropout')):
            tiles = cdiv(T, 64) * cdiv(E, W)
            wide = 64 * cdiv(cdiv(K, 64), max(1, 396 // tiles))
            sums, row_keys = f32(cdiv(K, wide) * T * E), keys if mask is not None else None
            bench(f'{name}: lora_down, {cdiv(K, wide)} splits', X, [lambda i=i: launch(f'lora_down_{W}', (cdiv(T, 64), cdiv(E, W), cdiv(K, wide)), 256, xs[i][:, K:], du, sums, counters, xs[i], A, mask, row_keys, T, K, E, K + E, E, K + E, K, kb, wide, *starts, 1, 2, 3, 4, *[1 << 28] * 4, *[1.1] * 4) for i in range(3)], extra)
            bench(f'{name}: lora_input_gradient', 2 * X, [lambda i=i: launch('lora_input_gradient', (cdiv(K, 128), cdiv(T, 64)), 256, xs[i], du, A, mask, T, K, E, K + E, E, K, kb, *starts, *[1e-3] * 4) for i in range(3)], extra)
            bench(f'{name}: lora_gradient_a, {splits} splits', X, [lambda i=i: launch('lora_gradient_a', (cdiv(K, 64), splits, cdiv(E, 64)), 256, *p4(ga, None), partial, counters, du, xs[i], mask, T, K, E, E, K + E, kb, *starts, *p4([rank] * parts, 0), split, *[1.0] * 4) for i in range(3)], extra)
            if E > 64: continue
            for scale, weight in ((None, None), (rstd, w)) if K == H else ((None, None),):
                bench(f'{name}: lora_backward_{E}, {splits} splits', 3 * X, [lambda i=i: launch(f'lora_backward_{E}', (cdiv(K, 64), splits), 256, *p4(ga, None), partial, counters, xs[i], xs[(i + 1) % 3], scale, weight, du, A, mask, T, K, K + E, K + E, E, K, kb, *starts, *p4([rank] * parts, 0), split, *[1e-3] * 4) for i in range(3)], extra + (', x made' if scale is not None else ''))
        bench(f'{name}: lora_gradient_b, {splitsB} splits', T * N * 2, [lambda: launch('lora_gradient_b', (N // 64, splitsB, cdiv(rank, 64)), 256, *p4(gb, None), partial, counters, du, dy, T, N, rank, E, N, *ns, *starts, E, *p4([rank] * parts, 0), splitB, *[1.0] * 4)])
        bench(f'{name}: lora_finish_b', (splitsB + 2) * rank * N * 4, [lambda: launch('lora_finish_b', (cdiv(N * rank, 1024),), 256, *p4(gb, None), partial, N, rank, splitsB, *ns, *p4([rank] * parts, 0), *[1.0] * 4)])
        del xs, dy, partial
    del gu, dgu, o, do, qkv, x, r, s, y

    R = 512
    logits = [mat(R, V) for _ in range(2)]
    state, targets = [f32(R) for _ in range(3)], torch.randint(0, V, (R,), device=device).int()
    bench('cross_entropy_chunk, 512 rows, whole V', R * V * 2, [lambda i=i: launch('cross_entropy_chunk', (R,), 512, *state, logits[i], targets, R, V, V, 0, 1, 0) for i in range(2)])
    bench('cross_entropy_gradient', R * V * 4, [lambda i=i: launch('cross_entropy_gradient', grid2(R, V), 128, logits[i], logits[i], state[0], state[1], targets, None, None, R, V, V, V, 0, 0.01, 0, 1.0, 0.0) for i in range(2)])
    del logits

    n = 560 * 108544
    values, grads, m, v = f32(n) * 1e-2, f32(n) * 1e-3, f32(n) * 0, f32(n).abs() * 1e-6
    per = n // 560
    chunks = torch.tensor([[i, i * per + at, min(2048, per - at), 1, i * per + at, (i * per + at) // 256, 0, 0] for i in range(560) for at in range(0, per, 2048)], dtype=torch.int32, device=device)
    settings = torch.tensor([[-1e-6, 0.5, 1.0, 1.0]] * 560, device=device)
    partials, norm = torch.zeros(1024, dtype=torch.float64, device=device), torch.ones(2, device=device)
    bench('squared_norm, 61 M', 4 * n, [lambda: launch('squared_norm', (1024,), 256, partials, grads, n)])
    bench('clip_scale', 8192, [lambda: launch('clip_scale', (1,), 256, norm, partials, 1024, 1.0)])
    bench('adamw, 61 M', 28 * n, [lambda: launch('adamw', (len(chunks),), 256, values, grads, m, v, chunks, settings, norm, 0.1, 0.999, 0.001, 1e-8)])
    cm, cv = torch.zeros(n, dtype=torch.uint8, device=device), torch.zeros(n, dtype=torch.uint8, device=device)
    from dynamic_maps import maps
    table = maps().to(device)
    sm, sv = f32(n // 256).abs(), f32(n // 256).abs()
    bench('adamw8bit, 61 M', 16 * n, [lambda: launch('adamw8bit', (len(chunks),), 256, values, grads, cm, cv, sm, sv, m, v, table, chunks, settings, norm, 0.9, 0.999)])
    del m, v, cm, cv
    target = mat(FF, H + 16)
    entries, block, first = [], 0, 0
    for i in range(280):
        for rows, columns, ld, at in ((16, H, H + 16, i * 16 * (H + 16)), (H, 16, H + 16, (i % 3) * H * (H + 16) + H)):
            address = target.data_ptr() + 2 * at
            entries.append([address & 0xffffffff, address >> 32, first, rows, columns, ld, int(np.float32(2).view(np.uint32)), block])
            first += rows * columns
            block += cdiv(rows * columns, 4096)
    refresh = torch.tensor(np.array(entries, dtype=np.uint32).view(np.int32), device=device)
    bench('lora_refresh, 560 entries', 6 * first, [lambda: launch('lora_refresh', (block,), 256, values, refresh, len(entries))])
    del values, grads, target

    decoding(launch, bench, mat, f32)

def decoding(launch, bench, mat, f32):
    """Each product of a generated token alone, then all of them one after the other, with what lies around them inside."""
    ready, counted, low = torch.zeros(1, dtype=torch.int32, device='cuda'), [0], f32(4 * 16 * 48)
    LAYER = (('q,k,v', 6144, H, 48, -1), ('o', H, 4096, 16, -1), ('gate,up', 2 * FF, H, 32, 0), ('down', H, FF, 16, -1))
    residual, sums, weight = mat(1, H), mat(1, H), mat(1, H)
    def product(w, a, x, y, rows, K, E, activation, norm=False):
        """Replays of a graph repeat targets that the count has passed: they do not wait for u."""
        n = len(w) // (2 if activation >= 0 else 1)
        blocks = E // 8 * 4 + len(w) // 8
        counted[0] += E // 8 * 4
        head = (y, x, w, a, low, ready)
        if norm: launch('small_linear_norm', (blocks,), 128, *head, sums, residual, weight, n, K, E, K + E, K, activation, counted[0], 1e-5)
        else: launch('small_linear_8' if rows <= 8 else 'small_linear_16', (blocks,), 128, *head, rows, n, K, E, n, K, K + E, K, activation, counted[0])
    for name, N, K, E, activation in (*LAYER, ('head', V, H, 0, -1)):
        sets = max(1, min(8, 400_000_000 // (N * K * 2)))
        ws, a = [mat(N, K + E) * 0.02 for _ in range(sets)], mat(max(E, 1), K) * 0.02
        for rows in (1, 4, 8, 16):
            x, y = mat(rows, K), mat(rows, N)
            for norm in (False, True) if rows == 1 and K == H else (False,):
                bench(f'small_linear {name} {N}x{K}+{E}, M={rows}', N * (K + E) * 2, [lambda w=w: product(w, a, x, y, rows, K, E, activation, norm) for w in ws], 'norm' if norm else '')
        del ws
    for name, _, K, E, _ in LAYER:
        x, a, u = mat(70, K + E), mat(E, K), mat(70, E)
        sums, counters = f32(K // 256 * 70 * E), torch.zeros(2, dtype=torch.int32, device='cuda')
        bench(f'u of {name}, 70 rows: lora_down', E * K * 2, [lambda: launch(f'lora_down_{E}', (2, 1, K // 256), 256, x[:, K:], None, sums, counters, x, a, None, None, 70, K, E, K + E, 0, K + E, K, 0, 256, *[E] * 3, *[0] * 8, *[1.0] * 4)])
        bench(f'u of {name}, 70 rows: library', E * K * 2, [lambda: torch.mm(x[:, :K], a.T, out=u)])
    layers = [[(mat(N, K + E) * 0.02, mat(E, K) * 0.02, K, E, activation) for _, N, K, E, activation in LAYER] for _ in range(10)]
    chain = [part for layer in layers for part in layer] + [(mat(V, H) * 0.02, None, H, 0, -1)]
    x, y = mat(1, FF), mat(1, V)
    size = sum(w.numel() * 2 for w, *_ in chain)
    for norms in ('apart', 'in q,k,v', 'inside'):
        def token():
            for w, a, K, E, activation in chain:
                inside = K == H and E > 0 and (norms == 'inside' or norms == 'in q,k,v' and activation < 0)
                if K == H and not inside: launch('rms_norm_forward', (1,), 320, x, sums, None, y, residual, weight, 1, H, H, H, H, H, 1e-5)
                product(w, a, x, y, 1, K, E, activation, inside)
        bench('ten layers and the head, M=1', size, [token], f'norms {norms}')
