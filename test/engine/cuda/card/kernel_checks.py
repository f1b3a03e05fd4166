"""What the checks of single kernels share: launches, strided matrices in poisoned memory, the judge, the tally."""
import math, sys, time
import numpy as np
import torch
import backend
from backend import DEVICE, sync

SEED = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else int(time.time())
torch.manual_seed(SEED)
np.random.seed(SEED)
B16, F32, F64, I32 = torch.bfloat16, torch.float32, torch.float64, torch.int32
tally = {'passed': 0, 'failed': 0}
cdiv = lambda a, b: -(-a // b)
up = lambda a, b: cdiv(a, b) * b
grid2 = lambda rows, C: (cdiv(C, 1024), min(rows, 65535))

def check(name, ok, note=''):
    tally['passed' if ok else 'failed'] += 1
    if not ok: print('FAILED', name, note)

class M:
    """A strided matrix in a poisoned buffer; `whole` tells that nothing outside it changed."""
    def __init__(self, rows, C, data=None, extra=8, dtype=B16):
        self.ld = up(C, 8) + extra
        self.buffer = torch.full(((rows + 1) * self.ld + 64,), float('nan'), dtype=dtype, device=DEVICE)
        self.v = self.buffer.as_strided((rows, C), (self.ld, 1), 0)
        if data is not None: self.v.copy_(data)
        self.size = (rows, C)
    def whole(self):
        outside = self.buffer.clone()
        outside.as_strided(self.size, (self.ld, 1), 0).fill_(float('nan'))
        return bool(outside.isnan().all())
    def data_ptr(self): return self.buffer.data_ptr()

def launch(name, grid, block, *values):
    backend.launch(name, grid, block, *[v.buffer if isinstance(v, M) else v for v in values])
    sync()

def rnd(*shape, scale=1.0): return (torch.randn(*shape, device=DEVICE) * scale).to(B16)
def rel(a, b):
    a, b = a.to(F64), b.to(F64)
    return float((a - b).norm() / (b.norm() + 1e-30))
def judge(name, got, ref, plain=None, bound=None):
    """Against a float64 reference: at most 1.5 times the error of torch in bf16, or the bound."""
    err = rel(got, ref)
    limit = bound if bound is not None else 1.5 * max(rel(plain, ref), 1.4e-3)  # a single rounding stays below 2^-9
    check(name, math.isfinite(err) and err <= limit, f'error {err:.2e} limit {limit:.2e}')
