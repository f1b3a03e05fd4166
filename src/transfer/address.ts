/** Whether a host name means this machine. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** Whether it may lead to this machine: wider, for what must not. */
export function mayBeLoopback(hostname: string): boolean {
  const host = hostname.replace(/\.$/, '').toLowerCase();
  return isLoopback(host) || /(^|\.)localhost$|^0\.0\.0\.0$|^\[::\]$|^\[::ffff:(7f|0:0\])/.test(host);
}

/** A part of an address without its percent signs; as it is where they make no sense. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
