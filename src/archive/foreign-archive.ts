/** What a file is that came where a zip archive was expected. */
import type { FileHandle } from 'node:fs/promises';

interface ForeignFile {
  /** In words, for messages. */
  readonly what: string;
  /** Whether it may be what the data set consists of; if not, something went wrong on the way. */
  readonly isContent: boolean;
  /** What to do with it; may be empty. */
  readonly advice: string;
}

const HEAD_BYTES = 512;
const EXPECTED = ', where a zip archive was expected';

/** First bytes, what they begin, and what to do with it. */
const KINDS: readonly (readonly [head: string, what: string, advice: string])[] = [
  ['\x1f\x8b', 'a gzip file', 'Unpack it by `tar -xzf`, or `gunzip` if it is a single file.'],
  ['BZh', 'a bzip2 file', 'Unpack it by `tar -xjf`.'],
  ['\xfd7zXZ\0', 'an xz file', 'Unpack it by `tar -xJf`.'],
  ['\x28\xb5\x2f\xfd', 'a Zstandard file', 'Unpack it by `tar --zstd -xf`.'],
  ['7z\xbc\xaf\x27\x1c', 'a 7z archive', 'Unpack it by `7z x`.'],
  ['Rar!\x1a\x07', 'a RAR archive', 'Unpack it by `unrar x`.'],
  ['\x89PNG', 'a PNG image', 'A single image is no data set.'],
  ['\xff\xd8\xff', 'a JPEG image', 'A single image is no data set.'],
  ['PAR1', 'a Parquet file', 'A table of that form is not read: save its images as files.'],
  ['\x89HDF', 'an HDF5 file', 'Save its images as files.'],
  ['SQLite format 3', 'an SQLite database', 'Save its images as files.'],
];

/** Undefined for what begins as a zip archive does. */
export async function sniffArchive(file: FileHandle): Promise<ForeignFile | undefined> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
  const head = buffer.toString('latin1', 0, bytesRead);
  const found = KINDS.find(([begin]) => head.startsWith(begin));
  if (found) return { what: `${found[1]}${EXPECTED}`, isContent: true, advice: found[2] };
  if (head.slice(257, 262) === 'ustar') {
    return { what: `a tar archive${EXPECTED}`, isContent: true, advice: 'Unpack it by `tar -xf`.' };
  }
  if (head === '') return { what: `an empty file${EXPECTED}`, isContent: false, advice: '' };
  const text = head.trimStart();
  if (/^<(!|\?|[a-z])/i.test(text)) return { what: `a web page${EXPECTED}`, isContent: false, advice: '' };
  if (text.startsWith('{')) return { what: `JSON${EXPECTED}`, isContent: false, advice: '' };
  if (isTable(head)) {
    const advice = 'A table alone has no images; one that names image files is read by `ImageFolder.fromTable`.';
    return { what: `a table of text (CSV)${EXPECTED}`, isContent: true, advice };
  }
  return head.startsWith('PK') ? undefined : { what: 'no zip archive', isContent: false, advice: '' };
}

/** Printable lines, the first two with the same separators. */
function isTable(head: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\0-\x08\x0e-\x1f]/.test(head)) return false;
  const [first = '', second = ''] = head.split(/\r?\n/);
  const count = (line: string): number => line.split(/[,;\t]/).length;
  return count(first) > 1 && (second === '' || !head.includes('\n', first.length + 2) || count(second) > 1);
}
