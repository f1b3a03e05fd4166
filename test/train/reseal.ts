/** Checkpoints that were changed by hand, with digests that fit: what is wrong must be found all the same. */
import { join } from 'node:path';
import { FileDigests, listFiles, writeManifest } from '../../src/files/file-digests.js';

/** Writes the digests of a checkpoint anew. */
export async function reseal(folder: string): Promise<void> {
  const digests = new FileDigests();
  const found = (await listFiles(folder)).map(
    async (name) => [name, await digests.digest(join(folder, name))] as const,
  );
  await writeManifest(folder, new Map(await Promise.all(found)));
}
