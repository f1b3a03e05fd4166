/** Files that options name: texts, and JSON objects of options. */
import { readFile } from 'node:fs/promises';
import { ConfigError, reasonOf } from '../errors.js';
import { showValue } from '../messages/show-value.js';

/** @param what the command and the option, e.g. `plan: --config` @throws ConfigError */
export async function readConfigFile(file: string, what: string): Promise<Record<string, unknown>> {
  const text = await readTextOption(file, what);
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(`${what}: ${file} is not JSON: ${reasonOf(cause)}`, { details: { path: file }, cause });
  }
  if (typeof config === 'object' && config !== null && !Array.isArray(config)) return config as Record<string, unknown>;
  throw new ConfigError(`${what}: ${file} holds ${showValue(config)}, expected an object of options`, {
    details: { path: file },
  });
}

/** @throws ConfigError */
export async function readTextOption(file: string, what: string): Promise<string> {
  try {
    // Editors of other systems begin a file with a byte order mark.
    return (await readFile(file, 'utf8')).replace(/^\uFEFF/, '');
  } catch (cause) {
    throw new ConfigError(`${what}: ${file} cannot be read: ${reasonOf(cause)}`, { details: { path: file }, cause });
  }
}
