"""The warpgroup attention kernels (sm_90a): checks that say where an error sits, then timings next to the others."""
import math, time
import torch
import torch.nn.functional as functional
from attention_bench import milliseconds, pairs
from attention_compile import WARPGROUP_CANDIDATES, WARPGROUP_KERNELS, compile_all, standard, start_time, warpgroup_programs
from attention_problem import Problem, SEED, capability, device, failures, launch, relative, report
from attention_work import Warpgroups

def show_blocks(error, rows=128, columns=128):
    """The largest error of each 8 x 8 block, as characters: . below 0.01, then digits for powers of ten."""
    error = error.double().nan_to_num(nan=1e9)[:rows, :columns]
    error = functional.pad(error, (0, -error.shape[1] % 8, 0, -error.shape[0] % 8))
    blocks = error.reshape(error.shape[0] // 8, 8, -1, 8).amax((1, 3))
    for line in blocks.tolist():
        print('      ' + ' '.join('.' if v < 0.01 else 'N' if v >= 1e8 else f'{v:.2f}' if v < 10 else f'{v:.0f}' for v in line))

def test_products(head, stream):
    """Small whole numbers: every product is exact, so any difference is a wrong place."""
    key = ('products', capability, head, Warpgroups(4, stream, 1))
    random = lambda rows: torch.randint(-4, 5, (rows, head), device='cuda').bfloat16()
    a, b = random(64), random(stream)
    c = [torch.full((64, n), math.nan, device='cuda') for n in (stream, stream, head)]
    launch(key, 'products', (1, 1), 128, (64 + stream) * 2 * head, *c, a, b)()
    torch.cuda.synchronize()
    depth = min(64, stream)
    wanted = [a.float() @ b.float().T] * 2 + [a[:, :depth].float() @ b[:depth].float()]
    for name, got, want in zip(('registers x [column][depth]', 'shared x [column][depth]', 'registers x [depth][column]'), c, wanted):
        bad = not torch.equal(got, want)
        report(bad, f'product D{head} {stream} columns, {name}')
        if bad:
            show_blocks((got - want).abs())
            print('      got ', got[0, :16].tolist(), got[9, :8].tolist(), '\n      want', want[0, :16].tolist(), want[9, :8].tolist())

def special_inputs(p, kind):
    """Inputs whose results say which product or tile is wrong."""
    if kind == 'all keys alike': p.q.zero_()          # o is the mean of v
    if kind == 'values are unit rows':                  # o is the probability of each key, 64 at a time
        p.v.zero_()
        for i in range(p.keys):
            p.v[i, i % p.head::p.head] = 1
    if kind == 'one key counts':                       # o is the row of v with the query's number
        p.q.zero_(); p.k.zero_()
        for i in range(p.queries): p.q[i, i % p.head::p.head] = 64
        for i in range(p.keys): p.k[i, i % p.head::p.head] = 64

def test_warpgroup_forward(head, heads, kv_heads, query_lengths, key_lengths, causal, config, kind=''):
    p = Problem(head, heads, kv_heads, query_lengths, key_lengths, causal, seed=SEED)
    special_inputs(p, kind)
    p.forward(config)()
    torch.cuda.synchronize()
    first = p.o.clone(), p.lse.clone()
    p.forward(config)()
    same = all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, (p.o, p.lse)))
    exact = p.reference(torch.float64, gradients=False)
    width = heads * head
    error = relative(p.o[:, :width], exact['o'])
    seen = exact['lse'].isfinite()
    lse_error = (p.lse[seen] - exact['lse'][seen]).abs().max().item()
    p.forward(config, save=False)()
    bad = not (error < 4e-3 and lse_error < 1e-3 and same) or not bool(p.o[:, width:].isnan().all()) or bool((p.lse.isneginf() != ~seen).any())
    bad |= not torch.equal(p.o.nan_to_num(), first[0].nan_to_num())
    report(bad, f'forward D{head} {heads}/{kv_heads} {"causal" if causal else "full"} {tuple(config)} q{list(query_lengths)} k{"=q" if list(query_lengths) == list(key_lengths) else list(key_lengths)} {kind}: '
           f'o {error:.1e} lse {lse_error:.0e}' + ('' if same else ' NOT DETERMINISTIC'))
    if bad:
        show_blocks((p.o[:, :width] - exact['o']).abs())
        print('      lse difference of the first head by rows of 8:', [f'{v:.2g}' for v in functional.pad((p.lse[0] - exact['lse'][0]).float(), (0, -p.queries % 8)).view(-1, 8).abs().amax(1)[:24].tolist()])
    return bad

def run_of(p, kernel, config=None):
    return {'forward': p.forward, 'query': p.backward_query, 'key': p.backward_key}[kernel](config)

def results_of(p, kernel):
    """Results without what lies behind their columns."""
    heads = {'o': p.heads, 'dq': p.heads, 'dk': p.kv_heads, 'dv': p.kv_heads}
    return {n: getattr(p, n)[:, :heads[n] * p.head] for n in {'forward': ('o',), 'query': ('dq',), 'key': ('dk', 'dv')}[kernel]}

def test_warpgroup_backward(head, heads, kv_heads, query_lengths, key_lengths, causal, kernel):
    """Each configuration against float64, no worse than the kernel without warpgroups."""
    p = Problem(head, heads, kv_heads, query_lengths, key_lengths, causal, seed=SEED)
    for step in (p.forward(), p.backward_delta(), run_of(p, kernel)):
        step()
    exact = p.reference(torch.float64)
    known = {n: relative(t, exact[n]) for n, t in results_of(p, kernel).items()}
    for config in WARPGROUP_CANDIDATES[(kernel, head)]:
        run, results = run_of(p, kernel, config), results_of(p, kernel)
        for t in results.values():
            t.fill_(math.nan)
        run()
        torch.cuda.synchronize()
        first = {n: t.clone() for n, t in results.items()}
        run()
        same = all(torch.equal(first[n].nan_to_num(), t.nan_to_num()) for n, t in results.items())
        errors = {n: relative(t, exact[n]) for n, t in results.items()}
        wide = all(bool(getattr(p, n)[:, t.shape[1]:].isnan().all()) for n, t in results.items())
        bad = not (same and wide and all(e <= 1.2 * known[n] + 1e-4 for n, e in errors.items()))
        report(bad, f'{kernel} D{head} {heads}/{kv_heads} {"causal" if causal else "full"} {tuple(config)} q{list(query_lengths)} k{"=q" if list(query_lengths) == list(key_lengths) else list(key_lengths)}: '
               + ' '.join(f'{n} {e:.2e}/{known[n]:.2e}' for n, e in errors.items()) + ('' if same else ' NOT DETERMINISTIC') + ('' if wide else ' WROTE BEHIND ITS COLUMNS'))
        if bad:
            for n, t in results.items():
                print(f'      {n}:')
                show_blocks((t - exact[n]).abs())

VISION = [2116, 1300, 900, 1500, 1100, 1000, 640, 900]
TEXT = [720, 560, 480, 600, 410, 520, 350, 500]
def warpgroup_checks_and_times():
    if capability != 90:
        raise SystemExit(f'the warpgroup kernels are for sm_90a; this is {device.name}, sm_{capability}')
    compile_all(warpgroup_programs() + [key for key in standard(capability, (64, 128)) if key[0] != 'decode'])
    print(f'{device.name} sm_{capability}: compiled at {time.time() - start_time:.0f} s, seed {SEED}', flush=True)
    for head in (64, 128):
        for stream in (32, 64, 96, 128):
            test_products(head, stream)
    for head, causal in ((64, False), (128, True)):
        for config in WARPGROUP_CANDIDATES[('forward', head)] if 'forward' in WARPGROUP_KERNELS else ():
            g = config.group
            if not test_warpgroup_forward(head, g, 1, [64], [64], False, config):
                test_warpgroup_forward(head, 2 * g, 2, [1, 7, 64, 129, 700], [1, 7, 64, 129, 700], causal, config)
                test_warpgroup_forward(head, 4, 1, [1, 5, 130, 64, 40], [100, 700, 90, 64, 0], not causal, config)
            else:
                for kind in ('all keys alike', 'values are unit rows', 'one key counts'):
                    test_warpgroup_forward(head, g, 1, [64], [64], False, config, kind)
        group = 1 if head == 64 else 4
        for kernel in WARPGROUP_KERNELS:
            if kernel != 'forward':
                test_warpgroup_backward(head, group, 1, [64], [64], False, kernel)
                test_warpgroup_backward(head, 2 * group, 2, [1, 7, 64, 129, 700], [1, 7, 64, 129, 700], causal, kernel)
                test_warpgroup_backward(head, 4, 1, [1, 5, 130, 64, 40], [100, 700, 90, 64, 0], not causal, kernel)
                test_warpgroup_backward(head, 2 * group, 2, [560, 60, 41, 129, 1], [560, 560, 541, 629, 501], True, kernel)
    print(f'{len(failures)} failures at {time.time() - start_time:.0f} s', flush=True)
    for head, heads, kv_heads, lengths, causal in ((64, 16, 16, VISION, False), (64, 16, 16, VISION[:4], False), (64, 16, 16, [1400] * 8, False), (64, 16, 16, [12100], False), (128, 32, 8, TEXT, True), (128, 32, 8, TEXT[:4], True)):
        p = Problem(head, heads, kv_heads, lengths, lengths, causal)
        print(f'D{head} {heads}/{kv_heads} {"causal" if causal else "full"} {lengths}:', flush=True)
        for step in (p.forward(), p.backward_delta()):
            step()
        for kernel in WARPGROUP_KERNELS:
            flops = {'forward': 4, 'query': 6, 'key': 8}[kernel] * head * heads * pairs(p)
            run_of(p, kernel)()
            results = results_of(p, kernel)
            wanted = {n: t.clone() for n, t in results.items()}
            for config in [None, *WARPGROUP_CANDIDATES[(kernel, head)]]:
                for t in results.values():
                    t.fill_(math.nan)
                run = run_of(p, kernel, config)
                run()
                error = max(relative(t, wanted[n]) for n, t in results.items())
                ms = milliseconds(run, 10 if flops < 1e11 else 3)
                print(f'    {kernel} {"as it was" if config is None else tuple(config)}: {1000 * ms:.1f} us, {flops / ms / 1e9:.0f} TFLOP/s{"" if error < 1e-2 else f"  WRONG {error:.1e}"}', flush=True)
