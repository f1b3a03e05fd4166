"""Kernels that quantise frozen weights to NF4 and e4m3, and widen them again."""
import torch
from backend import DEVICE
from dynamic_maps import dynamic_map
from kernel_checks import B16, F32, F64, I32, M, cdiv, check, grid2, launch, rnd, up

VALUES = torch.tensor([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], device=DEVICE)
MIDPOINTS = torch.tensor([-0.8480964004993439, -0.6106329262256622, -0.4599952697753906, -0.33967943489551544, -0.23460740596055984, -0.13791173323988914, -0.045525018125772476, 0.03979014977812767, 0.1202552504837513, 0.2035212516784668, 0.2920137718319893, 0.3893125355243683, 0.5016634166240692, 0.6427869200706482, 0.8614784181118011], device=DEVICE)
DTYPES = (F32, B16, torch.float16)
bytes_of = lambda n, value=0: torch.full((n,), value, dtype=torch.uint8, device=DEVICE)

def nf4(x, size):
    """Codes and absmax of a flat array, as bitsandbytes makes them."""
    blocks = cdiv(x.numel(), size)
    padded = torch.zeros(blocks * size, device=DEVICE); padded[:x.numel()] = x.float()
    absmax = padded.reshape(blocks, size).abs().amax(1)
    scaled = padded.reshape(blocks, size) * (1 / absmax)[:, None]
    return (scaled[..., None] > MIDPOINTS).sum(-1).flatten()[:x.numel()], absmax

def test_nf4(rows, C, size, nested_size, kind):
    x = rnd(rows, C, scale=0.02).to(DTYPES[kind])
    n, blocks = rows * C, cdiv(rows * C, size)
    codes, absmax, flag = bytes_of(up(n, 16)), torch.full((blocks,), float('nan'), device=DEVICE), torch.zeros(1, dtype=I32, device=DEVICE)
    launch('nf4_quantize', (cdiv(blocks, 8),), 256, codes, absmax, x.contiguous(), n, kind, size, None, 0, C, 1, 1, 0, flag)
    want, want_absmax = nf4(x.flatten(), size)
    got = torch.stack((codes >> 4, codes & 15), 1).flatten()[:n]
    check(f'nf4 codes {rows}x{C} {size} {kind}', torch.equal(got.long(), want) and torch.equal(absmax, want_absmax))
    check('nf4 flag', int(flag[0]) == 0)
    table = torch.zeros(260, device=DEVICE)
    absmax_codes, nested = None, absmax
    if nested_size:
        values, middle = (t.to(DEVICE) for t in dynamic_map(True))
        table[:256] = values
        absmax_codes, nested = bytes_of(up(blocks, 16)), torch.full((cdiv(blocks, nested_size),), float('nan'), device=DEVICE)
        launch('absmax_mean', (1,), 1024, table[256:], absmax, blocks)
        offset = (absmax.double().sum() / blocks).float()
        check('absmax mean', torch.equal(table[256], offset))
        launch('absmax_quantize', (cdiv(nested.numel(), 8),), 256, absmax_codes, nested, absmax, table, middle, blocks, nested_size)
        centred = absmax - offset
        tops = torch.stack([part.abs().max() for part in centred.split(nested_size)])
        scaled = centred * (1 / tops).repeat_interleave(nested_size)[:blocks]
        check('nested absmax', torch.equal(nested, tops))
        check('absmax codes', torch.equal(absmax_codes[:blocks].long(), (scaled[:, None] > middle[:255]).sum(1)))
        absmax = values[absmax_codes[:blocks].long()] * tops.repeat_interleave(nested_size)[:blocks] + offset
    wide = (VALUES[want] * absmax.repeat_interleave(size)[:n]).to(B16).reshape(rows, C)
    b = rnd(rows, 32)
    for first, count, E, index in ((0, rows, 16, None), (rows // 2, rows - rows // 2, 0, None), (0, min(rows, 5), 0, torch.randint(rows, (min(rows, 5),), device=DEVICE, dtype=I32))):
        O = M(count, up(C, 8) + E, None, 16)
        units = cdiv(C, 16) + E // 16
        launch('widen_nf4', (cdiv(count * units, 256),), 256, O, codes, absmax_codes, nested, table, None, None, None, index, b if E else None, first, count, C, E, O.ld, 32, size.bit_length() - 1, max(1, nested_size).bit_length() - 1, rows, rows, rows, 0, 0, 0, 0)
        taken = torch.arange(count, device=DEVICE) if index is None else index.long()
        check(f'widened nf4 {rows}x{C} {E}', torch.equal(O.v[:, :C], wide[first + taken]) and bool((O.v[:, C:up(C, 8)] == 0).all()) and torch.equal(O.v[:, up(C, 8):], b[first + taken][:, :E]) and O.whole())

def test_e4m3(rows, C, kind):
    x = rnd(rows, C, scale=0.02).to(DTYPES[kind])
    x[rows // 2] = 0
    ldc = up(C, 16)
    codes, scales, flag = bytes_of(rows * ldc), torch.full((rows,), float('nan'), device=DEVICE), torch.zeros(1, dtype=I32, device=DEVICE)
    launch('e4m3_quantize', (rows,), 256, codes, scales, x.contiguous(), kind, C, ldc, flag)
    tops = x.float().abs().amax(1)
    want_scales = torch.where(tops > 0, tops / 448, torch.ones_like(tops))
    want = (x.float() / want_scales[:, None]).to(torch.float8_e4m3fn)
    check(f'e4m3 scales {rows}x{C} {kind}', torch.equal(scales, want_scales) and int(flag[0]) == 0)
    check('e4m3 codes', torch.equal(codes.reshape(rows, ldc)[:, :C], want.view(torch.uint8)))
    copy = bytes_of(rows * ldc)
    launch('e4m3_copy', grid2(rows, C), 128, copy, want.view(torch.uint8).contiguous(), rows, C, ldc, flag)
    check('e4m3 copy', torch.equal(copy, codes) and int(flag[0]) == 0)
    bad = want.view(torch.uint8).clone(); bad[-1, -1] = 0xff
    launch('e4m3_copy', grid2(rows, C), 128, copy, bad, rows, C, ldc, flag)
    check('e4m3 copy flag', int(flag[0]) == 1)
    spread = torch.full((rows,), float('nan'), device=DEVICE)
    halves = torch.rand(2, device=DEVICE) + 0.1
    launch('expand_scales', (cdiv(rows, 256),), 256, spread, halves, rows, cdiv(rows, 2))
    check('expanded scales', torch.equal(spread, halves.repeat_interleave(cdiv(rows, 2))[:rows]))
    b = rnd(rows, 16)
    for height, width in ((1, C), (cdiv(rows, 2), 16), (5, 7)):
        across = cdiv(C, width)
        factors = scales if width == C else torch.rand(cdiv(rows, height), across, device=DEVICE) + 0.1
        exact = want.float() * factors.reshape(-1, across).repeat_interleave(height, 0).repeat_interleave(width, 1)[:rows, :C]
        O = M(rows, up(C, 8) + 16, None, 8)
        four = lambda value, rest: (value, rest, rest, rest)
        launch('widen_e4m3', (cdiv(rows * (cdiv(C, 16) + 1), 256),), 256, O, codes, *four(factors, None), None, b, 0, rows, C, 16, O.ld, ldc, 16, rows, rows, rows, *four(height, 1), *four(width, 1), *four(across, 1))
        check(f'widened e4m3 {rows}x{C} {width}', torch.equal(O.v[:, :C], exact.to(B16)) and bool((O.v[:, C:up(C, 8)] == 0).all()) and torch.equal(O.v[:, up(C, 8):], b) and O.whole())
