/** What a file is, by its first bytes and never by its name: the formats that are read, and names for what is not. */
// biome-ignore-all lint/suspicious/noControlCharactersInRegex: formats are recognised by such bytes

export type ImageFormat = 'jpeg' | 'png' | 'webp' | 'gif' | 'tiff' | 'bmp' | 'avif';

/** First bytes that `imageFormatOf` and `describeFormat` want to see; fewer are enough if the file has no more. */
export const IMAGE_HEADER_BYTES = 512;

export const READ_FORMATS = 'JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF';

export interface UnreadFormat {
  /** With its article: `a DICOM file`. */
  readonly name: string;
  /** What to do about it, one sentence. */
  readonly hint: string;
}

/** The format of an encoded image, from its first bytes, or undefined if it is none that is read here. */
export function imageFormatOf(bytes: Uint8Array): ImageFormat | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'jpeg';
  if (ascii(bytes, 0, 8) === '\x89PNG\r\n\x1a\n') return 'png';
  if (ascii(bytes, 0, 4) === 'RIFF' && ascii(bytes, 8, 12) === 'WEBP') return 'webp';
  if (ascii(bytes, 0, 6) === 'GIF87a' || ascii(bytes, 0, 6) === 'GIF89a') return 'gif';
  // Canon's RAW files are a TIFF whose first image is a preview.
  if (/^(II[*+]\0|MM\0[*+])/.test(ascii(bytes, 0, 4))) return ascii(bytes, 8, 10) === 'CR' ? undefined : 'tiff';
  if (isBmp(bytes)) return 'bmp';
  if (/^ftypav(if|is)/.test(ascii(bytes, 4, 12))) return 'avif';
  if (/^ftypm(if|sf)1/.test(ascii(bytes, 4, 12)) && /av(if|is)/.test(ascii(bytes, 16, 64))) return 'avif';
  return undefined;
}

/**
 * One line that names a file which is no image that is read here, with what to do: `a Git LFS pointer: run
 * \`git lfs pull\` …`.
 * @param bytes the first {@link IMAGE_HEADER_BYTES} of the file, or all of it
 */
export function describeFormat(bytes: Uint8Array): string {
  const { name, hint } = unreadFormat(bytes);
  return `${name}: ${hint[0]!.toLowerCase()}${hint.slice(1).replace(/\.$/, '')}`;
}

export function unreadFormat(bytes: Uint8Array): UnreadFormat {
  if (bytes.length === 0) return { name: 'an empty file', hint: 'Fetch it again, or leave it out.' };
  const start = ascii(bytes, 0, IMAGE_HEADER_BYTES);
  for (const [pattern, name, hint] of SIGNATURES) if (pattern.test(start)) return { name, hint };
  if (bytes.every((byte) => byte === 0)) return { name: 'nothing but zero bytes', hint: REFETCH };
  if (/^\s*[[{]/.test(start) && isText(bytes)) return { name: 'a JSON file', hint: NOT_AN_IMAGE };
  if (isText(bytes)) return { name: 'a text file', hint: NOT_AN_IMAGE };
  const shown = [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return {
    name: `a file of another kind, whose first bytes are ${shown}`,
    hint: 'The content counts, not the ending of the name. Convert it to PNG or JPEG, or leave it out.',
  };
}

const CONVERT = 'Convert it to PNG or JPEG first.';
const WINDOW =
  'Convert it to PNG with a chosen window, the same for all files, and give `bitDepth` if that has 16 bits.';
const VOLUME = 'It is a volume: write the slices that you want as PNG files.';
const UNPACK = 'Unpack it first.';
const REFETCH = 'The download or copy did not finish; fetch the file again.';
const NOT_AN_IMAGE = 'Leave it out, or fetch the image that belongs there.';
const PAGE = 'A download was answered with a web page, perhaps a login or an error; fetch the image again.';
const RAW = 'Develop it to JPEG, PNG or TIFF first.';
const FRAMES = 'Write the frames that you want as image files.';

/** Tried in this order on the first bytes, one character a byte. */
const SIGNATURES: readonly (readonly [start: RegExp, name: string, hint: string])[] = [
  [
    /^version https:\/\/git-lfs/,
    'a Git LFS pointer',
    'Run `git lfs pull` in the repository, or download the files themselves.',
  ],
  [/^(\.\.\/)*[^\n]*\/annex\/objects\//, 'a git-annex pointer', 'Run `git annex get` in the repository.'],
  [/^.{128}DICM/s, 'a DICOM file', WINDOW],
  [/^\x08\0[\0\x05\x08\x12\x16\x18]\0(UL|CS|UI|DA|.\0\0\0)/s, 'a DICOM file', WINDOW],
  [/^\0\0\0\x0cjP {2}|^\xff\x4f\xff\x51/, 'a JPEG 2000 image', CONVERT],
  [/^\0\0\0\x0cJXL |^\xff\x0a/, 'a JPEG XL image', CONVERT],
  [/^.{4}ftypcrx /s, 'a camera RAW file (CR3)', RAW],
  [/^.{4}ftyp(hei|hev|mif1|msf1)/s, 'a HEIC image', 'Convert it to JPEG first; its video codec is not included.'],
  [/^.{4}ftyp/s, 'a video', FRAMES],
  [/^RIFF.{4}AVI /s, 'a video', FRAMES],
  [/^\x1a\x45\xdf\xa3/, 'a video', FRAMES],
  [/^RIFF.{4}WAVE/s, 'a sound file', NOT_AN_IMAGE],
  [/^(II\*\0|MM\0\*).{4}CR/s, 'a camera RAW file (CR2)', RAW],
  [/^(IIRO|IIRS|IIU\0|FUJIFILMCCD-RAW|\0MRM|FOVb)/, 'a camera RAW file', RAW],
  [/^(\x5c\x01\0\0|\0\0\x01\x5c).{340}n[i+]1\0|^.{4}n[i+]2\0/s, 'a NIfTI file', VOLUME],
  [/^\x5c\x01\0\0.{36}.\0|^\0\0\x01\x5c.{36}\0/s, 'an Analyze or NIfTI header', VOLUME],
  [/^NRRD0/, 'an NRRD file', VOLUME],
  [/^(ObjectType|NDims|Comment)\s*=/, 'a MetaImage header', VOLUME],
  [/^v\/1\x01/, 'an OpenEXR image', 'Convert it to 8-bit PNG with a chosen exposure.'],
  [/^#\?(RADIANCE|RGBE)/, 'a Radiance HDR image', 'Convert it to 8-bit PNG with a chosen exposure.'],
  [/^8BPS/, 'a Photoshop document', CONVERT],
  [/^gimp xcf/, 'a GIMP document', CONVERT],
  [/^P[1-7][\s#]|^P[fF]\n/, 'a PNM image (PBM, PGM or PPM)', CONVERT],
  [/^\0\0[\x01\x02]\0[^\0]\0/, 'a Windows icon', CONVERT],
  [/^DDS /, 'a DDS texture', CONVERT],
  [/^SIMPLE {2}=/, 'a FITS file', 'Convert it to 8-bit PNG with a chosen range.'],
  [/^\x93NUMPY/, 'a NumPy array', 'Write its arrays as PNG files.'],
  [/^\x89HDF\r\n/, 'an HDF5 file', 'Write its arrays as PNG files.'],
  [/^MATLAB /, 'a MATLAB file', 'Write its arrays as PNG files.'],
  [/^(\xef\xbb\xbf)?\s*(<!--((?!-->).)*-->\s*)*<(!doctype html|html|head|body|script)\b/is, 'an HTML page', PAGE],
  [
    /^(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--((?!-->).)*-->\s*|<!doctype svg[^>]*>\s*)*<(\w+:)?svg\b/is,
    'an SVG drawing',
    CONVERT,
  ],
  [/^(\xef\xbb\xbf)?\s*<\?xml/, 'an XML document', 'It may be the error answer of a download; fetch the image again.'],
  [/^%PDF/, 'a PDF document', 'Write the pages that you want as PNG files.'],
  [/^%!PS/, 'a PostScript document', CONVERT],
  [/^PK(\x03\x04|\x05\x06)/, 'a ZIP archive', UNPACK],
  [/^\x1f\x8b/, 'a gzip archive', 'Unpack it first; of a .nii.gz, write the slices that you want as PNG files.'],
  [/^(Rar!|7z\xbc\xaf|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd)/, 'an archive', UNPACK],
  [/^.{257}ustar/s, 'a tar archive', UNPACK],
  [
    /^\0\x05\x16[\0\x07]/,
    'a macOS attribute file (AppleDouble), not the image',
    'Remove it; the image lies beside it.',
  ],
  [/^SQLite format 3/, 'an SQLite database', NOT_AN_IMAGE],
  [/^\x80[\x02-\x05]/, 'a Python pickle', 'Write its arrays as PNG files.'],
];

/** The letters BM alone start many a text; the size of the second header decides. */
function isBmp(bytes: Uint8Array): boolean {
  if (bytes[0] !== 0x42 || bytes[1] !== 0x4d || bytes.length < 26) return false;
  const headerSize = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(14, true);
  return headerSize === 12 || (headerSize >= 16 && headerSize <= 124);
}

function isText(bytes: Uint8Array): boolean {
  return bytes.subarray(0, IMAGE_HEADER_BYTES).every((byte) => byte >= 32 || (byte >= 9 && byte <= 13) || byte === 27);
}

function ascii(bytes: Uint8Array, from: number, to: number): string {
  return String.fromCharCode(...bytes.subarray(from, to));
}
