// What the kernels of the low-rank path share. Prepended as text after common.cu: NVRTC sees no #include.

/** The part of a stacked layer that owns column e of u: parts start at 0, start1, start2, start3. */
DEVICE int part_of(int e, int start1, int start2, int start3) { return (e >= start1) + (e >= start2) + (e >= start3); }

/** The value of part i. */
template <class V>
DEVICE V pick(int i, V v0, V v1, V v2, V v3) {
  return i == 0 ? v0 : i == 1 ? v1 : i == 2 ? v2 : v3;
}

/**
 * A vector of 8 columns goes to another place in its row of 64, so that neither the rows written (two by four vectors
 * at a time) nor the ones read (eight of one column) meet a bank twice.
 */
DEVICE int place_of(int row, int vector) { return (vector ^ ((row & 1) * 4 + ((row >> 1) & 3))) * 8; }
