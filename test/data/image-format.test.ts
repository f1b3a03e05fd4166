import { describe, expect, it } from 'vitest';
import { describeFormat, IMAGE_HEADER_BYTES, imageFormatOf } from '../../src/data/image-format.js';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const at = (offset: number, text: string): Buffer => Buffer.concat([Buffer.alloc(offset), bytes(text)]);

describe('what is no image is called by its name, with what to do', () => {
  it.each([
    [
      'a Git LFS pointer',
      'git lfs pull',
      bytes('version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n'),
    ],
    ['a git-annex pointer', 'git annex get', bytes('../../.git/annex/objects/xK/3m/SHA256E-s31390--f50d.png')],
    ['a git-annex pointer', 'git annex get', bytes('/annex/objects/SHA256E-s31390--f50d.png\n')],
    ['a DICOM file', 'window', at(128, 'DICM\x02\0\0\0UL\x04\0')],
    ['a DICOM file', 'window', bytes('\x08\0\x05\0CS\x0a\0ISO_IR 100')],
    ['a JPEG 2000 image', 'Convert', bytes('\0\0\0\x0cjP  \r\n\x87\n')],
    ['a JPEG XL image', 'Convert', bytes('\xff\x0a\xfa\x1f')],
    ['a HEIC image', 'JPEG', bytes('\0\0\0\x18ftypheic\0\0\0\0mif1heic')],
    ['a HEIC image', 'JPEG', bytes('\0\0\0\x18ftypmif1\0\0\0\0mif1heic')],
    ['a camera RAW file (CR2)', 'Develop', bytes('II*\0\x10\0\0\0CR\x02\0')],
    ['a camera RAW file', 'Develop', bytes('FUJIFILMCCD-RAW 0201')],
    ['a NIfTI file', 'slices', Buffer.concat([bytes('\x5c\x01\0\0'), Buffer.alloc(340), bytes('n+1\0')])],
    ['an HTML page', 'fetch', bytes('\n  <!DOCTYPE html><html><head><title>403')],
    ['an HTML page', 'fetch', bytes('<!-- login --><HTML lang="en">')],
    [
      'an SVG drawing',
      'Convert',
      bytes('<?xml version="1.0"?>\n<!-- made by -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'),
    ],
    ['an XML document', 'error answer', bytes('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>')],
    ['a PDF document', 'pages', bytes('%PDF-1.7\n')],
    ['a ZIP archive', 'Unpack', bytes('PK\x03\x04\x14\0')],
    ['a gzip archive', 'Unpack', bytes('\x1f\x8b\x08\0')],
    ['a tar archive', 'Unpack', at(257, 'ustar\x0000')],
    ['a Photoshop document', 'Convert', bytes('8BPS\0\x01')],
    ['an OpenEXR image', 'exposure', bytes('v/1\x01\x02\0\0\0')],
    ['a PNM image', 'Convert', bytes('P6\n640 480\n255\n')],
    ['a NumPy array', 'PNG', bytes('\x93NUMPY\x01\0')],
    ['an HDF5 file', 'PNG', bytes('\x89HDF\r\n\x1a\n')],
    ['a video', 'frames', bytes('\0\0\0\x20ftypisom\0\0\x02\0')],
    ['a macOS attribute file', 'Remove', bytes('\0\x05\x16\x07\0\x02\0\0Mac OS X')],
    ['a JSON file', 'Leave it out', bytes('{"message":"Not Found"}')],
    ['a text file', 'Leave it out', bytes('image is missing\n')],
    ['an empty file', 'Fetch', bytes('')],
    ['nothing but zero bytes', 'did not finish', Buffer.alloc(300)],
    ['a file of another kind, whose first bytes are 01 02 ff', 'Convert', bytes('\x01\x02\xff')],
  ])('%s', (name, hint, start) => {
    expect(imageFormatOf(start)).toBeUndefined();
    const line = describeFormat(start);
    expect(line.startsWith(name)).toBe(true);
    expect(line.toLowerCase()).toContain(hint.toLowerCase());
    expect(line).not.toMatch(/[\n.]$/);
  });

  it('takes no text that begins with BM for a bitmap', () => {
    expect(imageFormatOf(bytes('BMW and other makes of cars, listed'))).toBeUndefined();
    expect(imageFormatOf(bytes('BM'))).toBeUndefined();
  });

  it('takes linear time on starts that were made to be slow', () => {
    for (const piece of ['<!---->', '<!--', ' ', '<?xml ', '<!doctype svg>', '../']) {
      const start = bytes(piece.repeat(IMAGE_HEADER_BYTES)).subarray(0, IMAGE_HEADER_BYTES);
      // Exponential backtracking would not come back at all.
      expect(describeFormat(start)).toMatch(/^an? /);
    }
  });
});
