"""Timings of the attention kernels beside torch's, and of other tile sizes."""
import math, statistics
import torch
import torch.nn.attention
import torch.nn.functional as functional
from attention_compile import compile_all
from attention_problem import Problem, capability, device, relative

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

CANDIDATES = {
    ('forward', 128): [(4, 2, 64, 2), (4, 2, 48, 2), (4, 2, 32, 2), (8, 1, 64, 1), (8, 1, 32, 1), (4, 1, 64, 2)],
    ('forward', 64): [(4, 2, 64, 2), (4, 2, 64, 3), (4, 2, 48, 3), (4, 2, 32, 3), (8, 1, 64, 2), (4, 1, 64, 4), (8, 2, 64, 1), (4, 2, 96, 2)],
    ('query', 128): [(4, 2, 32, 2), (8, 1, 32, 1), (8, 1, 64, 1), (4, 1, 32, 3), (4, 1, 32, 2), (4, 1, 64, 2)],
    ('query', 64): [(4, 2, 32, 2), (4, 2, 32, 3), (4, 2, 48, 2), (4, 2, 64, 2), (8, 1, 32, 2), (4, 1, 32, 4), (8, 1, 64, 1), (4, 1, 64, 3)],
    ('key', 128): [(8, 1, 32, 1), (8, 1, 64, 1), (4, 1, 32, 2), (4, 1, 64, 2), (4, 1, 32, 1, 2), (4, 1, 48, 1, 2), (2, 1, 32, 1, 4)],
    ('key', 64): [(4, 2, 32, 2), (8, 1, 32, 2), (8, 1, 64, 1), (4, 1, 64, 3), (4, 1, 32, 4), (4, 2, 16, 2), (4, 1, 32, 3), (4, 1, 64, 2)],
}

def tune():
    jobs = [(kernel, capability, head, config) for (kernel, head), configs in CANDIDATES.items() for config in configs]
    compile_all(jobs)
    problems = {128: shapes()[0][1], 64: shapes()[1][1]}
    wanted = {}
    for p in problems.values():
        for step in (p.forward(), p.backward_delta(), p.backward_query(), p.backward_key()):
            step()
    for kernel, _, head, config in jobs:
        p = problems[head]
        results = {'forward': (p.o,), 'query': (p.dq,), 'key': (p.dk, p.dv)}[kernel]
        wanted.setdefault((kernel, head), [r.clone() for r in results])
        for r in results:
            r.fill_(math.nan)
        run = {'forward': lambda: p.forward(config), 'query': lambda: p.backward_query(config), 'key': lambda: p.backward_key(config)}[kernel]()
        run()
        columns = min(r.shape[1] for r in results) if kernel != 'forward' else p.heads * head
        error = max(relative(r[:, :columns], w[:, :columns]) for r, w in zip(results, wanted[(kernel, head)]))
        ms = milliseconds(run)
        flops = {'forward': 4, 'query': 6, 'key': 8}[kernel] * head * p.heads * pairs(p)
        print(f'tune {kernel:8s} D{head} {config}: {ms:.4f} ms {flops / ms / 1e9:.0f} raw TFLOP/s{"" if error < 1e-2 else f"  WRONG {error:.1e}"}', flush=True)
