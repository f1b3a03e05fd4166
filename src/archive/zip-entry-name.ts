/** Which names in an archive are names of files below a folder, on every system. */

/** Bytes of UTF-8 in a whole name, and in a part between slashes. */
const MAX_NAME = 1024;
const MAX_PART = 255;

/** Device names of Windows, with any ending. */
const RESERVED = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?$/i;

/**
 * What is wrong with an entry's name, or undefined. A name is a relative path with `/` between its parts; one that ends
 * with `/` is a folder's.
 * @param system `win32` for the further rules of Windows
 */
export function nameFault(name: string, system: string = process.platform): string | undefined {
  if (name === '') return 'an empty name';
  if (Buffer.byteLength(name) > MAX_NAME) return `a name of more than ${MAX_NAME} bytes`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) return 'a control character in the name';
  if (name.includes('\ufffd')) return 'a name in no valid UTF-8';
  if (name.includes('\\')) return 'a backslash in the name';
  if (name.startsWith('/')) return 'an absolute name';
  if (/^[A-Za-z]:/.test(name)) return 'a drive letter in the name';
  for (const part of name.replace(/\/$/, '').split('/')) {
    if (part === '') return 'an empty part in the name';
    if (part === '.' || part === '..') return `"${part}" in the name`;
    if (Buffer.byteLength(part) > MAX_PART) return `a part of more than ${MAX_PART} bytes in the name`;
    if (system === 'win32' && (/[<>:"|?*]|[. ]$/.test(part) || RESERVED.test(part))) {
      return 'a name that Windows does not allow';
    }
  }
  return undefined;
}

/** Names of the same key would be the same file on some system. */
export function nameKey(name: string): string {
  return name.replace(/\/$/, '').normalize('NFC').toLowerCase();
}
