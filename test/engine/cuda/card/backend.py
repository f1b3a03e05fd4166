"""Runs the kernels: on the GPU through CuPy's NVRTC, or emulated on the CPU (EMULATE=1, needs g++)."""
import ctypes, os, re, subprocess, tempfile
import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
KERNELS = os.path.join(HERE, '../../../../src/engine/cuda/kernels')
BUILD = os.path.join(tempfile.gettempdir(), 'emulated-kernels')
FILES = 'normalization rotary activation convert quantization widening rows dropout lora lora-gradient lora-backward gated-backward cross-entropy optimizer generation'.split()
EMULATED = os.environ.get('EMULATE') == '1' or not torch.cuda.is_available()
DEVICE = 'cpu' if EMULATED else 'cuda'
LETTERS = {'int': 'i', 'u32': 'u', 'i64': 'l', 'float': 'f'}
CTYPES = {'p': ctypes.c_uint64, 'i': ctypes.c_int32, 'u': ctypes.c_uint32, 'l': ctypes.c_int64, 'f': ctypes.c_float}
NUMPY = {'p': np.uint64, 'i': np.int32, 'u': np.uint32, 'l': np.int64, 'f': np.float32}

def text(name):
    return open(os.path.join(HERE if name.startswith('emulation/') else KERNELS, name)).read()

def parameters(source):
    """name -> list of C types, as written in the .cu file; a macro makes a kernel for each width."""
    found = {}
    source = source.replace('\\\n', ' ')
    for macro, argument, name, inside in re.findall(r'(?:#define (\w+)\((\w+)\)\s*)?KERNEL\s+__launch_bounds__\([^)]*\)\s+([\w#]+)\(([^)]*)\)\s*{', source):
        types = [re.sub(r'\s*\w+$', '', ' '.join(p.split())) for p in inside.split(',')]
        widths = re.findall(rf'^{macro}\((\d+)\)', source, re.M) if macro else []
        for each in [name.replace('##' + argument, width) for width in widths] or [name]: found[each] = types
    return found

def letters(types):
    return ''.join('p' if '*' in t else LETTERS[t] for t in types)

SOURCES = {f: text(f + '.cu') for f in FILES}

def helpers(source):
    """Texts that are put between common.cu and a source, as its first line says."""
    line = re.match(r'// Prepended: (.*)', source)
    return ''.join(text(name) for name in line[1].split(', ') if name != 'common.cu') if line else ''

TYPES = {f: parameters(SOURCES[f]) for f in FILES}
FILE_OF = {name: f for f in FILES for name in TYPES[f]}
SIGNATURES = {name: letters(types) for f in FILES for name, types in TYPES[f].items()}

def build_emulated(file):
    common = text('common.cu')
    head, rest = common.split('// PTX begin', 1)
    common = head + text('emulation/emulated-ptx.h') + rest.split('// PTX end', 1)[1]
    wrappers = ''
    for name, types in TYPES[file].items():
        arguments = ', '.join(f'*({t}*)a[{i}]' for i, t in enumerate(types))
        wrappers += f'extern "C" void launch_{name}(unsigned x, unsigned y, unsigned z, unsigned block, void** a) {{ gridDim = {{x, y, z}}; blockDim = {{block, 1, 1}}; body = [=] {{ {name}({arguments}); }}; for (unsigned k = 0; k < z; k++) for (unsigned j = 0; j < y; j++) for (unsigned i = 0; i < x; i++) {{ blockIdx = {{i, j, k}}; run_block(block); }} }}\n'
    source = text('emulation/fibers.h') + text('emulation/emulator.h') + common + helpers(SOURCES[file]) + SOURCES[file] + text('emulation/run-block.h') + wrappers
    os.makedirs(BUILD, exist_ok=True)
    path = f'{BUILD}/{file}'
    open(path + '.cpp', 'w').write(source)
    subprocess.run(['g++', '-std=c++17', '-O1', '-w', '-shared', '-fPIC', '-ffp-contract=off', '-o', path + '.so', path + '.cpp'], check=True)
    return ctypes.CDLL(path + '.so')

_modules, _functions = {}, {}
def function(name):
    if name not in _functions:
        file = FILE_OF[name]
        if file not in _modules:
            if EMULATED: _modules[file] = build_emulated(file)
            else:
                import cupy
                _modules[file] = cupy.RawModule(code=text('common.cu') + helpers(SOURCES[file]) + SOURCES[file], options=('--std=c++17', '--use_fast_math'), backend='nvrtc')
        _functions[name] = getattr(_modules[file], 'launch_' + name) if EMULATED else _modules[file].get_function(name)
    return _functions[name]

def launch(name, grid, block, *values):
    signature = SIGNATURES[name]
    assert len(values) == len(signature), (name, len(values), len(signature))
    grid = tuple(grid) + (1,) * (3 - len(grid))
    plain = [(v.data_ptr() if isinstance(v, torch.Tensor) else v or 0) if s == 'p' else v for s, v in zip(signature, values)]
    if EMULATED:
        held = [CTYPES[s](v) for s, v in zip(signature, plain)]
        pointers = (ctypes.c_void_p * len(held))(*[ctypes.addressof(h) for h in held])
        function(name)(*[ctypes.c_uint(int(g)) for g in grid], ctypes.c_uint(block), pointers)
    else:
        function(name)(grid, (block,), tuple(NUMPY[s](v) for s, v in zip(signature, plain)))

def sync():
    if not EMULATED: torch.cuda.synchronize()
