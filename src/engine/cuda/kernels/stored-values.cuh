// Values in the formats of checkpoints and frozen matrices.

DEVICE float widen(bf16 x) { return from_bf16(x); }
DEVICE float widen(float x) { return x; }
struct Half {
  unsigned short bits;
};
DEVICE float widen(Half x) { return half_to_float(x.bits); }
struct E4M3 {
  u8 bits;
};
/** As a half, the exponent is 8 too small; 0x7f and 0xff are NaN. */
DEVICE float widen(E4M3 x) {
  const u32 sign = x.bits & 0x80u, magnitude = x.bits & 0x7fu;
  if (magnitude == 0x7fu) return __int_as_float(0x7fc00000);
  return half_to_float((unsigned short)((sign << 8) | (magnitude << 7))) * 256.0f;
}

/** NF4: values of the codes 0 to 15, to be multiplied by the absmax of the block. */
__constant__ float NF4_VALUES[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};
