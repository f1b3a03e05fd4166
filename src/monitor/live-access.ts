/**
 * Who may talk to the live page. Other sites, which the same browser shows, must neither read nor control it: their
 * requests carry their Origin, and a site whose name leads to this machine (DNS rebinding) carries that name as Host.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { hostname } from 'node:os';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Whether only programs on this machine reach an address. */
export function isLoopback(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && LOOPBACK.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/** 256 bits, for an address. */
export function randomToken(): string {
  return randomBytes(32).toString('base64url');
}

/** A request that is refused. */
interface Refusal {
  readonly status: number;
  readonly message: string;
}

export class AccessRules {
  readonly #names: ReadonlySet<string>;
  /** SHA-256 of the token: digests have one length, so comparing them tells nothing. */
  readonly #digest: Buffer | undefined;

  /**
   * @param names of the server beside `localhost`, the system's name and all IP addresses
   * @param token without one everybody who reaches the server may talk to it
   */
  constructor(names: readonly string[], token: string | undefined) {
    this.#names = new Set(['localhost', hostname(), ...names].map((name) => name.toLowerCase()));
    this.#digest = token === undefined ? undefined : digestOf(token);
  }

  /** What every request must fulfil. */
  refuseOrigin(request: IncomingMessage): Refusal | undefined {
    const { host, origin } = request.headers;
    const name = hostName(host);
    // An IP address is what it says; only a name can lead to where its owner does not stand.
    if (name === undefined || (isIP(name) === 0 && !this.#names.has(name))) {
      return {
        status: 421,
        message: 'This page is not known under that name. Open it as localhost, or name the host in `allowedHosts`.',
      };
    }
    const isForeign = origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`;
    const site = request.headers['sec-fetch-site'];
    const isLink = request.method === 'GET' && request.headers['sec-fetch-mode'] === 'navigate';
    if (isForeign || (site !== undefined && site !== 'same-origin' && site !== 'none' && !isLink)) {
      return { status: 403, message: 'Requests of other sites are refused.' };
    }
    return undefined;
  }

  /** What requests for data and control must fulfil as well. */
  refuseToken(request: IncomingMessage): Refusal | undefined {
    if (this.#digest === undefined) return undefined;
    const [, given] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
    if (given !== undefined && timingSafeEqual(digestOf(given), this.#digest)) return undefined;
    return {
      status: 401,
      message: 'The token is missing or wrong. It stands in the address that the run has printed.',
    };
  }
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** The name or IP address in a Host header, without port and brackets. */
function hostName(host: string | undefined): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/i.exec(host ?? '');
  return (match?.[1] ?? match?.[2])?.toLowerCase().replace(/\.$/, '');
}
