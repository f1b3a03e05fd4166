/** How other tools and models mark the place of an image in a text. Here images are parts, so these stay text. */

/** Numbered ones of InternVL, MMMU and Phi; Qwen's, Gemma's, DeepSeek's, llama.cpp's; closing tags; other cases. */
const FOREIGN =
  /<\|?(?:image|img)[ _-]?\d{1,3}\|?>|<\|(?:image|image_pad|img|vision_start|vision_end)\|>|<(?:start|end)_of_image>|<image_(?:soft_token|placeholder|pad|token)>|<\/?img>|<\/image>|<(?:IMAGE|Image|IMG|Img|ImageHere|picture)>|\[img-\d{1,3}\]/g;

/** The markers in a text, in order. */
export function foreignMarkersIn(text: string): string[] {
  return text.includes('<') || text.includes('[img-') ? (text.match(FOREIGN) ?? []) : [];
}
