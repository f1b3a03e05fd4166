"""Every kernel against torch or numpy; then timings on the GPU.
python3 test_kernels.py [seed] [--no-timing]; EMULATE=1 runs the same checks on a CPU (needs torch, numpy, g++)."""
import sys, time
import backend
from backend import EMULATED
from check_e4m3 import test_adapted_e4m3, test_e4m3_operands, test_gated_e4m3, test_low_rank_e4m3, test_norm_e4m3, test_transposed_bytes
from check_lora import test_dropout, test_noise, test_gated_backward, test_lora, test_refresh
from check_held_products import test_held
from check_loss import test_cross_entropy, test_largest, test_optimizer, test_small
from check_quantized import test_e4m3, test_nf4
from check_rows import test_activation, test_elementwise, test_flat, test_norm, test_repeated_rows, test_rotary, test_rows
from kernel_checks import SEED, tally

ROWS = (1, 7) if EMULATED else (1, 7, 129)
WIDTHS = (5, 24, 64, 1032) if EMULATED else (5, 24, 48, 64, 1024, 5120, 16384)

def run_tests():
    for rows in ROWS:
        for C in WIDTHS:
            test_norm(rows, C)
            test_elementwise(rows, C)
            if C <= 5120: test_rows(rows, C)
            if C <= 5120: test_repeated_rows(rows, C)
            for kind in range(4): test_activation(rows, C, kind)
        for heads, kv, D in ((4, 2, 64), (3, 1, 6), (32, 8, 128)): test_rotary(rows, heads, kv, D)
    test_flat()
    for rows, C, W in ((1, 16, 2), (7, 80, 4), (33, 1040, 8)) + (() if EMULATED else ((300, 5120, 2), (40, 16384, 4), (40, 32768, 8), (9, 65536, 8))): test_e4m3_operands(rows, C, W)
    for rows, C, W in ((3, 80, 2), (2, 1040, 4)) + (() if EMULATED else ((300, 16384, 4), (9, 32768, 8))):
        for kind in range(4): test_gated_e4m3(rows, C, W, kind)
    for rows, C in ((3, 80), (2, 1040)) + (() if EMULATED else ((300, 5120), (9, 16384))): test_norm_e4m3(rows, C)
    for rows, n, R in ((1, 8, 16), (37, 72, 16), (16, 1040, 32)) + (() if EMULATED else ((3000, 16384, 16), (300, 9216, 32))): test_low_rank_e4m3(rows, n, R)
    for rows, C, E in ((1, 16, 16), (37, 80, 48), (66, 272, 32), (9, 528, 64)) + (() if EMULATED else ((3001, 5120, 16), (300, 6144, 48))): test_adapted_e4m3(rows, C, E)
    for rows, C in ((16, 16), (80, 144), (64, 400)) + (() if EMULATED else ((6144, 5120),)): test_transposed_bytes(rows, C)
    for rows, C in ((1, 64), (40, 96), (37, 50), (33, 13), (130, 520)) + (() if EMULATED else ((4096, 5120),)):
        for kind in range(3):
            test_nf4(rows, C, 64, 256, kind)
            test_nf4(rows, C, 128, 0, kind)
            test_e4m3(rows, C, kind)
    cases = [(1, 24, [4], [24], 0.0, 64), (7, 72, [8, 20], [40, 16], 0.05, 64), (70, 520, [16, 16, 4], [64, 80, 16], 0.1, 64), (33, 13, [16], [8], 0.5, 64), (66, 128, [48, 32], [136, 72], 0.3, 64), (200, 64, [64], [72], 0.1, 128), (65, 40, [32, 32], [64, 8], 0.2, 64), (130, 136, [48, 16], [24, 64], 0.2, 64)]
    if not EMULATED: cases += [(129, 5120, [16, 16, 16], [4096, 1024, 1024], 0.05, 64), (500, 1024, [64, 64], [4096, 4096], 0.1, 128), (500, 1024, [256], [1000], 0.0, 192), (129, 16384, [16], [5120], 0.05, 128)]
    for case in ((1, 5, [0.5]), (3, 64, [0.1, 0.25]), (9, 1000, [0.05, 0, 0.3, 0.9]), (6, 9000, [0.1])) + (() if EMULATED else ((4128, 5120, [0.05] * 3), (4128, 16384, [0.1]))): test_dropout(*case)
    for case in ((1, 5), (3, 64), (9, 1000)) + (() if EMULATED else ((4128, 5120), (70000, 24))): test_noise(*case)
    for case in cases: test_lora(*case)
    cases = [(1, 8, [4, 4, 4], 0.0, 0, 64), (7, 72, [8, 4, 16], 0.05, 2, 64), (129, 136, [16] * 3, 0.1, 0, 64), (131, 64, [32, 20, 24], 0.5, 1, 128), (70, 200, [32] * 3, 0.0, 3, 64)]
    if not EMULATED: cases += [(1, 16384, [16] * 3, 0.05, 0, 64), (1029, 16384, [16] * 3, 0.05, 0, 1088), (777, 4096, [32] * 3, 0.1, 2, 256)]
    for case in cases: test_gated_backward(*case)
    test_refresh()
    for R, V, size in ((1, 11, 11), (7, 1000, 384)) + (() if EMULATED else ((129, 131072, 16384),)):
        for kind in (0, 1):
            test_cross_entropy(R, V, size, kind)
            test_cross_entropy(R, V, V, kind, epsilon=0.1)
            test_cross_entropy(R, V, V, kind, epsilon=0.1, weighted=True)
            test_largest(R, V, kind)
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
    for form in ('nf4', 'nf4 with plain absmax', 'e4m3'):
        for Mr, N, K in ((1, 24, 64), (3, 131, 576), (4, 45, 640), (8, 40, 192), (16, 21, 640)) + (() if EMULATED else ((1, 6144, 5120), (8, 5120, 16384))):
            for E in (0, 16, 48): test_held(form, Mr, N, K, E)
            test_held(form, Mr, max(N, 131), K, 32, activation=Mr % 4)
        test_held(form, 2, 40, 128, E=288)
        for N, K in ((24, 128), (9, 5120)) + (() if EMULATED else ((6144, 5120), (1030, 5632))):
            for norm in ('x', 'sum'):
                for E in (0, 48): test_held(form, 1, N, K, E, norm=norm)
                test_held(form, 1, max(N, 131), K, 32, activation=0, norm=norm)
    for K in (16, 48, 208): test_held('e4m3', 3, 37, K, 16)
    if not EMULATED:
        for _ in range(20): test_small(1, 6144, 5120, E=48)

started = time.time()
run_tests()
if not EMULATED and '--no-timing' not in sys.argv:
    import timing
    timing.run(backend.launch)
print(f'seed {SEED}; {time.time() - started:.0f} s; {tally["passed"]} passed, {tally["failed"]} failed')
sys.exit(tally['failed'] > 0)
