import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Crc } from '../../src/files/crc.js';
import { checkDigest, digestsDiffer, googleDigests } from '../../src/transfer/digests.js';

describe('Crc', () => {
  it('gives the published check values', () => {
    const digits = Buffer.from('123456789');
    expect(new Crc('crc32').update(digits).digest()).toBe('cbf43926');
    expect(new Crc('crc32c').update(digits).digest()).toBe('e3069283');
    expect(new Crc('crc32c').update(Buffer.alloc(32)).digest()).toBe('8a9136aa');
    expect(new Crc('crc32c').digest()).toBe('00000000');
  });

  it('agrees with zlib on any bytes in any pieces', () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 6 });
    fc.assert(
      fc.property(pieces, (arrays) => {
        const crc = new Crc('crc32');
        for (const bytes of arrays) crc.update(bytes);
        expect(crc.value).toBe(crc32(Buffer.concat(arrays)));
      }),
    );
  });
});

it('names contents as git does', async () => {
  const path = join(tmpdir(), `blob-${process.pid}`);
  await writeFile(path, 'test content\n');
  // From the chapter on objects in the Pro Git book.
  const check = await checkDigest(path, { gitSha1: 'd670460b4b4aece5915caf5c68d12f560a9fe3e4' });
  expect(check).toMatchObject({ name: 'gitSha1', received: 'd670460b4b4aece5915caf5c68d12f560a9fe3e4' });
  await writeFile(path, '');
  expect((await checkDigest(path, { gitSha1: '' }))?.received).toBe('e69de29bb2d1d6434b8b29ae775ad8c2e48c5391');
  await rm(path);
});

describe('digests of a file', () => {
  let dir: string;
  const content = randomBytes(3_000_000);
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'digests-'));
    await writeFile(join(dir, 'file'), content);
  });
  afterAll(() => rm(dir, { recursive: true }));

  it('checks the strongest one given', async () => {
    const sha256 = createHash('sha256').update(content).digest('hex');
    const md5 = createHash('md5').update(content).digest('hex');
    const crc32c = new Crc('crc32c').update(content).digest();
    const path = join(dir, 'file');
    expect(await checkDigest(path, { crc32c, md5: 'wrong', sha256 })).toEqual({
      name: 'sha256',
      expected: sha256,
      received: sha256,
    });
    expect(await checkDigest(path, { crc32c, md5, sha256: undefined })).toMatchObject({ name: 'md5', received: md5 });
    expect(await checkDigest(path, { crc32c: '00000000' })).toMatchObject({ expected: '00000000', received: crc32c });
    expect(await checkDigest(path, {})).toBeUndefined();
  });

  it('reads what Google Cloud Storage states', () => {
    const md5 = createHash('md5').update('x').digest();
    const read = (value?: string) => googleDigests(new Headers(value === undefined ? {} : { 'x-goog-hash': value }));
    expect(read(`crc32c=n03x6A==,md5=${md5.toString('base64')}`)).toEqual({
      crc32c: '9f4df1e8',
      md5: md5.toString('hex'),
    });
    expect(read(' crc32c=n03x6A== ')).toEqual({ crc32c: '9f4df1e8' });
    for (const value of [undefined, '', 'md5=', 'md5=n03x6A==', 'sha1=abc', 'md5=%%%', 'crc32c']) {
      expect(read(value)).toEqual({});
    }
  });

  it('compares what two sets have in common', () => {
    expect(digestsDiffer({ md5: 'a' }, { sha256: 'b' })).toBe(false);
    expect(digestsDiffer({ md5: 'a', crc32c: '1' }, { md5: 'a', crc32c: '2' })).toBe(true);
  });
});
