import { expect, it, vi } from 'vitest';
import { failure, hubTestBed } from './hub-test-bed.js';

const bed = hubTestBed({ 'config.json': '{}' });

it('without network says soon what to do, and uses what the cache has', async () => {
  const cause = Object.assign(new Error('getaddrinfo EAI_AGAIN'), { code: 'EAI_AGAIN' });
  let requests = 0;
  const lost = () => {
    requests++;
    return Promise.reject(new TypeError('fetch failed', { cause }));
  };
  const endpoint = 'https://hub.invalid';
  vi.stubGlobal('fetch', lost);
  try {
    const error = await failure(bed.download({ endpoint }));
    expect(error.code).toBe('HUB');
    expect(error.summary).toContain('the host was not found; gave up after 3 attempts');
    expect(error.hint).toContain(
      `Without network only what was downloaded before is there, and the cache ${bed.cacheDir}`,
    );
    expect(error.hint).toContain('HF_HUB_OFFLINE=1');
    expect(requests).toBe(3);
  } finally {
    vi.unstubAllGlobals();
  }
  const folder = await bed.download();
  vi.stubGlobal('fetch', lost);
  try {
    expect(await bed.download({ endpoint })).toBe(folder);
    expect(bed.warnings.at(-1)).toMatch(/the host was not found.*the cached commit .* is used/);
  } finally {
    vi.unstubAllGlobals();
  }
});
