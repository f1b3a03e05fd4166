/** Untrusted files: whatever lies at a path, opening it does not block, and no more than expected is read. */
import { constants } from 'node:fs';
import { access, type FileHandle, open } from 'node:fs/promises';

/**
 * Opens a file for reading, through symbolic links. A pipe, a device or a folder is refused: reading one may never end.
 * @throws Error with the reason; the caller knows what the file was to be
 */
export async function openRegularFile(path: string): Promise<{ file: FileHandle; size: number }> {
  // Without O_NONBLOCK the call itself waits until somebody writes into a pipe. Windows has neither.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const entry = await file.stat();
    if (entry.isFile()) return { file, size: entry.size };
    throw new Error(entry.isDirectory() ? 'a folder, not a file' : 'not a regular file');
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * The bytes of a file of at most `maxBytes`.
 * @throws Error as {@link openRegularFile}, or if there are more
 */
export async function readRegularFile(path: string, maxBytes: number): Promise<Buffer> {
  const { file, size } = await openRegularFile(path);
  try {
    if (size > maxBytes) throw new Error(`it has ${size} bytes, at most ${maxBytes} are read`);
    const bytes = Buffer.allocUnsafeSlow(size);
    let done = 0;
    while (done < size) {
      const { bytesRead } = await file.read(bytes, done, size - done, done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  } finally {
    await file.close();
  }
}

/** Whether anything exists at a path, links followed. */
export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
