/** `push` with what its command line says. */
import { ConfigError } from '../errors.js';
import { checkPushAccess } from '../hub/push-files.js';
import type { PushFlags } from './command-flags.js';
import { isFolder } from './open-model.js';
import { pushAdapter } from './push-adapter.js';
import { untilStopped } from './until-stopped.js';
import type { Output } from './usage.js';

/** @returns the exit code */
export async function pushFromFlags(flags: PushFlags, output: Output): Promise<number> {
  const { dir, repo, private: isPrivate, message: commitMessage, baseModel } = flags;
  const work = async (signal: AbortSignal): Promise<number> => {
    if (!(await isFolder(dir))) throw new ConfigError(`push: there is no folder ${dir}`, { details: { path: dir } });
    const id = await checkPushAccess(repo, { signal });
    await pushAdapter(dir, id, { baseModel }, { isPrivate, commitMessage, signal, output });
    return 0;
  };
  return untilStopped(output, work, {
    stopping: 'stopping',
    stopped: () => 'stopped: called again, the upload goes on with what is missing',
  });
}
