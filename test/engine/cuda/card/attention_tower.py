import math, sys, time
from attention_compile import compile_kernel, cubins, standard, start_time, compile_all
from attention_work import Warpgroups as W
import torch
import attention_problem
from attention_bench import milliseconds, pairs
from attention_problem import Problem, capability, device, relative, functions
V, P = 'vision-forward', 'pair-forward'
Q, K = 'split-query', 'split-key-value'
DQ, DK = 'deep-query', 'deep-key-value'
TOWER = {
    'key': [W(4, 64, 3, 1, 0, 1, 3), W(8, 64, 1, 1, 0, 1, 5, 1, DK), W(4, 64, 2, 1, 0, 1, 4, 1, DK), W(12, 64, 1, 1, 0, 1, 4, 1, K), W(12, 64, 1, 1, 0, 1, 3, 1, K), W(12, 32, 1, 1, 0, 1, 5, 1, DK), W(8, 64, 1, 1, 1, 1, 4, 1, K), W(8, 64, 1, 1, 0, 1, 4, 1, K), W(4, 64, 3, 1, 0, 1, 3, 1, K), W(4, 64, 2, 1, 1, 1, 3, 1, K), W(8, 96, 1, 1, 0, 1, 3, 1, K), W(4, 64, 2, 1, 0, 1, 3)],
    'query': [W(8, 64, 2, 1, 0, 1, 3), W(8, 64, 1, 1, 0, 1, 5, 1, DQ), W(4, 64, 2, 1, 0, 1, 4, 1, DQ), W(8, 64, 2, 1, 0, 1, 3, 1, Q), W(8, 64, 2, 1, 0, 1, 4, 1, Q), W(12, 64, 1, 1, 0, 1, 4, 1, Q), W(12, 64, 1, 1, 1, 1, 4, 1, Q), W(16, 64, 1, 1, 0, 1, 4, 1, Q), W(4, 64, 3, 1, 1, 1, 3, 1, Q), W(12, 96, 1, 1, 0, 1, 3, 1, Q), W(8, 128, 1, 1, 0, 1, 3, 1, Q), W(8, 96, 1, 1, 1, 1, 3, 1, Q), W(4, 64, 3, 1, 1, 1, 3)],
    'forward': [W(4, 64, 4), W(8, 64, 2, 1, 1, 1, 3), W(8, 64, 2, 1, 1, 1, 4), W(16, 64, 1, 1, 1, 1, 3), W(16, 64, 1, 1, 1, 1, 4), W(12, 64, 1, 1, 1, 1, 4), W(8, 64, 2, 1, 1, 1, 3, 1, V), W(4, 64, 2, 1, 0, 1, 3, 2, P), W(12, 64, 1, 1, 1, 1, 3, 1, V), W(12, 128, 1, 1, 1, 1, 3, 1, V), W(4, 64, 2, 1, 0, 1, 2, 2, P), W(8, 64, 1, 1, 0, 1, 4, 2, P), W(4, 128, 2, 1, 1, 1, 2, 1, V), W(12, 96, 1, 1, 1, 1, 3, 1, V), W(4, 96, 3, 1, 1, 1, 2, 1, V),
        W(4, 64, 4, without='exp'), W(4, 64, 4, without='copies'), W(4, 64, 4, without='sums'), W(4, 64, 4, without='max'), W(4, 64, 4, without='exp copies'), W(4, 64, 4, without='exp max total'), W(4, 64, 4, without='copies sums')],
}
DF = 'deep-forward'
TEXT = {
    'key': [W(4, 64, 1, 4, 0, 2, 3), W(8, 32, 1, 4, 0, 1, 5, 1, DK), W(8, 64, 1, 4, 0, 1, 4, 1, K), W(4, 32, 1, 4, 0, 2, 4, 1, DK), W(4, 32, 2, 4, 0, 1, 4, 1, DK)],
    'query': [W(8, 32, 2, 4, 0), W(8, 32, 1, 4, 0, 1, 5, 1, DQ), W(4, 32, 3, 4, 0, 1, 4, 1, DQ), W(12, 32, 1, 4, 0, 1, 5, 1, DQ), W(4, 32, 4, 4, 0), W(8, 64, 1, 4, 0, 1, 3, 1, Q)],
    'forward': [W(8, 32, 2, 4, 0), W(4, 32, 3, 4, 0, 1, 2, 1, DF), W(8, 64, 1, 4, 0, 1, 3, 1, DF), W(12, 32, 1, 4, 0, 1, 3, 1, DF), W(8, 32, 2, 4, 0, 1, 3), W(4, 32, 4, 4, 0), W(4, 64, 3, 4, 0)],
}
compile_all([k for k in standard(capability, (64, 128)) if k[0] == 'query'])
def bench(head, heads, kv_heads, queries, lengths, causal, table, rounds):
    p = Problem(head, heads, kv_heads, queries, lengths, causal, seed=1)
    print(f'D{head} {heads}/{kv_heads} {"causal" if causal else "full"} {queries} of {lengths}:', flush=True)
    compile_all([('forward', capability, head, table['forward'][0])])
    p.forward(table['forward'][0])(); p.backward_delta()()
    compile_all([(kernel, capability, head, c) for kernel, configs in table.items() for c in configs])
    for kernel, configs in table.items():
        print(f'  compiled at {time.time() - start_time:.0f} s', flush=True)
        flops = {'forward': 4, 'query': 6, 'key': 8}[kernel] * head * heads * pairs(p)
        results = {'forward': {'o': p.o[:, :heads * head], 'lse': p.lse}, 'query': {'dq': p.dq[:, :heads * head]}, 'key': {'dk': p.dk[:, :kv_heads * head], 'dv': p.dv[:, :kv_heads * head]}}[kernel]
        wanted = None
        lse = p.lse.clone()
        for config in [*configs, 'carveout']:
            if config == 'carveout':
                attention_problem.CARVEOUT.append(1)
                functions.clear()
                config = configs[0]
            try:
                run = {'forward': p.forward, 'query': p.backward_query, 'key': p.backward_key}[kernel](config)
                for t in results.values(): t.fill_(math.nan)
                run()
                torch.cuda.synchronize()
                first = {n: t.clone() for n, t in results.items()}
                if wanted is None: wanted = first
                error = max(relative(t, wanted[n]) for n, t in results.items())
                ms = milliseconds(run, 6, rounds)
                same = all(torch.equal(first[n].nan_to_num(), t.nan_to_num()) for n, t in results.items())
                print(f'    {kernel} {tuple(config)}: {1000 * ms:.1f} us, {flops / ms / 1e9:.0f} TFLOP/s{"" if error < 1e-2 else f"  WRONG {error:.1e}"}{"" if same else " NOT DETERMINISTIC"}{" carveout" if attention_problem.CARVEOUT else ""}', flush=True)
            except SystemExit as e:
                print(f'    {kernel} {tuple(config)}: {e}', flush=True)
        attention_problem.CARVEOUT.clear()
        functions.clear()
        p.lse.copy_(lse)
one = [1932, 760, 64, 2116, 1012, 736, 704, 2116]
bench(64, 16, 16, one, one, False, TOWER, 5)
bench(128, 32, 8, [n // 8 + 30 for n in one], [n // 4 + 190 for n in one], True, TEXT, 5)
print(f'{time.time() - start_time:.0f} s', flush=True)
