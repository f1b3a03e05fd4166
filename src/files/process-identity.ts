/**
 * Which process wrote something, and whether it still lives. A pid alone does not say: it counts within one PID
 * namespace (containers have their own), and is given again after a reboot.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname, uptime } from 'node:os';

/** A process, in terms that hold across containers, hosts and reboots. */
export interface ProcessIdentity {
  readonly host: string;
  readonly pid: number;
  /**
   * What `pid` counts in. Linux: boot of the kernel, PID namespace, time namespace. macOS and Windows, which have no
   * such namespaces: the system and the host name. Missing where it cannot be known, as in some sandboxes.
   */
  readonly space?: string | undefined;
  /** Start of the host in seconds since 1970, where `space` does not name the boot. Clocks are set: a minute's doubt. */
  readonly bootTime?: number | undefined;
  /** Start of the process in clock ticks since the boot. Linux alone. */
  readonly started?: number | undefined;
}

/** `unknown`: only signs of life can say. */
type Life = 'alive' | 'dead' | 'unknown';

const BOOT_TOLERANCE_SECONDS = 60;

let own: ProcessIdentity | undefined;

/** Of this process. Its threads have the same. */
export function ownIdentity(): ProcessIdentity {
  own ??= { host: hostname(), pid: process.pid, ...(process.platform === 'linux' ? linuxSpace() : otherSpace()) };
  return own;
}

/** A short digest of `space`, for names of files. */
export function spaceMark({ space }: ProcessIdentity): string {
  return createHash('sha256')
    .update(space ?? '')
    .digest('hex')
    .slice(0, 8);
}

/** Whether a process lives, as far as it can be known from here at once. */
export function lifeOf(process: ProcessIdentity): Life {
  const here = ownIdentity();
  if (process.space === undefined || process.space !== here.space) return 'unknown';
  if (here.bootTime !== undefined) {
    // Not the same boot, or another host of the same name.
    if (!(Math.abs((process.bootTime ?? 0) - here.bootTime) < BOOT_TOLERANCE_SECONDS)) return 'unknown';
  }
  return lifeOfPid(process.pid, process.started);
}

/** `lifeOf` for a pid of this process's own `space`. */
export function lifeOfPid(pid: number, started: number | undefined): Life {
  const found = process.platform === 'linux' ? linuxProcess(pid) : undefined;
  if (found) {
    // A zombie has ended: only its parent has not asked for its exit status, as in containers without an init.
    if (found.state === 'Z' || found.state === 'X') return 'dead';
    if (started === undefined) return 'unknown';
    return found.started === started ? 'alive' : 'dead';
  }
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'dead';
  }
  // Some process has this pid, perhaps another one.
  return 'unknown';
}

function linuxSpace(): Pick<ProcessIdentity, 'space' | 'started'> {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const pids = readlinkSync('/proc/self/ns/pid');
    // Start times are shown with the offset of the reader's time namespace. Kernels before 5.6 have none.
    let times = '';
    try {
      times = readlinkSync('/proc/self/ns/time');
    } catch {}
    return { space: `${boot}/${pids}/${times}`, started: linuxProcess(process.pid)?.started };
  } catch {
    return {};
  }
}

function otherSpace(): Pick<ProcessIdentity, 'space' | 'bootTime'> {
  return { space: `${process.platform}/${hostname()}`, bootTime: Math.round(Date.now() / 1000 - uptime()) };
}

/** State and start from /proc; undefined where /proc hides it, or is that of another PID namespace. */
function linuxProcess(pid: number): { state: string; started: number } | undefined {
  try {
    // `unshare --pid` without a /proc of its own: the pids there are those of the namespace above.
    if (Number.parseInt(readFileSync('/proc/self/stat', 'utf8'), 10) !== process.pid) return undefined;
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name, in parentheses, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const started = Number(fields[19]);
    return Number.isInteger(started) ? { state: fields[0]!, started } : undefined;
  } catch {
    return undefined;
  }
}
