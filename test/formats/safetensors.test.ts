import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
  roundToDtype,
} from '../../src/formats/half-precision.js';
import {
  SafetensorsFile,
  ShardedCheckpoint,
  type TensorToWrite,
  writeSafetensors,
} from '../../src/formats/safetensors.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'safetensors-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** A file made by hand from header text and data. */
async function rawFile(header: string, dataBytes: number, length = Buffer.byteLength(header)): Promise<string> {
  const path = join(folder, 'raw.safetensors');
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(length));
  await writeFile(path, Buffer.concat([prefix, Buffer.from(header), Buffer.alloc(dataBytes, 1)]));
  return path;
}

const entry = (dtype: string, shape: unknown, from: number, to: number): string =>
  JSON.stringify({ dtype, shape, data_offsets: [from, to] });

describe('writeSafetensors and SafetensorsFile', () => {
  it('give back every dtype, shape and number', async () => {
    const path = join(folder, 'a.safetensors');
    const half = Float32Array.of(1.5, -2, 0, 65504);
    const tensors: TensorToWrite[] = [
      { name: 'bool', dtype: 'BOOL', shape: [3], data: Uint8Array.of(1, 0, 1) },
      { name: 'f32', dtype: 'F32', shape: [2, 3], data: Float32Array.of(1, 2, 3, -4, 5e-40, Infinity) },
      { name: 'f64', dtype: 'F64', shape: [1], data: Float64Array.of(Math.PI) },
      { name: 'bf16', dtype: 'BF16', shape: [4], data: float32ToBfloat16(half) },
      { name: 'f16', dtype: 'F16', shape: [2, 2], data: float32ToFloat16(half) },
      { name: 'i64', dtype: 'I64', shape: [], data: BigInt64Array.of(-(2n ** 60n)) },
      { name: 'i32', dtype: 'I32', shape: [2], data: Int32Array.of(-1, 2 ** 31 - 1) },
      { name: 'empty', dtype: 'F32', shape: [0, 7], data: new Float32Array() },
      { name: '__proto__', dtype: 'I8', shape: [1], data: Int8Array.of(-5) },
    ];
    await writeSafetensors(path, tensors, { format: 'pt', note: 'ünï' });
    const file = await SafetensorsFile.open(path);
    expect(file.metadata).toEqual({ format: 'pt', note: 'ünï' });
    expect(file.tensors.size).toBe(tensors.length);
    expect(await file.readArray('f32')).toEqual(Float32Array.of(1, 2, 3, -4, 5e-40, Infinity));
    expect(await file.readArray('f64')).toEqual(Float64Array.of(Math.PI));
    expect(await file.readFloat32('f64')).toEqual(Float32Array.of(Math.PI));
    expect(await file.readFloat32('bf16')).toEqual(Float32Array.of(1.5, -2, 0, 65536));
    expect(await file.readFloat32('f16')).toEqual(half);
    expect(await file.readArray('i64')).toEqual(BigInt64Array.of(-(2n ** 60n)));
    expect(await file.readArray('i32')).toEqual(Int32Array.of(-1, 2 ** 31 - 1));
    expect(await file.readArray('bool')).toEqual(Uint8Array.of(1, 0, 1));
    expect(await file.readArray('__proto__')).toEqual(Int8Array.of(-5));
    expect(file.info('empty').shape).toEqual([0, 7]);
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
    // The official layout: the data starts at a multiple of eight, wide elements come first.
    const headerLength = Number((await readFile(path)).readBigUInt64LE());
    expect(headerLength % 8).toBe(0);
    expect([...file.tensors.keys()].slice(0, 2)).toEqual(['f64', 'i64']);
    await file.close();
    await file.close();
  });

  it('reads parts of a tensor into ordinary and shared memory', async () => {
    const path = join(folder, 'a.safetensors');
    const data = Float32Array.from({ length: 1000 }, (_, i) => i);
    await writeSafetensors(path, [
      { name: 'other', dtype: 'F32', shape: [3], data: Float32Array.of(7, 8, 9) },
      { name: 'w', dtype: 'F32', shape: [10, 100], data },
    ]);
    const file = await SafetensorsFile.open(path);
    const source = file.source('w');
    expect(source).toMatchObject({ name: 'w', shape: [10, 100], dtype: 'f32', byteLength: 4000 });
    const shared = new Float32Array(new SharedArrayBuffer(4096), 16, 100);
    await source.read(new Uint8Array(shared.buffer, 16, 400), 1200);
    expect([...shared]).toEqual([...data.subarray(300, 400)]);
    const whole = new Float32Array(1000);
    await source.read(new Uint8Array(whole.buffer));
    expect(whole).toEqual(data);
    await expect(source.read(new Uint8Array(8), 3996)).rejects.toThrow(/has 4000 bytes, bytes 3996 to 4004/);
    await expect(source.read(new Uint8Array(8), -4)).rejects.toThrow(CheckpointError);
    await file.close();
  });

  it('names the nearest tensor, and refuses formats that no engine holds', async () => {
    const path = join(folder, 'a.safetensors');
    await writeSafetensors(path, [
      { name: 'layer.weight', dtype: 'F8_E4M3', shape: [4], data: new Uint8Array(4) },
      { name: 'ids', dtype: 'I32', shape: [1], data: Int32Array.of(3) },
    ]);
    const file = await SafetensorsFile.open(path);
    expect(() => file.source('layer.weights')).toThrow(/nearest name is "layer.weight"/);
    expect(() => file.source('layer.weight')).toThrow(/"layer.weight" is stored as F8_E4M3[\s\S]*-BF16/);
    await expect(file.readFloat32('ids')).rejects.toThrow(/stored as I32/);
    await file.close();
  });

  it('streams chunks, and leaves nothing behind when they fail or do not fit', async () => {
    const path = join(folder, 'a.safetensors');
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      yield Uint8Array.of(1, 2, 3);
      yield new Uint8Array();
      yield Uint8Array.of(4);
    };
    await writeSafetensors(path, [{ name: 'w', dtype: 'U8', shape: [4], chunks }]);
    const before = await readFile(path);
    expect([...before.subarray(-4)]).toEqual([1, 2, 3, 4]);
    for (const shape of [[3], [5]]) {
      await expect(writeSafetensors(path, [{ name: 'w', dtype: 'U8', shape, chunks }])).rejects.toThrow(/"w" .* takes/);
    }
    const failing = function* (): Generator<Uint8Array> {
      yield Uint8Array.of(1);
      throw new Error('disk gone');
    };
    await expect(writeSafetensors(path, [{ name: 'w', dtype: 'U8', shape: [4], chunks: failing }])).rejects.toThrow(
      'disk gone',
    );
    expect(await readdir(folder)).toEqual(['a.safetensors']);
    expect(await readFile(path)).toEqual(before);
  });

  it('refuses repeated names and shapes that cannot be stored', async () => {
    const path = join(folder, 'a.safetensors');
    const w: TensorToWrite = { name: 'w', dtype: 'U8', shape: [1], data: Uint8Array.of(1) };
    await expect(writeSafetensors(path, [w, w])).rejects.toThrow(/"w" is given twice/);
    await expect(writeSafetensors(path, [{ ...w, name: '__metadata__' }])).rejects.toThrow(/reserved/);
    await expect(writeSafetensors(path, [{ ...w, shape: [1.5] }])).rejects.toThrow(/cannot be stored/);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('SafetensorsFile.open', () => {
  const cases: [string, string, number, RegExp][] = [
    ['broken JSON', '{"a":', 4, /bad safetensors header: expected an object/],
    ['a list', '[]', 0, /expected an object, found "\["/],
    ['an unknown dtype', `{"a":${entry('F33', [1], 0, 4)}}`, 4, /"a": unknown dtype "F33"/],
    ['a dtype from the prototype', `{"a":${entry('constructor', [1], 0, 4)}}`, 4, /unknown dtype/],
    [
      'a negative extent',
      `{"a":${entry('F32', [-1], 0, 4)}}`,
      4,
      /expected the shape of "a" to be a list of whole numbers, found "-"/,
    ],
    ['an extent that is no number', `{"a":${entry('F32', ['1'], 0, 4)}}`, 4, /the shape of "a"/],
    ['a product beyond all numbers', `{"a":${entry('F32', [2 ** 40, 2 ** 40], 0, 4)}}`, 4, /too large/],
    ['reversed offsets', `{"a":${entry('F32', [1], 4, 0)}}`, 4, /bad data_offsets \[4,0\]/],
    ['a range of the wrong size', `{"a":${entry('F32', [2], 0, 4)}}`, 4, /takes 8 bytes, data_offsets give 4/],
    [
      'an overlap',
      `{"a":${entry('F32', [2], 0, 8)},"b":${entry('F32', [1], 4, 8)}}`,
      8,
      /"b" starts at byte 4, inside/,
    ],
    ['a hole', `{"a":${entry('F32', [1], 0, 4)},"b":${entry('F32', [1], 8, 12)}}`, 12, /bytes 4 to 8, before "b"/],
    ['data after the last tensor', `{"a":${entry('F32', [1], 0, 4)}}`, 5, /take 4 bytes, the file holds 5/],
    ['a file that was cut off', `{"a":${entry('F32', [4], 0, 16)}}`, 12, /take 16 bytes, the file holds 12/],
    ['odd bits', `{"a":${entry('F4', [3], 0, 1)}}`, 1, /not a whole number of bytes/],
    ['metadata that is no text', '{"__metadata__":{"a":1}}', 0, /__metadata__/],
    [
      'a name that comes twice, once escaped',
      `{"a":${entry('F32', [1], 0, 4)}, "\\u0061" \n:${entry('F32', [1], 0, 4)}}`,
      4,
      /the name "a" comes more than once/,
    ],
  ];
  it.each(cases)('refuses %s', async (_, header, dataBytes, message) => {
    const error = await SafetensorsFile.open(await rawFile(header, dataBytes)).catch((caught) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(message);
  });

  it('lists every fault at once', async () => {
    const header = `{"a":${entry('F33', [1], 0, 4)},"b":${entry('F32', [2], 0, 4)}}`;
    await expect(SafetensorsFile.open(await rawFile(header, 4))).rejects.toThrow(/"a"[\s\S]*"b"/);
  });

  it('does not take nested or quoted text for repeated names', async () => {
    const header = `{"__metadata__":{"a":"\\"a\\": {[","dtype":"x"},"a":${entry('U8', [1], 0, 1)}}   `;
    const file = await SafetensorsFile.open(await rawFile(header, 1));
    expect([...file.tensors.keys()]).toEqual(['a']);
    expect(file.metadata.a).toBe('"a": {[');
    await file.close();
  });

  it('refuses files that are too short, missing, or promise too long a header', async () => {
    const short = join(folder, 'short');
    await writeFile(short, 'abc');
    await expect(SafetensorsFile.open(short)).rejects.toThrow(/3 bytes are too few/);
    await expect(SafetensorsFile.open(join(folder, 'none'))).rejects.toThrow(/cannot open .*none/);
    await expect(SafetensorsFile.open(await rawFile('{}', 0, 50))).rejects.toThrow(/header would take 50 bytes/);
    await expect(SafetensorsFile.open(await rawFile('{}', 0, 2 ** 52))).rejects.toThrow(/header would take/);
  });

  it('notices a file that shrinks while it is open', async () => {
    const path = join(folder, 'a.safetensors');
    await writeSafetensors(path, [{ name: 'w', dtype: 'U8', shape: [100], data: new Uint8Array(100) }]);
    const file = await SafetensorsFile.open(path);
    await truncate(path, 120);
    await expect(file.readArray('w')).rejects.toThrow(/ends at byte 120, inside a tensor/);
    await file.close();
  });
});

describe('hostile safetensors files', () => {
  const raw = async (header: string, dataBytes = 0, length?: bigint): Promise<string> => {
    const path = await rawFile(header, dataBytes);
    if (length === undefined) return path;
    const bytes = await readFile(path);
    bytes.writeBigUInt64LE(length);
    await writeFile(path, bytes);
    return path;
  };
  const a = entry('U8', [1], 0, 1);

  it.each([0n, 1n, 7n, 100_000_001n, 2n ** 31n, 2n ** 32n + 2n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])(
    'are refused for a header of %i bytes',
    async (length) => {
      await expect(SafetensorsFile.open(await raw(`{"a":${a}}`, 1, length))).rejects.toThrow(CheckpointError);
    },
  );

  it.each<[string, string, RegExp]>([
    [
      'a part that comes twice',
      '{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
      /"a" has "dtype" again/,
    ],
    ['a part that is missing', '{"a":{"dtype":"U8","shape":[1]}}', /"a" lacks one of/],
    ['an unknown part that is no JSON', `{"a":{"x":tru,${a.slice(1)}}`, /expected a JSON value, found "t"/],
    ['an unknown part that does not end', `{"a":{"x":[1,${a.slice(1)}}`, /expected a comma or the end of a value/],
    ['an unknown part with a name without a value', `{"a":{"x":{"y"},${a.slice(1)}}`, /expected a colon/],
    ['an unknown part with a trailing comma', `{"a":{"x":[1,],${a.slice(1)}}`, /expected a JSON value, found "\]"/],
    ['an unknown part that nests', `{"a":{"x":${'['.repeat(129)}`, /nests more than 128 levels/],
    ['metadata that comes twice', '{"__metadata__":{},"__metadata__":{}}', /"__metadata__" comes more than once/],
    ['a key of metadata that comes twice', '{"__metadata__":{"a":"","a":""}}', /key "a" of __metadata__ comes more/],
    ['NaN', '{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,1]}}', /whole numbers, found "N"/],
    ['a fraction', '{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', /whole numbers, found "\."/],
    ['an exponent', '{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}', /whole numbers, found "e"/],
    [
      'a number beyond all numbers',
      `{"a":${entry('U8', [1], 0, 1).replace('[1]', `[${'9'.repeat(400)}]`)}}`,
      /whole numbers/,
    ],
    ['a hundred dimensions', `{"a":${entry('U8', Array(100).fill(1), 0, 1)}}`, /at most 64 numbers/],
    ['two headers', `{"a":${a}}{}`, /expected nothing after the object/],
    ['a control character', '{"a\n":1}', /control character/],
    ['a lone surrogate', `{"\\ud800":${a.replace('U8', 'U9')}}`, /unknown dtype "U9"/],
    ['three offsets', `{"a":${a.replace('[0,1]', '[0,1,1]')}}`, /bad data_offsets \[0,1,1\]/],
    ['a zero beside what overflows', `{"a":${entry('F64', [2 ** 52, 2 ** 52, 0], 0, 1)}}`, /takes 0 bytes/],
  ])('are refused for %s', async (_, header, message) => {
    const error = await SafetensorsFile.open(await raw(header, 1)).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
  });

  it.each<[string, string]>([
    ['brackets', `{"a":${'['.repeat(4_000_000)}`],
    ['objects', `{${'"a":{},'.repeat(500_000)}"a":{}}`],
    ['numbers', `{"a":{"shape":[${'1,'.repeat(2_000_000)}1]}}`],
    ['unknown keys', `{"a":{${'"x":[1,{}],'.repeat(300_000)}"y":1}}`],
    ['names', `{"${'a'.repeat(4_000_000)}":{"dtype":"U9","shape":[],"data_offsets":[0,0]}}`],
    ['white space', ' '.repeat(4_000_000)],
    ['faults', `{${Array.from({ length: 60_000 }, (_, i) => `"t${i}":${entry('U9', [], 0, 0)}`).join()}}`],
    ['tensors', `{${Array.from({ length: 140_000 }, (_, i) => `"${i}":${entry('U8', [0], 0, 0)}`).join()}}`],
  ])(
    'with megabytes of %s in the header are refused in bounded time and memory',
    { timeout: 15_000 },
    async (_, header) => {
      const path = await raw(header);
      const before = process.memoryUsage();
      const error = await SafetensorsFile.open(path).catch((caught: unknown) => caught);
      const after = process.memoryUsage();
      expect(error).toBeInstanceOf(CheckpointError);
      expect((error as Error).message.length).toBeLessThan(5000);
      expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(
        2 * header.length + 60e6,
      );
    },
  );

  it.each([
    '1',
    '-0.5e+3',
    '"text \\" {"',
    'null',
    'true',
    '[]',
    '{}',
    '[1,[2,{"a":[]}],"x"]',
    '{"a":{"dtype":"F32"},"b":[{}]}',
    `${'['.repeat(128)}${']'.repeat(128)}`,
  ])('with unknown keys of value %s are read, as the official reader does', async (value) => {
    for (const header of [
      `{"a":{"x":${value},${a.slice(1)}}`,
      `{"a":{"__proto__" : ${value} ,"x":1,"x":2,${a.slice(1)}}`,
    ]) {
      const file = await SafetensorsFile.open(await raw(header, 1));
      expect([...file.tensors]).toEqual([['a', { name: 'a', dtype: 'U8', shape: [1], byteLength: 1, dataOffset: 0 }]]);
      await file.close();
    }
  });

  it('with metadata of null have none', async () => {
    const file = await SafetensorsFile.open(await raw(`{"__metadata__": null ,"a":${a}}`, 1));
    expect([file.metadata, file.tensors.size]).toEqual([{}, 1]);
    await file.close();
    await expect(SafetensorsFile.open(await raw(`{"__metadata__":nul,"a":${a}}`, 1))).rejects.toThrow(/an object/);
  });

  it('that are pipes are not waited for', async () => {
    const path = join(folder, 'model.safetensors');
    execFileSync('mkfifo', [path]);
    await expect(SafetensorsFile.open(path)).rejects.toThrow(/cannot open .*: not a regular file/);
    await expect(ShardedCheckpoint.open(folder)).rejects.toThrow(CheckpointError);
  });
});

describe('ShardedCheckpoint', () => {
  const tensor = (name: string, value: number): TensorToWrite => ({
    name,
    dtype: 'F32',
    shape: [1],
    data: Float32Array.of(value),
  });
  const writeIndex = (map: Record<string, unknown>): Promise<void> =>
    writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));

  it('opens one file or its shards', async () => {
    await writeSafetensors(join(folder, 's-1.safetensors'), [tensor('a', 1)]);
    await writeSafetensors(join(folder, 's-2.safetensors'), [tensor('b', 2), tensor('c', 3)]);
    await writeIndex({ a: 's-1.safetensors', b: 's-2.safetensors', c: 's-2.safetensors' });
    const sharded = await ShardedCheckpoint.open(folder);
    expect([...sharded.tensors.keys()].sort()).toEqual(['a', 'b', 'c']);
    expect(await sharded.readFloat32('c')).toEqual(Float32Array.of(3));
    expect(sharded.source('b').byteLength).toBe(4);
    expect(() => sharded.source('d')).toThrow(/no tensor "d"/);
    await sharded.close();

    await mkdir(join(folder, 'single'));
    await writeSafetensors(join(folder, 'single', 'model.safetensors'), [tensor('a', 4)]);
    const single = await ShardedCheckpoint.open(join(folder, 'single'));
    expect(await single.readFloat32('a')).toEqual(Float32Array.of(4));
    expect(single.indexFile).toBeUndefined();
    await single.close();
  });

  it('lists missing shards, missing tensors and tensors in two shards at once', async () => {
    await writeSafetensors(join(folder, 's-1.safetensors'), [tensor('a', 1)]);
    await writeSafetensors(join(folder, 's-2.safetensors'), [tensor('a', 1)]);
    await writeIndex({ a: 's-1.safetensors', b: 's-2.safetensors', c: 's-3.safetensors' });
    const error = await ShardedCheckpoint.open(folder).catch((caught) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.details.faults).toHaveLength(3);
    expect(error.message).toMatch(/shard s-3[\s\S]*"b" is not in s-2[\s\S]*"a" is both in s-1.* and in s-2/);
  });

  it('refuses an index that leads out of the folder, and a folder without weights', async () => {
    await expect(ShardedCheckpoint.open(folder)).rejects.toThrow(/holds neither/);
    for (const file of ['../x.safetensors', '/x', 'a\\b', 3, '..']) {
      await writeIndex({ a: file });
      await expect(ShardedCheckpoint.open(folder)).rejects.toThrow(/weight_map/);
    }
  });
});

describe('hostile folders of shards', () => {
  const index = (content: unknown): Promise<void> =>
    writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify(content));
  const shard = (path: string): Promise<void> =>
    writeSafetensors(path, [{ name: 'a', dtype: 'U8', shape: [1], data: Uint8Array.of(9) }]);

  it.each([
    ['a path with a NUL', { weight_map: { a: 'x\0.safetensors' } }],
    ['a hidden file', { weight_map: { a: '.secret' } }],
    ['a path of Windows', { weight_map: { a: '..\\x.safetensors' } }],
    ['a list for a map', { weight_map: [] }],
    ['objects for names', { weight_map: { a: {} } }],
    [
      'more files than any checkpoint has',
      { weight_map: Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [i, `${i}.s`])) },
    ],
    ['nothing', null],
  ])('are refused for %s in the index', async (_, content) => {
    await index(content);
    const error = await ShardedCheckpoint.open(folder).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message.length).toBeLessThan(2000);
  });

  it('do not become an endless list of faults', async () => {
    await shard(join(folder, 's.safetensors'));
    await index({
      weight_map: Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`t${i}`, 's.safetensors'])),
    });
    await expect(ShardedCheckpoint.open(folder)).rejects.toThrow(/"t0" is not in[\s\S]*and 49980 more/);
  });

  it('in the layout of the Hub, links into a store of blobs, are no hostile ones', async () => {
    const [blobs, snapshot] = [join(folder, 'blobs'), join(folder, 'snapshots', 'main')];
    await mkdir(blobs);
    await mkdir(snapshot, { recursive: true });
    await shard(join(blobs, 'abc'));
    await writeFile(
      join(blobs, 'def'),
      JSON.stringify({ weight_map: { a: 'model-1.safetensors', __proto__x: 'model-1.safetensors' } }),
    );
    await symlink(join('..', '..', 'blobs', 'abc'), join(snapshot, 'model-1.safetensors'));
    await symlink(join('..', '..', 'blobs', 'def'), join(snapshot, 'model.safetensors.index.json'));
    await expect(ShardedCheckpoint.open(snapshot)).rejects.toThrow(/"__proto__x" is not in/);
    await rm(join(blobs, 'def'));
    await writeFile(join(blobs, 'def'), JSON.stringify({ weight_map: { a: 'model-1.safetensors' } }));
    const checkpoint = await ShardedCheckpoint.open(snapshot);
    expect([...checkpoint.tensors.keys()]).toEqual(['a']);
    await checkpoint.close();
  });
});

describe('half precision', () => {
  it('widens and narrows all 65536 patterns to themselves', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const check = (widen: typeof bfloat16ToFloat32, narrow: typeof float32ToBfloat16): void => {
      const wide = widen(all);
      const back = narrow(wide);
      const wrong = all.filter((pattern, i) => !Number.isNaN(wide[i]) && back[i] !== pattern);
      expect([...wrong]).toEqual([]);
      expect(widen(back).filter(Number.isNaN).length).toBe(wide.filter(Number.isNaN).length);
    };
    check(bfloat16ToFloat32, float32ToBfloat16);
    check(float16ToFloat32, float32ToFloat16);
  });

  it('widens known float16 patterns', () => {
    const patterns = Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x7c00, 0x8000);
    const numbers = [1, -2, 65504, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, Infinity, -0];
    expect([...float16ToFloat32(patterns)]).toEqual(numbers);
  });

  it('rounds to the nearest neighbour, ties to even', () => {
    const oracle = (value: number, wide: Float32Array, patterns: Uint16Array): number => {
      // The two representable neighbours by search over all finite numbers, in increasing order.
      let low = 0;
      let high = wide.length - 1;
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (wide[middle]! <= value) low = middle;
        else high = middle;
      }
      const [down, up] = [value - wide[low]!, wide[high]! - value];
      if (down === up) return (patterns[low]! & 1) === 0 ? low : high;
      return down < up ? low : high;
    };
    const formats = [
      { widen: float16ToFloat32, narrow: float32ToFloat16, count: 0x7c00, top: 65504 },
      { widen: bfloat16ToFloat32, narrow: float32ToBfloat16, count: 0x7f80, top: 3e38 },
    ];
    for (const { widen, narrow, count, top } of formats) {
      const patterns = Uint16Array.from({ length: count }, (_, i) => i);
      const wide = widen(patterns);
      const near = fc.tuple(fc.nat(count - 2), fc.constantFrom(0.25, 0.5, 0.75, 0.4999999, 0.5000001));
      const between = near.map(([i, t]) => wide[i]! + (wide[i + 1]! - wide[i]!) * t);
      const value = fc.oneof(between, fc.float({ min: 0, max: Math.fround(top), noNaN: true }));
      fc.assert(
        fc.property(value, (number) => {
          const x = Math.fround(number);
          const expected = patterns[oracle(x, wide, patterns)]!;
          return narrow(Float32Array.of(x))[0] === expected && narrow(Float32Array.of(-x))[0] === (expected | 0x8000);
        }),
        { numRuns: 2000 },
      );
    }
  });

  it('overflows to infinity at the right number and keeps NaN', () => {
    const values = Float32Array.of(65519.996, 65520, -1e30, NaN);
    expect([...roundToDtype(values.slice(), 'f16')]).toEqual([65504, Infinity, -Infinity, NaN]);
    expect([...roundToDtype(Float32Array.of(3.4e38, NaN), 'bf16')]).toEqual([Infinity, NaN]);
    const quietless = new Float32Array(Uint32Array.of(0x7f800001, 0xff800001).buffer);
    expect([...bfloat16ToFloat32(float32ToBfloat16(quietless))]).toEqual([NaN, NaN]);
    expect([...float16ToFloat32(float32ToFloat16(quietless))]).toEqual([NaN, NaN]);
    expect(roundToDtype(values, 'f32')).toBe(values);
  });
});
