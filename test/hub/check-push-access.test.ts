import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError, HubError } from '../../src/errors.js';
import type { HubConnectionOptions } from '../../src/hub/hub-options.js';
import { checkPushAccess } from '../../src/hub/push-files.js';
import { HubServer } from '../servers/hub-server.js';

let server: HubServer;
beforeAll(async () => {
  server = await HubServer.start();
});
afterAll(() => server.close());
beforeEach(() => {
  server.reset();
  vi.stubEnv('HF_TOKEN', '');
  vi.stubEnv('HF_HOME', '/nowhere');
});
afterEach(() => vi.unstubAllEnvs());

const check = (id: string, options: HubConnectionOptions = {}): Promise<string> =>
  checkPushAccess(id, { endpoint: server.endpoint, token: 'hf_writer', retryDelayMs: 1, ...options });

describe('checkPushAccess', () => {
  it('gives the full name and makes nothing', async () => {
    expect(await check('user/bones')).toBe('user/bones');
    expect(await check('bones')).toBe('user/bones');
    expect(server.repos.size).toBe(0);
  });

  it('refuses a token that may only read, is unknown, or is missing, and bad names', async () => {
    await expect(check('user/bones', { token: 'hf_reader' })).rejects.toThrow(
      /user\/bones: the access token may only read/,
    );
    await expect(check('user/bones', { token: 'hf_other' })).rejects.toThrow(HubError);
    await expect(check('user/bones', { token: false })).rejects.toThrow(/an access token is needed/);
    await expect(check('a/b/c')).rejects.toThrow(ConfigError);
    await expect(check('user/bones', { tokn: 'x' } as HubConnectionOptions)).rejects.toThrow(/checkPushAccess.*tokn/s);
  });

  it('says so offline', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expect(check('user/bones')).rejects.toThrow(/HF_HUB_OFFLINE/);
  });
});
