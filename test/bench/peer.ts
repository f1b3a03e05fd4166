/**
 * Runs the peer, a Python program that does the same work with transformers and peft on the same card, and reads what
 * it measured. Call it when our own run has given the card's memory back.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Options of the benchmarks that have a peer beside them. */
export const PEER_OPTIONS = {
  peer: { type: 'string' },
  python: { type: 'string', default: 'python3' },
  /** More arguments for the peer, separated by spaces. */
  'peer-args': { type: 'string', default: '' },
} as const;

export interface PeerTraining {
  /** attention,checkpointing,0,micro-batch */
  readonly variant: string;
  readonly samplesPerSecond: number;
  readonly tokensPerSecond: number;
  readonly peakGiB: number;
}

export interface PeerMeasurements {
  readonly training: readonly PeerTraining[];
  /** Milliseconds a generated token, the prompt's pass included. */
  readonly millisecondsPerToken: readonly number[];
}

/** @throws Error if the program fails or prints nothing that can be read */
export async function runPeer(python: string, file: string, args: readonly string[]): Promise<PeerMeasurements> {
  console.log(`peer: ${[python, file, ...args].join(' ')}`);
  const child = spawn(python, [file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const status = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const training: PeerTraining[] = [];
  const millisecondsPerToken: number[] = [];
  const reading = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      console.log(`peer| ${line}`);
      const values = new Map([...line.matchAll(/(\w+)=(\S+)/g)].map(([, key, value]) => [key!, value!]));
      const number = (key: string): number => Number(values.get(key));
      if (line.startsWith('WORKLOAD') && values.has('samples_s')) {
        training.push({
          variant: `${values.get('attn')},${values.get('ckpt')},0,${values.get('bs')}`,
          samplesPerSecond: number('samples_s'),
          tokensPerSecond: number('real_tok_s'),
          peakGiB: number('peak_alloc_GiB'),
        });
      }
      if (line.startsWith('GENERATE') && values.has('decode_ms_per_token')) {
        millisecondsPerToken.push(number('decode_ms_per_token'));
      }
    }
  })();
  const code = await status;
  await reading;
  if (code !== 0) throw new Error(`the peer ended with status ${code}`);
  if (training.length + millisecondsPerToken.length === 0) throw new Error('the peer printed no measurement');
  return { training, millisecondsPerToken };
}
