"""The work lists and tile table of attention-work.ts, for the tests in Python."""
from typing import NamedTuple

import numpy as np

class Warpgroups(NamedTuple):
    """Settings of the warpgroup kernels; those of the others are plain tuples."""
    warps: int
    stream: int
    blocks: int
    group: int = 1
    registers: int = 1
    teams: int = 1
    stages: int = 2

# Of the warpgroup kernels, in the order of the settings.
MACROS = ('WARPS', 'STREAM_TILE', 'MIN_BLOCKS', 'GROUP', 'OWN_IN_REGISTERS', 'TEAMS', 'STAGES')

def tile_rows(config, kernel):
    """Query or key positions that a block owns."""
    if isinstance(config, Warpgroups):
        return 16 * config.warps // (1 if kernel == 'key' else config.group)
    return 16 * config[0] * config[1]

def head_split(config):
    """Teams of a block."""
    return config.teams if isinstance(config, Warpgroups) else config[4] if len(config) > 4 else 1

def row_bytes(head):
    return 2 * ((head + 15) // 16 * 16) + 16

def shared_bytes(kernel, config, head):
    if isinstance(config, Warpgroups):
        own, stream = 16 * config.warps, config.stream
        return {'forward': (own + 2 * config.stages * stream) * 2 * head, 'query': (own + config.stages * stream) * 4 * head,
                'key': own * 4 * head + config.teams * config.stages * stream * (4 * head + 8)}[kernel]
    own, stream, row = tile_rows(config, kernel), config[2], row_bytes(head)
    return {'forward': (own + 4 * stream) * row, 'query': (2 * own + 4 * stream) * row,
            'key': 2 * own * row + head_split(config) * (4 * row + 16) * stream, 'decode': config[0] * 4 * stream * row}[kernel]

def heaviest_first(items):
    items.sort(key=lambda i: -i[4])
    return np.array([i[:4] for i in items], np.int32).reshape(-1, 4)

def query_work(query_starts, key_starts, key_lengths, rows, causal):
    items = []
    for s in range(len(key_starts)):
        a, b, c, d = query_starts[s], query_starts[s + 1], key_starts[s], key_starts[s] + key_lengths[s]
        for first in range(a, b, rows):
            seen = min(d, min(first + rows, b) + d - b) if causal else d
            items.append((first, b, c, d, max(0, seen - c)))
    return heaviest_first(items)

def key_work(query_starts, key_starts, key_lengths, rows, causal):
    items = []
    for s in range(len(key_starts)):
        a, b, c, d = query_starts[s], query_starts[s + 1], key_starts[s], key_starts[s] + key_lengths[s]
        for first in range(c, d, rows):
            items.append((first, d, a, b, max(0, b - (max(a, first - (d - b)) if causal else a))))
    return heaviest_first(items)

def decode_work(query_starts, key_starts, key_lengths, kv_heads, causal, blocks, split_keys=64):
    wanted = max(1, blocks // max(1, int(query_starts[-1]) * kv_heads))
    items, shares, slots = [], [], 0
    for s in range(len(key_starts)):
        b, c, d = query_starts[s + 1], key_starts[s], key_starts[s] + key_lengths[s]
        for row in range(query_starts[s], b):
            end = max(c, d - (b - 1 - row) if causal else d)
            length = max(split_keys, split_keys * -(-(end - c) // (wanted * split_keys)))
            count = max(1, -(-(end - c) // length))
            first_slot = slots
            for i in range(count):
                first = c + i * length
                last = min(end, first + length)
                mark = 2**30 if last == d and last > first else 0
                items.append((row + mark, first, last, slots if count > 1 else -1, last - first))
                if count > 1:
                    shares.append((first_slot, count))
                slots += count > 1
    return heaviest_first(items), np.array(shares, np.int32).reshape(-1, 2), slots
