/** What cards are linked by, and how long an all-reduce takes over it: by published rates and the share that NCCL reaches. */
import type { Card } from './cards.js';

/** A link that a plan knows: between the cards of a machine, or a network between machines. */
export type LinkName = 'nvlink5' | 'nvlink4' | 'nvlink3' | 'pcie5' | 'pcie4' | '400gbit' | '100gbit' | '25gbit';
// Written out twice: documents show the type.
export const LINK_NAMES = ['nvlink5', 'nvlink4', 'nvlink3', 'pcie5', 'pcie4', '400gbit', '100gbit', '25gbit'] as const;

export interface Link {
  readonly name: LinkName;
  /** 10^9 bytes a second each way, as published. */
  readonly gbs: number;
  /** Share of it that an all-reduce reaches. */
  readonly share: number;
  /** Seconds of a step of the ring beside its bytes: NCCL's own table, ring and simple protocol (src/graph/tuning.cc). */
  readonly hopSeconds: number;
  readonly isNetwork: boolean;
  /** Where `gbs` is from. */
  readonly source: string;
}

/**
 * Measured on two H200 linked by NV18, NCCL 2.28.9, without NVLink SHARP: 512 MiB of float32 in 1.82 ms, so 295 of 450. On
 * eight H100 370 of 450 are published (github.com/NVIDIA/nccl-tests/issues/212), on two A100 208 of 300 (issue 178 there).
 */
const NVLINK_SHARE = 0.66;
/** Eight RTX 5090 without peer access: 28 of 63 are published (github.com/NVIDIA/nccl/issues/1639). Taken for all cards. */
const PCIE_SHARE = 0.45;
/** Assumed, for RDMA. Sockets reach less, above all at 100 Gbit/s and more. */
const NETWORK_SHARE = 0.66;

const nvlink = { share: NVLINK_SHARE, hopSeconds: 3.4e-6, isNetwork: false } as const;
const pcie = { share: PCIE_SHARE, hopSeconds: 5.7e-6, isNetwork: false } as const;
const network = { share: NETWORK_SHARE, hopSeconds: 9.6e-6, isNetwork: true } as const;

const LINKS: readonly Link[] = [
  { name: 'nvlink5', gbs: 900, ...nvlink, source: 'NVIDIA HGX B200 data sheet: 1.8 TB/s both ways' },
  { name: 'nvlink4', gbs: 450, ...nvlink, source: 'NVIDIA H100 and H200 data sheets: 900 GB/s both ways, 18 links' },
  { name: 'nvlink3', gbs: 300, ...nvlink, source: 'NVIDIA A100 data sheet: 600 GB/s both ways, 12 links' },
  { name: 'pcie5', gbs: 63, ...pcie, source: 'PCI Express 5.0: 32 GT/s, 16 lanes, 128b/130b' },
  { name: 'pcie4', gbs: 31.5, ...pcie, source: 'PCI Express 4.0: 16 GT/s, 16 lanes, 128b/130b' },
  { name: '400gbit', gbs: 50, ...network, source: 'InfiniBand NDR; IEEE 802.3bs' },
  { name: '100gbit', gbs: 12.5, ...network, source: 'InfiniBand EDR; IEEE 802.3bj' },
  { name: '25gbit', gbs: 3.125, ...network, source: 'IEEE 802.3by' },
];

/** Of the cards with NVLink in every server that is sold with them; all others are taken to meet over PCI Express. */
const NVLINK_CARDS: Readonly<Record<string, LinkName>> = {
  'A100 SXM 80GB': 'nvlink3',
  'H100 SXM 80GB': 'nvlink4',
  'H200 SXM 141GB': 'nvlink4',
  'B200 SXM 180GB': 'nvlink5',
};
const PCIE_5_GBS = 64;

export function linkNamed(name: LinkName): Link {
  return LINKS.find((link) => link.name === name)!;
}

/** What links cards of this kind in one machine. */
export function linkOf({ name, hostGbs }: Pick<Card, 'name' | 'hostGbs'>): Link {
  return linkNamed(NVLINK_CARDS[name] ?? (hostGbs >= PCIE_5_GBS ? 'pcie5' : 'pcie4'));
}

/** NCCL's base of a ring with the simple protocol, and what queueing adds: 1 MiB over NVLink took 0.07 ms. */
const BASE_SECONDS = 8.4e-6 + 51e-6;

/**
 * All-reduce in a ring: each card sends and receives its values 2 (W - 1) / W times, in 2 (W - 1) steps. Over several
 * machines the network is the slowest link of the ring, whichever of the cards it lies between.
 */
export function allReduceSeconds(bytes: number, gpus: number, { gbs, share, hopSeconds }: Link): number {
  if (gpus < 2 || bytes === 0) return 0;
  const steps = 2 * (gpus - 1);
  return BASE_SECONDS + steps * hopSeconds + ((steps / gpus) * bytes) / (1e9 * gbs * share);
}
