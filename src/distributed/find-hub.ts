/** Looks whether a hub of a job listens on a port of this machine, without a byte to whoever does. */
import { connect } from 'node:net';
import { parseGreeting } from './handshake.js';

const WAIT_MS = 1000;

export function findHub(port: number, mark: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let bytes = Buffer.alloc(0);
    const end = (isFound: boolean): void => {
      socket.destroy();
      resolve(isFound);
    };
    socket.setTimeout(WAIT_MS, () => end(false));
    socket.on('error', () => end(false));
    socket.on('close', () => resolve(false));
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      const parsed = parseGreeting(bytes);
      if (parsed !== 'more') end(parsed?.mark.equals(mark) ?? false);
    });
  });
}
