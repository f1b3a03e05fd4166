/** What nvidia-smi shows while something runs. */
import { spawn } from 'node:child_process';

/** Peaks of nvidia-smi while `body` runs: sum of the processes, and growth of the card's used memory. */
export async function watchMemory<T>(body: () => Promise<T>): Promise<{ result: T; processes: number; card: number }> {
  const query = (what: string, onLine: (mebibytes: number) => void) => {
    const child = spawn('nvidia-smi', [`--query-${what}`, '--format=csv,noheader,nounits', '-lms', '50']);
    child.stdout.on('data', (data: Buffer) => {
      for (const line of data.toString().split('\n')) if (/^\d+$/.test(line.trim())) onLine(Number(line));
    });
    child.on('error', () => {});
    return child;
  };
  let [processes, first, card] = [0, -1, 0];
  const apps = query('compute-apps=used_memory', (value) => {
    processes = Math.max(processes, value);
  });
  const gpu = query('gpu=memory.used', (value) => {
    if (first < 0) first = value;
    card = Math.max(card, value - first);
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  const result = await body();
  for (const child of [apps, gpu]) child.kill();
  return { result, processes: processes * 2 ** 20, card: card * 2 ** 20 };
}
