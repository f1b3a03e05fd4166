/** Functions of node:fs/promises on a disk that fills up, for `vi.mock`. */
type Files = typeof import('node:fs/promises');

export interface Disk {
  /** Bytes that it takes before it is full. */
  room: number;
  /** Bytes that it says are free; infinite: what the real one says. */
  free: number;
}

function noSpace(): Error {
  return Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC', syscall: 'write' });
}

export function onDisk(disk: Disk, real: Files): Pick<Files, 'statfs' | 'open'> {
  const statfs = async (...path: Parameters<Files['statfs']>) =>
    disk.free === Number.POSITIVE_INFINITY ? real.statfs(...path) : { bavail: disk.free, bsize: 1 };
  const open = async (...given: Parameters<Files['open']>) => {
    const handle = await real.open(...given);
    const write = handle.write.bind(handle) as (...rest: unknown[]) => Promise<unknown>;
    handle.write = (async (chunk: Uint8Array, offset: number, length: number, position?: number) => {
      if (disk.room <= 0) throw noSpace();
      // A disk takes what still fits before it refuses.
      const fits = Math.min(length, disk.room);
      disk.room -= fits;
      return write(chunk, offset, fits, position);
    }) as never;
    const writeFile = handle.writeFile.bind(handle);
    handle.writeFile = (async (...rest: Parameters<typeof writeFile>) => {
      if (disk.room > 0) return writeFile(...rest);
      throw noSpace();
    }) as never;
    return handle;
  };
  return { statfs: statfs as Files['statfs'], open };
}
