// LoRA dropout masks as src/random.ts defines them. A row and a layer have one `MaskRow`: hoist it out of loops over
// columns. One hash serves two neighbouring columns: `mask_bits2`.

fn mix(x: u32) -> u32 {
  var y = (x ^ (x >> 16u)) * 0x7feb352du;
  y = (y ^ (y >> 15u)) * 0x846ca68bu;
  return y ^ (y >> 16u);
}

struct MaskRow { key: u32, step: u32 }

fn mask_row(row_key: u32, seed: u32) -> MaskRow {
  let key = mix(row_key ^ seed);
  return MaskRow(key, ((key * 0x9e3779b9u) ^ row_key) | 1u);
}

// The 16 bits of columns 2·pair and 2·pair + 1.
fn mask_bits2(row: MaskRow, pair: u32) -> vec2u {
  let z = row.key + pair * row.step;
  let h = (z ^ (z >> 15u)) * 0x846ca68bu;
  return vec2u(h, h + (h << 16u)) >> vec2u(16u);
}

fn mask_bits(row: MaskRow, column: u32) -> u32 {
  let bits = mask_bits2(row, column >> 1u);
  return select(bits.x, bits.y, (column & 1u) == 1u);
}

// threshold: `dropoutThreshold` of random.ts.
fn is_kept(row_key: u32, seed: u32, column: u32, threshold: u32) -> bool {
  return mask_bits(mask_row(row_key, seed), column) >= threshold;
}
